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
  (unless (os/stat program)
    (error (string "there is no program " program)))
  (def janet? (or (string/has-suffix? ".janet" program)
                  (not (peg/match '(* (to "x")) (os/stat program :permissions)))))
  (if janet?
    [(dyn *executable* "janet") ;(mapcat |["-l" $] modules) program ;arguments]
    [(if (string/find "/" program) program (string "./" program)) ;arguments]))

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

(defn- wait-until-ready
  [worker stream events]
  (ev/go (fn wait-until-ready []
           (def [_ text] (protect (:read stream 16)))
           (protect (:close stream))
           (when (= "ready" (string text))
             (ev/give events [:ready worker])))))

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
  * :words - a buffer with what it wrote to stderr last, if `keeps-words` is true.

  `events` is given [:ready worker] once it accepts connections. Raises an error when the process cannot be started.``
  [number generation {:command program :load modules :held held :memory memory :board board :events events :keeps-words keeps-words}]
  (def worker @{:number number :generation generation :state :starting :since (os/clock :monotonic) :words @""})
  (def slot (if memory (native/take-slot memory)))
  (when slot (merge-into worker {:memory memory :slot slot}))
  (def null (try (os/open "/dev/null" :r) ([err] (leave-slot worker) (error err))))
  (def [from-worker to-supervisor] (try (os/pipe) ([err] (:close null) (leave-slot worker) (error err))))
  (def passed [to-supervisor ;(if slot [memory] []) ;held])
  (def shown (if board [board] []))
  (try
    (defer (do
             (each one [;passed ;shown] (protect (native/pass-on one false)))
             (:close to-supervisor)
             (:close null))
      (def [pipe & others] (map |(native/pass-on $ true) passed))
      (def descriptors (if slot [pipe (first others) slot ;(drop 1 others)] [pipe 0 0 ;others]))
      (def env (merge (os/environ)
                      {"KQNET_WORKER" (string/join (map string [number (native/process-id) ;descriptors]) " ")
                       "JANET_PATH" (dyn *syspath*)
                       # See serve/live.janet.
                       "KQNET_LIVE" (if board (string (native/pass-on board true)))
                       :in null}
                      (if keeps-words {:err :pipe} {})))
      # The supervisor reaps it, and Janet must not.
      (def process (os/spawn (command program modules) :ped env))
      (put worker :process process)
      (put worker :pid (process :pid))
      (when keeps-words (copy-words worker (process :err))))
    ([err]
      (:close from-worker)
      (leave-slot worker)
      (error err)))
  (wait-until-ready worker from-worker events)
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
