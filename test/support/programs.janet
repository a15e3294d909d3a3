###
### support/programs.janet
###
### Finds and runs the system's programs, for the tests that need them.
###

(import ./init :as t)

(def- folders
  # Servers may be in folders that are not on everybody's path.
  [;(string/split ":" (os/getenv "PATH" "")) "/usr/sbin" "/usr/local/sbin" "/sbin"])

(defn find-program
  "The path of a program, or nil if it is not installed."
  [name]
  (find |(= :file (os/stat $ :mode)) (map |(string $ "/" name) folders)))

(defn need
  "Skips the running test unless all of these programs are installed. Returns their paths."
  [& names]
  (def missing (filter |(nil? (find-program $)) names))
  (unless (empty? missing) (t/skip (string "not installed: " (string/join missing ", "))))
  (map find-program names))

(defn run
  "Runs a program to its end. Returns its exit status, and its output and errors in one string."
  [& args]
  (with [process (t/start ;args)]
    (def status (:wait process))
    (t/wait-until "the end of its output" |(and (process :out-ended) (process :err-ended)))
    [status (string (process :out) (process :err))]))

(def host
  "The host that `cargo xtask test` runs this file on, or \"native\" for the system's Janet."
  (os/getenv "KQNET_HOST" "native"))
