###
### Python with packages of PyPI, for the tests that compare kqnet with them.
###

(import ./init :as t)
(import ./programs)

(def- folder
  "Where the packages are kept for the next run."
  (string t/project "/target/python"))

(defn with-packages
  ``Installs packages such as "requests==2.32.3", unless they are there already. Returns the path of python3, and the
  environment in which it finds them. Skips the running test where they cannot be installed.``
  [& packages]
  (def [python] (programs/need "python3"))
  (def place (string folder "/" (string/join packages "+")))
  (unless (os/stat place)
    (each path [(string t/project "/target") folder] (os/mkdir path))
    # It is complete when it has its name.
    (def partial (string place "." (last (string/split "/" (t/scratch "partial")))))
    (def [status output]
      (programs/run python "-m" "pip" "install" "--quiet" "--disable-pip-version-check" "--retries" "0" "--timeout" "15"
                    "--target" partial ;packages))
    (unless (= 0 status)
      (t/skip (string "pip cannot install " (string/join packages " and ") ": " (last (string/split "\n" (string/trim output))))))
    (unless (first (protect (os/rename partial place))) (t/remove partial)))
  [python {"PYTHONPATH" place}])
