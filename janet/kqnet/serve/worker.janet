###
### One worker process: starting it, learning when it serves, and ending it.
###

(import ../_native :as native)

(def- max-words
  "How many bytes of what a worker wrote last are kept."
  4096)

(def- launcher
  "The program that runs a Janet program in a worker."
  (string (string/slice (dyn *current-file*) 0 (- (inc (length "worker.janet")))) "launch.janet"))

(defn- command
  "Returns the command line that runs a program: a Janet file, or an executable."
  [[program & arguments] modules]
  (unless (os/stat program)
    (error (string "there is no program " program)))
  (def janet? (or (string/has-suffix? ".janet" program)
                  (not (peg/match '(* (to "x")) (os/stat program :permissions)))))
  (if janet?
    [(dyn *executable* "janet") launcher ;modules "--" program ;arguments]
    [(if (string/find "/" program) program (string "./" program)) ;arguments]))

(defn- enter
  "Follows the path of the folder in which a worker should run. Without that of --chdir, it runs where the last one did."
  [folder asked-for?]
  (when folder
    (def [entered? err] (protect (os/cd folder)))
    (unless (or entered? (not asked-for?)) (error err))))

(defn- copy-words
  "Copies what a worker writes to stderr to this process's, and keeps the end of it."
  [worker stream]
  (def words (worker :words))
  (put worker :copying true)
  (ev/go (fn copy-words []
           (def buf @"")
           (while (first (protect (assert (:read stream 4096 (buffer/clear buf)))))
             (native/put-on-stderr buf)
             # While there is always more to read, reading never waits, and nothing else would be done.
             (ev/sleep 0)
             (buffer/push words buf)
             (when (> (length words) (* 2 max-words))
               (def end (buffer/slice words (- (length words) max-words)))
               (buffer/clear words)
               (buffer/push words end)))
           (put worker :copying false)
           (protect (:close stream)))))

(defn- hear
  "Waits for what a worker says about itself."
  [worker stream events]
  (ev/go (fn hear []
           (def text @"")
           (while (first (protect (assert (:read stream 1024 text))))
             (def lines (string/split "\n" text))
             (buffer/push (buffer/clear text) (last lines))
             (each line (slice lines 0 -2)
               (if (= "ready" line)
                 (ev/give events [:ready worker])
                 (do
                   (put worker :without (string/slice line (length "without ")))
                   (ev/give events [:without worker])))))
           (protect (:close stream)))))

(defn- hear-of-files
  ``Calls a function with the number of a worker and each line in which it tells of what it has loaded: :file with a path and a
  version, or :folder with a path (serve/loaded.janet).``
  [worker stream on-loaded]
  (def line (peg/compile ~(* (+ (* "file " (constant :file) (<- (to "\t"))) (* "folder" (constant :folder) (constant nil)))
                             "\t" (<- (to -1)))))
  (ev/go (fn hear-of-files []
           (def text @"")
           (while (first (protect (assert (:read stream 65536 text))))
             (def lines (string/split "\n" text))
             (buffer/push (buffer/clear text) (last lines))
             (each one (slice lines 0 -2)
               (when-let [[kind version path] (peg/match line one)]
                 (on-loaded (worker :number) kind path version))))
           (protect (:close stream)))))

(var- pipe-to-workers nil)

(defn- lifeline
  "Returns a stream that ends with this process, for all workers. Nothing is ever written to it."
  []
  (unless pipe-to-workers (set pipe-to-workers (os/pipe)))
  (first pipe-to-workers))

(defn- janet-path
  "Returns the folders in which workers look for modules: those in which this process does."
  []
  (def given (os/getenv "JANET_PATH" ""))
  (if (= (dyn *syspath*) (first (string/split ":" given))) given (dyn *syspath*)))

(defn- value-of-variable
  "Returns whole numbers as a text (crates/accept/src/inheritance.rs)."
  [numbers]
  (string/join (map |(string/format "%.0f" (math/ceil $)) numbers) " "))

(defn- leave-slot
  "Frees the slot of a worker that is gone."
  [worker]
  (when-let [slot (worker :slot)]
    (put worker :slot nil)
    (native/give-slot-back (worker :memory) slot)))

(defn start
  ``Starts a worker. Returns a table that describes it:

  * :number - the number of the worker among all that were started.
  * :generation - which version of the program it runs.
  * :state - :starting, and later :ready or :ending.
  * :pid - its process id.
  * :slot - its slot of the memory that all workers share, or nil if there is none.
  * :without - the addresses that it does not serve, if it serves some, a string.
  * :words - a buffer with what it wrote to stderr last, if `keeps-words` is true.

  `on-loaded` is called, if it is not nil, for what the worker loads (`hear-of-files`), unless it is a stand-in of generation 0.
  `events` is given [:ready worker] once it accepts connections on all addresses, and [:without worker] if it serves only some of
  them. Raises an error when the process cannot be started.``
  [number generation {:command program :load modules :held held :memory memory :board board :events events
                      :on-loaded on-loaded :keeps-words keeps-words :stop-timeout stop-timeout
                      :folder folder :asked-for-folder asked-for?}]
  (enter folder asked-for?)
  (def worker @{:number number :generation generation :state :starting :since (os/clock :monotonic) :words @""})
  (def slot (if memory (native/take-slot memory)))
  (when slot (merge-into worker {:memory memory :slot slot}))
  (def null (try (do (lifeline) (os/open "/dev/null" :r)) ([err] (leave-slot worker) (error err))))
  (def [from-worker to-supervisor] (try (os/pipe) ([err] (:close null) (leave-slot worker) (error err))))
  (def passed [to-supervisor (lifeline) ;(if slot [memory] []) ;held])
  # The worker waits while it is full, since a program that loads many files at once should not lose some.
  (def [loaded tells-of-files] (if (and on-loaded (pos? generation)) (try (os/pipe :W) ([_] [])) []))
  (def shown [;(if board [board] []) ;(if tells-of-files [tells-of-files] [])])
  (try
    (defer (do
             (each one [;passed ;shown] (protect (native/pass-on one false)))
             (:close to-supervisor)
             (when tells-of-files (:close tells-of-files))
             (:close null))
      (def [pipe end & others] (map |(native/pass-on $ true) passed))
      (def descriptors [pipe end ;(if slot [(first others) slot ;(drop 1 others)] [0 0 ;others])])
      (def words (command program modules))
      (def env (merge (os/environ)
                      {"KQNET_WORKER" (value-of-variable [number (native/process-id) (* 1000 stop-timeout) ;descriptors])
                       "JANET_PATH" (janet-path)
                       # See serve/live.janet.
                       "KQNET_LIVE" (if board (string (native/pass-on board true)))
                       # See serve/loaded.janet.
                       "KQNET_LOADED" (if (and tells-of-files (= launcher (in words 1))) (string (native/pass-on tells-of-files true)))
                       :in null}
                      (if keeps-words {:err :pipe} {})))
      # The supervisor reaps it, and Janet must not.
      (def process (os/spawn words :ped env))
      (put worker :process process)
      (put worker :pid (process :pid))
      (when keeps-words (copy-words worker (process :err))))
    ([err]
      (:close from-worker)
      (when loaded (:close loaded))
      (leave-slot worker)
      (error err)))
  (hear worker from-worker events)
  (when loaded (hear-of-files worker loaded on-loaded))
  worker)

(defn signal
  "Sends :term or :kill to a worker that has not been reaped."
  [worker name]
  (unless (worker :reaped)
    (put worker :told-to-end true)
    (native/signal-process (worker :pid) name)))

(defn reaped
  ``Takes note that a worker has ended, and whether a signal that others send has ended it. Gives [:ended worker status] to `events`,
  once all that it wrote to stderr was copied. A process that it has left behind may still write, so the wait for that is
  short.``
  [worker status by-others events]
  (put worker :reaped true)
  (put worker :killed-by-others (and by-others (not (worker :told-to-end))))
  (leave-slot worker)
  (ev/go (fn end []
           (var waits 50)
           (while (and (worker :copying) (pos? (-- waits))) (ev/sleep 0.01))
           (ev/give events [:ended worker status]))))
