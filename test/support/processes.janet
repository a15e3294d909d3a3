###
### Starts programs in other processes, and asks the system about them.
###

(import ./system :prefix "")
(import ./assert :prefix "")

(def- running @{})

(defn- told-of
  "What the system says about a process: a field of /proc/PID/status, or without /proc a column of ps."
  [{:proc proc} field column]
  (def file (string "/proc/" (proc :pid) "/status"))
  (if (exists? file :file)
    (first (peg/match ~(* (thru ,(string field ":")) :s* '(to "\n")) (slurp file)))
    (shell-says (string "ps -o " column "= -p " (proc :pid)))))

(defn resident
  "The resident memory of a process that was started here, in bytes."
  [process]
  (* 1024 (first (peg/match '(number :d+) (told-of process "VmRSS" "rss")))))

(defn peak
  "The most memory that a process that was started here ever had resident, in bytes, or nil if the system does not tell."
  [{:proc proc}]
  (when-let [[_ status] (protect (slurp (string "/proc/" (proc :pid) "/status")))
             [size] (peg/match '(* (thru "VmHWM:") :s* (number :d+)) status)]
    (* 1024 size)))

(defn stopped?
  "Whether a process that was started here is stopped."
  [process]
  (string/has-prefix? "T" (told-of process "State" "stat")))

(def- process-methods
  @{:close
    (fn close [self]
      (put running self nil)
      (unless (self :ended)
        # This ends a stopped process too.
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
  ``Starts a program. Returns a table with what it has written so far (:out, :err), and methods: :line
  waits for a line of its output, :port for a line with a number, :signal sends a signal, :wait waits
  for its end and returns the exit status, :close ends it. A table before the arguments is merged into
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
  (put running self self)
  (table/setproto self process-methods))

(defn start-janet
  "Starts this interpreter again, with the same modules."
  [& args]
  (start (dyn *executable*) ;args))

(defn source
  "The text of a program, which is given as forms."
  [forms]
  (string/join (map |(string/format "%j" $) forms) "\n"))

(defn start-forms
  "Starts a program given as a tuple of forms."
  [forms & args]
  (start-janet "-e" (source forms) ;args))

(defn start-limited
  "Starts this interpreter again, with at most this many descriptors."
  [limit & args]
  (start "sh" "-c" `ulimit -n "$0" && exec "$@"` (string limit) (dyn *executable*) ;args))

(defn run-forms
  "Runs a program, which is given as forms, to its end. Returns its exit status, output and errors."
  [forms]
  (with [process (start-forms forms)]
    (def status (:wait process))
    (wait-until "the end of its output" |(and (process :out-ended) (process :err-ended)))
    [status (string (process :out)) (string (process :err))]))

(defn program
  "The path of a program in test/support."
  [name]
  (string project "/test/support/" name ".janet"))

(defn close-all
  "Ends all processes that were started here and are not closed."
  []
  (each process (values running) (:close process)))

(defn kill-all
  "Kills these processes without waiting for their end."
  []
  (each process (values running) (protect (os/proc-kill (process :proc) false :kill))))
