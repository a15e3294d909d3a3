###
### What every test file uses: named tests with a deadline, and clients.
###
### It also has what is in the files beside it: assertions (assert.janet), the system and this process (system.janet), and
### programs in other processes (processes.janet). A test file ends with (finish).
###

(import ./system :prefix "" :export true)
(import ./assert :prefix "" :export true)
(import ./processes :prefix "" :export true)

(def deadline
  "Seconds that a test may take."
  60)

# Finding kqnet and spork.

(def- enough
  "How many descriptors a test, or a client in it, may need. macOS allows a process at most 10240."
  4096)

(defn- with-enough-descriptors
  ``Starts this test file again with a higher soft limit if it has fewer descriptors than it may need. The limit is 256 on
  macOS, and `jpm test` does not raise it, unlike `cargo xtask test`. Prints a message if the hard limit is too low.``
  []
  (def file (get (dyn *args*) 0 ""))
  (def test-file?
    (= (string project "/test") (string/join (slice (string/split "/" (absolute file)) 0 -2) "/")))
  (def again? (os/getenv "KQNET_TEST_DESCRIPTORS"))
  (def limit (if test-file? (descriptor-limit) enough))
  (when (and again? (< limit (/ enough 4)))
    (print "only " limit " descriptors, the hard limit: tests with many clients may fail"))
  (when (and (not again?) (< limit enough))
    (def script
      `{ ulimit -S -n "$KQNET_TEST_DESCRIPTORS" || ulimit -S -n "$(ulimit -H -n)"; } 2>/dev/null; exec "$0" "$@"`)
    (os/exit (os/execute ["sh" "-c" script (dyn *executable*) ;(dyn *args*)]
                         :pe (merge (os/environ) {"KQNET_TEST_DESCRIPTORS" (string enough)})))))

(with-enough-descriptors)

# The path of a unix socket has at most 104 bytes, and the tests append less than 44.
(let [given (string/trimr (os/getenv "TMPDIR" "/tmp") "/")]
  (os/setenv "TMPDIR" (if (<= 1 (length given) 60) given "/tmp")))

(def- given-folders
  (filter |(not (empty? $)) (string/split ":" (or (os/getenv "JANET_PATH") ""))))

(defn- has-kqnet? [folder] (exists? (string folder "/kqnet/init.janet") :file))
(defn- has-spork? [folder] (exists? (string folder "/spork/http.janet") :file))

(defn- search
  "Makes this process, and those that it starts, look for modules in a folder."
  [folder]
  (put root-env *syspath* folder)
  (os/setenv "JANET_PATH" folder))

# Before the path changes.
(def own-modules
  "The folder in which this Janet looks for modules by itself."
  (dyn *syspath*))

(def- installed-spork
  (find has-spork? [;given-folders (dyn *syspath*)]))

# `cargo xtask test` sets JANET_PATH to a folder with kqnet. `jpm test` has it in build/, not installed.
(def- kqnet-folder
  (or (find has-kqnet? given-folders)
      (find has-kqnet? [(string project "/build")])))

(unless (some has-kqnet? given-folders)
  (when kqnet-folder (search kqnet-folder)))

(var- links nil)

(defn need-spork
  ``Makes spork/http importable, here and in processes started later: the one in the folder $SPORK, the
  installed one, or else the stand-in. Returns a text that says which.``
  []
  (def asked (os/getenv "SPORK"))
  (def stand-in (string project "/test/stand-in"))
  (def from (or asked installed-spork stand-in))
  (unless (and (= from installed-spork) (= from kqnet-folder))
    # It is one folder, since older versions of Janet take no more.
    (set links (scratch "modules"))
    (os/mkdir links)
    (os/symlink (string (absolute kqnet-folder) "/kqnet") (string links "/kqnet"))
    (os/symlink (string (absolute from) "/spork") (string links "/spork"))
    (search links))
  # The given path may have links to the stand-in itself.
  (def real (os/realpath (string from "/spork/http.janet")))
  (if (= real (os/realpath (string stand-in "/spork/http.janet")))
    "the stand-in for spork/http (spork is not installed, and $SPORK is not set)"
    "the real spork/http"))

(defn- remove-links
  []
  (when links
    (each name ["kqnet" "spork"] (protect (os/rm (string links "/" name))))
    (protect (os/rmdir links))))

# Tests.

(def- counts @{:passed 0 :failed 0 :skipped 0})
(def- only
  "A part of the names of the tests to run, or nil for all."
  (or (os/getenv "KQNET_TEST_ONLY") (get (dyn *args*) 1)))

(defn- count [outcome] (update counts outcome inc))

(defn- report-failure
  [name err fib]
  (count :failed)
  (print "FAIL  " name)
  (if (and (struct? err) (has-key? err :expected))
    (do
      (when-let [what (err :what)] (print "      " (if (bytes? what) what (string/format "%q" what))))
      (printf "      expected %q" (err :expected))
      (printf "      got      %q" (err :got)))
    (printf "      raised %q" err))
  (flush)
  (with-dyns [*err* stdout]
    (debug/stacktrace fib)))

(defn finish
  "Prints how many tests passed, failed and were skipped, and ends the process."
  []
  (remove-links)
  (printf "%d passed, %d failed, %d skipped" ;(map counts [:passed :failed :skipped]))
  (flush)
  (def none-ran (and only (every? (map zero? counts))))
  (when none-ran (eprintf "no test has %q in its name" only))
  (os/exit (if (or none-ran (pos? (counts :failed))) 1 0)))

(defn- give-up
  "Ends the process when a test has caught the error of its deadline, and still waits."
  [name]
  (count :failed)
  (print "FAIL  " name)
  (print "      it did not end by its deadline; the tests after it are not run")
  (kill-all)
  (finish))

(defn run-test
  "Runs a test. The macro `test` calls this."
  [name body &opt seconds]
  (default seconds deadline)
  (when (or (nil? only) (string/find only name))
    (def watchdog (ev/go (fn watchdog []
                           (when (first (protect (ev/sleep (+ seconds 10))))
                             (give-up name)))))
    # The watchdog starts to sleep before the test counts fibers.
    (ev/sleep 0)
    (try
      (do
        (ev/with-deadline seconds (body))
        (count :passed)
        (print "ok    " name))
      ([err fib]
        (if-let [reason (and (struct? err) (err :skip))]
          (do
            (count :skipped)
            (print "skip  " name ": " reason))
          (report-failure name err fib))))
    (close-all)
    (ev/cancel watchdog "the test has ended")
    (flush)))

(defmacro test
  "Runs a test, which is named by the behaviour that it shows, in a fiber of its own. The processes that
  it started end with it."
  [name & body]
  ~(,run-test ,name (fn [] ,;body)))

(defmacro test-within
  "Runs a test that may take this many seconds."
  [seconds name & body]
  ~(,run-test ,name (fn [] ,;body) ,seconds))

# Clients.

(defn port
  "The port of a listener, or the port itself."
  [where]
  (if (number? where) where (last (net/localname where))))

(defn free-port
  "A port that is free now. Another process may take it at any time."
  []
  (with [listener (net/listen "127.0.0.1" 0)]
    (port listener)))

(defn connect
  "Connects to a listener of this process, or to a port of this machine."
  [where]
  (def name (if (number? where) ["127.0.0.1" where] (net/localname where)))
  (if (= 1 (length name))
    (net/connect :unix (first name))
    (net/connect (first name) (string (last name)))))

(defn send
  "Connects, writes a text, and returns the connection."
  [where text]
  (def conn (connect where))
  (:write conn text)
  conn)

(defn receive
  "Reads everything until the other side closes, and returns it as a string."
  [conn]
  (string (or (:read conn :all) "")))

(defn ask
  "Connects, writes a text, and returns the whole answer."
  [where &opt text]
  (default text "hello\n")
  (with [conn (connect where)]
    (:write conn text)
    (receive conn)))

(defn echo
  "A handler that sends back what it reads at once."
  [conn]
  (defer (:close conn)
    (:write conn (:read conn 1024))))

(defn together
  "Calls a function with each number below `count`, each in a fiber, and returns all results."
  [count work]
  (def results (array/new-filled count))
  (def done (ev/chan count))
  (for i 0 count
    (ev/go (fn [] (put results i (work i))) nil done))
  (repeat count
    (match (ev/take done)
      [:error fiber] (propagate (fiber/last-value fiber) fiber)))
  results)

(defn background
  "Runs a function in a new fiber. Returns a channel that gets [true result] or [false error]."
  [thunk]
  (def result (ev/chan 1))
  (ev/go (fn background [] (ev/give result (protect (thunk)))))
  result)
