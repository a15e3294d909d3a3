###
### One worker process: starting it, learning when it serves, and ending it.
###

(import ../_native :as native)

(def- max-words
  "How many bytes of what a worker wrote last are kept."
  4096)

(defn- command
  "Returns the command line that runs a program: a Janet file, or an executable."
  [[program & arguments] modules]
  (def janet? (or (string/has-suffix? ".janet" program)
                  (not (peg/match '(* (to "x")) (os/stat program :permissions)))))
  (if janet?
    [(dyn *executable* "janet") ;(mapcat |["-l" $] modules) program ;arguments]
    [(if (string/find "/" program) program (string "./" program)) ;arguments]))

(defn- copy-words
  "Copies what a worker writes to stderr to this process's, and keeps the end of it."
  [worker stream]
  (def words (worker :words))
  (ev/go (fn copy-words []
           (def buf @"")
           (while (first (protect (assert (:read stream 4096 (buffer/clear buf)))))
             (native/put-on-stderr buf)
             (buffer/push words buf)
             (when (> (length words) (* 2 max-words))
               (def end (buffer/slice words (- (length words) max-words)))
               (buffer/clear words)
               (buffer/push words end)))
           (protect (:close stream)))))

(defn- wait-for-end
  "Puts the end of a process into `events`. If the system has no thread to wait in, tries again later."
  [worker events]
  (ev/go (fn wait-for-end []
           (var result nil)
           (while (not (first (set result (protect (os/proc-wait (worker :process))))))
             (ev/sleep 1))
           (ev/give events [:ended worker (in result 1)]))))

(defn- wait-until-ready
  [worker stream events]
  (ev/go (fn wait-until-ready []
           (def [_ text] (protect (:read stream 16)))
           (protect (:close stream))
           (when (= "ready" (string text))
             (ev/give events [:ready worker])))))

(defn start
  ``Starts a worker. Returns a table that describes it:

  * :number - the number of the worker among all that were started.
  * :generation - which version of the program it runs.
  * :state - :starting, and later :ready or :ending.
  * :pid - its process id.
  * :words - a buffer with what it wrote to stderr last, if `keeps-words` is true.

  `events` is given [:ready worker] once it accepts connections, and [:ended worker status] when it has ended. Raises an error
  when the process cannot be started.``
  [number generation {:command program :load modules :held held :events events :keeps-words keeps-words}]
  (def worker @{:number number :generation generation :state :starting :since (os/clock :monotonic) :words @""})
  (def [from-worker to-supervisor] (os/pipe))
  (def passed [to-supervisor ;held])
  (def null (os/open "/dev/null" :r))
  (defer (do
           (each one passed (protect (native/pass-on one false)))
           (:close to-supervisor)
           (:close null))
    (def descriptors (map |(native/pass-on $ true) passed))
    (def env (merge (os/environ)
                    {"KQNET_WORKER" (string/join (map string [number ;descriptors]) " ")
                     "JANET_PATH" (dyn *syspath*)
                     :in null}
                    (if keeps-words {:err :pipe} {})))
    (def process (try (os/spawn (command program modules) :pe env)
                   ([err] (:close from-worker) (error err))))
    (put worker :process process)
    (put worker :pid (process :pid))
    (when keeps-words (copy-words worker (process :err))))
  (wait-until-ready worker from-worker events)
  (wait-for-end worker events)
  worker)

(defn kill
  "Sends a signal to a worker, such as :term. Does nothing if it has ended."
  [worker signal]
  (protect (os/proc-kill (worker :process) false signal)))
