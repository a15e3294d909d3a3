###
### support/init.janet
###
### What the tests here use: named tests with a deadline, own descriptors and memory, clients,
### and Janet programs in processes of their own. A test file ends with (finish).
###

(def deadline
  "Seconds that a test may take."
  60)

(def- patience
  "Seconds to wait for a condition."
  20)

(defn shell-says
  "What a command of the shell prints."
  [command]
  (def shell (os/spawn ["sh" "-c" command] :p {:out :pipe}))
  (def text (ev/read (shell :out) :all))
  (os/proc-wait shell)
  (os/proc-close shell)
  (string/trim (or text "")))

# Finding kqnet and spork.

(defn- exists?
  [path mode]
  (= mode (os/stat path :mode)))

(defn- absolute
  [path]
  (if (string/has-prefix? "/" path) path (string (os/cwd) "/" path)))

(def project
  "The path of the repository."
  # This file is test/support/init.janet.
  (absolute (string/join (array/slice (string/split "/" (absolute (dyn *current-file*))) 0 -4) "/")))

# What the system gives.

(defn descriptor-limit
  "How many descriptors a process may have here."
  []
  (or (scan-number (shell-says "ulimit -n")) math/int32-max))

(def- enough
  "Descriptors that a test, or a client that it plays, may need. macOS allows no process more than 10240."
  4096)

(defn- with-enough-descriptors
  ``Starts this test file again with a higher soft limit, where it has fewer descriptors than it may need: the limit is
  256 on macOS, and `jpm test` does not raise it, as `cargo xtask test` does. Says so where the hard limit is lower.``
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

# The path of a unix socket has at most 104 bytes, and what the tests append takes less than 44.
(let [given (string/trimr (os/getenv "TMPDIR" "/tmp") "/")]
  (os/setenv "TMPDIR" (if (<= 1 (length given) 60) given "/tmp")))

(def- given-folders
  (filter |(not (empty? $)) (string/split ":" (or (os/getenv "JANET_PATH") ""))))

(defn- has-kqnet? [folder] (exists? (string folder "/kqnet/init.janet") :file))
(defn- has-spork? [folder] (exists? (string folder "/spork/http.janet") :file))

(defn- search
  "Makes a folder the one where this process and those it starts look for modules."
  [folder]
  (put root-env *syspath* folder)
  (os/setenv "JANET_PATH" folder))

# Before the path changes.
(def own-modules
  "The folder in which this Janet looks for modules by itself."
  (dyn *syspath*))

(def- installed-spork
  (find has-spork? [;given-folders (dyn *syspath*)]))

# By `cargo xtask test`, JANET_PATH has kqnet. By `jpm test` it is in build/ and not installed.
(def- kqnet-folder
  (or (find has-kqnet? given-folders)
      (find has-kqnet? [(string project "/build")])))

(unless (some has-kqnet? given-folders)
  (when kqnet-folder (search kqnet-folder)))

(defn scratch
  "A path in the folder for temporary files at which there is nothing."
  [name]
  (def unique (string/join (map |(string/format "%02x" $) (os/cryptorand 6))))
  (string (os/getenv "TMPDIR") "/kqnet-" unique "-" name))

(var- links nil)

(defn need-spork
  ``Sees to it that spork/http can be imported, here and in processes started later: the folder in
  $SPORK, the installed one, or else the stand-in. Returns where it is from, in words.``
  []
  (def asked (os/getenv "SPORK"))
  (def stand-in (string project "/test/stand-in"))
  (def from (or asked installed-spork stand-in))
  (unless (and (= from installed-spork) (= from kqnet-folder))
    # One folder, since older Janet takes no more.
    (set links (scratch "modules"))
    (os/mkdir links)
    (os/symlink (string (absolute kqnet-folder) "/kqnet") (string links "/kqnet"))
    (os/symlink (string (absolute from) "/spork") (string links "/spork"))
    (search links))
  # The path given may hold links to the stand-in itself.
  (def real (os/realpath (string from "/spork/http.janet")))
  (if (= real (os/realpath (string stand-in "/spork/http.janet")))
    "the stand-in for spork/http (spork is not installed, and $SPORK is not set)"
    "the real spork/http"))

(defn- remove-links
  []
  (when links
    (each name ["kqnet" "spork"] (protect (os/rm (string links "/" name))))
    (protect (os/rmdir links))))

# Asserting.

(defn fail
  "Ends the running test as a failure that says what was expected of what, and what came instead."
  [expected got &opt what]
  (error {:expected expected :got got :what what}))

(defn- plain
  "The same value with tuples for arrays."
  [x]
  (if (indexed? x) (tuple ;(map plain x)) x))

(defn same
  "Fails unless two values are alike; arrays count as tuples."
  [expected got &opt what]
  (unless (deep= (plain expected) (plain got)) (fail expected got what)))

(defn check
  "Fails unless the value is truthy, and returns it."
  [value what]
  (if value value (fail what value)))

(defn raised
  "What a call raises, or :nothing."
  [thunk]
  (try (do (thunk) :nothing) ([err] err)))

(defmacro raises
  "Fails unless the body raises this very value."
  [expected & body]
  ~(,same ,expected (,raised (fn [] ,;body)) "an error"))

(defn wait-until
  "Waits until a function returns something truthy, and returns that."
  [what ready?]
  (def end (+ patience (os/clock :monotonic)))
  (var value (ready?))
  (while (not value)
    (when (> (os/clock :monotonic) end) (fail what (string "not so after " patience " s")))
    (ev/sleep 0.002)
    (set value (ready?)))
  value)

(defn settles
  "Waits until a function returns this value, collecting garbage meanwhile."
  [expected get-value what]
  (def end (+ patience (os/clock :monotonic)))
  (defn value []
    (gccollect)
    (get-value))
  (var last (value))
  (while (not (deep= (plain expected) (plain last)))
    (when (> (os/clock :monotonic) end) (fail expected last what))
    (ev/sleep 0.002)
    (set last (value))))

# Tests.

(def- counts @{:passed 0 :failed 0 :skipped 0})
(def- processes @{})
(def- only
  "A part of the names of the tests to run, or nil for all."
  (os/getenv "KQNET_TEST_ONLY"))

(defn skip
  "Ends the running test as skipped."
  [reason]
  (error {:skip reason}))

(defn- count [outcome] (update counts outcome inc))

(defn- report-failure
  [name err fib]
  (count :failed)
  (print "FAIL  " name)
  (if (and (struct? err) (has-key? err :expected))
    (do
      (when (err :what) (printf "      %s" (err :what)))
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
  (os/exit (if (zero? (counts :failed)) 0 1)))

(defn- give-up
  "What happens when a test catches the error of its deadline, and goes on waiting."
  [name]
  (count :failed)
  (print "FAIL  " name)
  (print "      not ended by its deadline; the tests after it are not run")
  (each process (values processes) (protect (os/proc-kill (process :proc) false :kill)))
  (finish))

(defn run-test
  "What the macro `test` does."
  [name body &opt seconds]
  (default seconds deadline)
  (when (or (nil? only) (string/find only name))
    (def watchdog (ev/go (fn watchdog []
                           (when (first (protect (ev/sleep (+ seconds 10))))
                             (give-up name)))))
    # It begins to sleep before the test counts fibers.
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
    (each process (values processes) (:close process))
    (ev/cancel watchdog "the test has ended")
    (flush)))

(defmacro test
  "Runs a test, named by the behaviour that it shows, in a fiber of its own. The processes that it
  started end with it."
  [name & body]
  ~(,run-test ,name (fn [] ,;body)))

(defmacro test-within
  "The same, for a test that may take so many seconds."
  [seconds name & body]
  ~(,run-test ,name (fn [] ,;body) ,seconds))

# This process.

(defn descriptors
  "How many descriptors this process has open."
  []
  # Less the one that reads the folder.
  (dec (length (os/dir (if (exists? "/proc/self/fd" :directory) "/proc/self/fd" "/dev/fd")))))

(defn tasks
  "How many fibers the event loop knows."
  []
  (length (ev/all-tasks)))

(defn event-loop
  "The system interface under Janet's event loop: :epoll, :poll, or nil where that is unknown."
  []
  (def folder "/proc/self/fd")
  (when (exists? folder :directory)
    (def targets (map |(protect (os/readlink (string folder "/" $))) (os/dir folder)))
    # A poll loop has no descriptor; kqnet's queue has one, so ask before it is in use.
    (if (some |(= "anon_inode:[eventpoll]" (get $ 1)) targets) :epoll :poll)))

(defn version-at-least?
  "Compares this Janet with a version such as [1 38]."
  [wanted]
  (def have (map scan-number (string/split "." (first (string/split "-" janet/version)))))
  (>= (compare (tuple/slice have 0 2) wanted) 0))

(def linux? "Whether this is Linux." (= :linux (os/which)))

(def slow?
  "Whether a sanitizer or an emulator of another processor multiplies what is measured."
  (let [host (os/getenv "KQNET_HOST" "")]
    (truthy? (or (string/has-suffix? "-asan" host) (string/has-suffix? "-arm64" host)))))

# Clients.

(defn port
  "The port of a listener, or the port itself."
  [where]
  (if (number? where) where (last (net/localname where))))

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
  "Everything that comes until the other side closes, as a string."
  [conn]
  (string (or (:read conn :all) "")))

(defn ask
  "Connects, writes a text, and returns the answer."
  [where &opt text]
  (default text "hello\n")
  (with [conn (connect where)]
    (:write conn text)
    (receive conn)))

(defn together
  "Calls a function with the numbers below `count`, each in a fiber, and returns all results."
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

# Processes.

(defn- told-of
  "What the system tells of a process: a field of /proc/PID/status, or where there is none, a column of ps."
  [{:proc proc} field column]
  (def file (string "/proc/" (proc :pid) "/status"))
  (if (exists? file :file)
    (first (peg/match ~(* (thru ,(string field ":")) :s* '(to "\n")) (slurp file)))
    (shell-says (string "ps -o " column "= -p " (proc :pid)))))

(defn resident
  "Resident memory of a process that was started here, in bytes."
  [process]
  (* 1024 (first (peg/match '(number :d+) (told-of process "VmRSS" "rss")))))

(defn stopped?
  "Whether a process that was started here is stopped."
  [process]
  (string/has-prefix? "T" (told-of process "State" "stat")))

(def- process-methods
  @{:close
    (fn close [self]
      (put processes self nil)
      (unless (self :ended)
        # A stopped process dies of this too.
        (protect (os/proc-kill (self :proc) false :kill))
        (ev/take (self :end))
        (put self :ended true))
      (protect (os/proc-close (self :proc)))
      nil)

    :signal
    (fn signal [self name]
      (os/proc-kill (self :proc) false name)
      self)

    :wait
    (fn wait [self]
      (unless (self :ended)
        (ev/take (self :end))
        (put self :ended true))
      (self :status))

    :line
    (fn line [self]
      (wait-until (string "a line from " (self :what))
                  (fn []
                    (def out (self :out))
                    (if-let [end (string/find "\n" out (self :read))]
                      (let [text (string/slice out (self :read) end)]
                        (put self :read (inc end))
                        text)
                      (when (and (self :status) (self :out-ended))
                        (fail "a line on standard output"
                              (string (self :what) " ended: " (self :status) ": " (self :err))))))))

    :port
    (fn port [self]
      (scan-number (:line self)))})

(defn start
  ``Starts a program. Returns a table with what it wrote so far (:out, :err), and methods: :line
  waits for a line of its output, :port for one with a number, :signal sends one, :wait waits for
  its end and returns the exit status, :close ends it. A table before the arguments is merged into
  the environment of `os/spawn`: variables, and streams as :in, :out or :err.``
  [& args]
  (def [extra args] (if (dictionary? (first args)) [(first args) (drop 1 args)] [{} args]))
  (def env (merge (os/environ) {:out :pipe :err :pipe} extra))
  (def proc (os/spawn args :pe env))
  (def self @{:proc proc :what (string/join args " ") :out @"" :err @"" :read 0 :end (ev/chan 1)})
  (defn drain [name]
    (def from (in proc name))
    (ev/go (fn drain []
             (protect (while (ev/read from 4096 (self name))))
             (put self (keyword name :-ended) true))))
  (drain :out)
  (drain :err)
  (ev/go (fn reap []
           (put self :status (in (protect (os/proc-wait proc)) 1))
           (ev/give (self :end) true)))
  (put processes self self)
  (table/setproto self process-methods))

(defn start-janet
  "Starts this very interpreter with the same modules."
  [& args]
  (start (dyn *executable*) ;args))

(defn source
  "Forms as the text of a program."
  [forms]
  (string/join (map |(string/format "%j" $) forms) "\n"))

(defn start-forms
  "Starts a program given as a tuple of forms."
  [forms & args]
  (start-janet "-e" (source forms) ;args))

(defn start-limited
  "Starts this very interpreter with at most so many descriptors."
  [limit & args]
  (start "sh" "-c" `ulimit -n "$0" && exec "$@"` (string limit) (dyn *executable*) ;args))

(defn run-forms
  "Runs a program given as forms to its end. Returns its exit status, output and errors."
  [forms]
  (with [process (start-forms forms)]
    (def status (:wait process))
    (wait-until "the end of its output" |(and (process :out-ended) (process :err-ended)))
    [status (string (process :out)) (string (process :err))]))

(defn program
  "The path of a program in test/support."
  [name]
  (string project "/test/support/" name ".janet"))
