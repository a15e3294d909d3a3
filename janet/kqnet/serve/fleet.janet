###
### The workers of a supervisor: how many there are, which are replaced, and what happens when they die.
###

(import ../_native :as native)
(import ./worker)

(def- young
  "A worker that ends within this many seconds after it was ready has died young, as has one that was never ready."
  5)

(def- first-pause
  "How many seconds to wait after a worker has died young. The pause doubles with each one in a row."
  0.25)

(def- longest-pause
  "The longest pause after workers that were never ready."
  30)

(def- longest-pause-if-ready
  "The longest pause after workers that were ready. Something else may have killed them, and clients are waiting."
  1)

(def- attempts-at-start
  "How many workers in a row may end before they are ready, if none has ever been ready."
  3)

(def- attempts
  "How many workers in a row may end before they are ready, while none is ready."
  10)

(def- most-kills
  ``How many new workers in a row may be killed by somebody else, such as by `kill -9` or for want of memory, before that counts as a
  mistake of the program.``
  4)

(def- most-in-passing
  ``How many workers that were replaced before they were ready may still be ending. When SIGHUP comes again and again, no other is
  started until there are fewer.``
  3)

(def- terminated
  "The status of a process that SIGTERM has ended."
  143)

(defn- now [] (os/clock :monotonic))

(defn make
  ``Makes a fleet without workers. `context` is what `worker/start` needs, with :size, how many workers there should be,
  :start-timeout and :stop-timeout in seconds, :say, a function that tells the operator something, and, if a new version is
  tried only when it is replaced, :on-problem, a function that is called with the last words of a version that does not
  start, and with nil for one that does.``
  [context]
  @{:context context
    :size (context :size)
    # Workers of another generation are replaced.
    :generation 1
    :last-generation 1
    :last-number 0
    :workers @[]
    # How many died young in a row, how many of the last ones were never ready, and before when no other is started.
    :deaths 0
    :failures 0
    :not-before 0
    # How many of the new workers were killed by somebody else in a row.
    :kills 0
    :ever-ready false
    :stopping false
    # The exit status of the fleet, and what the worker that ended last by itself left: its status and its words.
    :status 0
    :last-status 0
    :words ""})

(defn- say [fleet & parts] ((in (fleet :context) :say) (string ;parts)))

(defn- name-of [worker] (string "worker " (worker :number) " (process " (worker :pid) ")"))

(defn- having
  "The workers in one of these states."
  [fleet & states]
  (filter |(has-value? states ($ :state)) (fleet :workers)))

(defn- current? [fleet worker] (= (fleet :generation) (worker :generation)))

(defn- new
  "Those of the present generation."
  [fleet & states]
  (filter |(current? fleet $) (having fleet ;states)))

(defn- old
  "Those of an older generation."
  [fleet & states]
  (filter |(not (current? fleet $)) (having fleet ;states)))

(defn- retire
  "Has workers end gracefully. One is killed if that takes too long."
  [workers]
  (each worker workers
    (put worker :passing (= :starting (worker :state)))
    (put worker :state :ending)
    (put worker :since (now))
    (worker/signal worker :term)))

(defn- note-death
  "Waits longer before the next start. `ready?` says whether the worker that died young was ready before."
  [fleet ready?]
  (def deaths (inc (fleet :deaths)))
  (put fleet :deaths deaths)
  (unless ready? (put fleet :failures (inc (fleet :failures))))
  (put fleet :not-before
       (+ (now) (min (if ready? longest-pause-if-ready longest-pause)
                     (* first-pause (math/pow 2 (dec deaths)))))))

(defn- start-generation
  "Makes another generation the present one, with nothing held against it."
  [fleet generation]
  (put fleet :generation generation)
  (put fleet :deaths 0)
  (put fleet :failures 0)
  (put fleet :kills 0))

(defn- keep-old
  "Ends a replacement whose first worker has failed. The old workers go on."
  [fleet]
  (say fleet "the new version did not start; the old workers go on")
  (start-generation fleet ((last (having fleet :ready)) :generation))
  (retire (old fleet :starting)))

(defn replacing?
  "Whether old workers serve until there are new ones."
  [fleet]
  (not (empty? (old fleet :ready))))

(defn newest?
  "Whether the version of the program that was asked for last is the present one. It is not after a replacement that has failed."
  [fleet]
  (= (fleet :generation) (fleet :last-generation)))

(defn complete?
  "Whether all workers that there should be are of the present generation and ready."
  [fleet]
  (and (not (replacing? fleet)) (>= (length (new fleet :ready)) (fleet :size))))

(defn- failed-replacement?
  [fleet]
  (and (replacing? fleet) (empty? (new fleet :ready))))

(defn- start-one
  [fleet]
  (def number (inc (fleet :last-number)))
  (put fleet :last-number number)
  # After one has died young, the words of the next ones are kept, for the end of the story.
  (def context (merge (fleet :context) {:keeps-words (or (in (fleet :context) :keeps-words) (pos? (fleet :deaths)))}))
  (try
    (do
      (array/push (fleet :workers) (worker/start number (fleet :generation) context))
      (put fleet :start-error nil))
    ([err]
      # Once is enough, however long the system is short of something.
      (unless (= (string err) (fleet :start-error))
        (say fleet "cannot start a worker: " err "; it is tried again"))
      (put fleet :start-error (string err))
      (put fleet :words (string err))
      # When the program has run before, it is not to blame.
      (note-death fleet (fleet :ever-ready))
      (when (and (failed-replacement? fleet) (not (in (fleet :context) :on-problem)))
        (keep-old fleet)))))

(defn- passing
  "The workers that were replaced before they were ready and have not ended."
  [fleet]
  (filter |($ :passing) (having fleet :ending)))

(defn- give-up?
  [fleet]
  (and (empty? (having fleet :ready :starting))
       (>= (fleet :failures) (if (fleet :ever-ready) attempts attempts-at-start))
       (not (in (fleet :context) :on-problem))))

(defn stop
  "Has all workers end gracefully."
  [fleet]
  (put fleet :stopping true)
  (retire (having fleet :starting :ready)))

(defn kill
  "Ends all workers at once, after `stop`."
  [fleet]
  (each worker (fleet :workers) (worker/signal worker :kill)))

(def- advice
  "What a program needs that does not listen with kqnet."
  "A program on net/server needs: kqnet-serve -l kqnet/install")

(defn- give-up
  [fleet]
  (def words (string/trim (fleet :words)))
  (say fleet "gave up after " (fleet :failures) " workers in a row have ended"
       (if (empty? words) "" (string "; the last one wrote:\n" words)))
  # That is what core says, and the supervisor has the address.
  (when (string/find "could not bind to any sockets" words) (say fleet advice))
  (put fleet :status (max 1 (fleet :last-status)))
  (stop fleet))

(defn balance
  ``Starts and retires workers, so that there are as many of the current generation as there should be. While workers of
  an older generation serve, the new ones are started one after the other, and each one that is ready replaces an old one.``
  [fleet]
  (unless (fleet :stopping)
    (when (give-up? fleet) (give-up fleet)))
  (unless (fleet :stopping)
    (def size (fleet :size))
    (def limit (if (replacing? fleet) 1 size))
    (while (and (< (length (new fleet :starting :ready)) size)
                (< (length (new fleet :starting)) limit)
                (< (length (passing fleet)) most-in-passing)
                (<= (fleet :not-before) (now)))
      (start-one fleet))
    # Too many were started, or one of an older generation has a successor.
    (def serving (old fleet :ready))
    (retire (take (max 0 (- (+ (length serving) (length (new fleet :ready))) size)) serving))
    # A stand-in, of generation 0, starts while no version does.
    (retire (filter |(pos? ($ :generation)) (old fleet :starting)))
    (retire (drop size (new fleet :ready :starting)))))

(defn- stand-in
  "Starts a worker that runs another program while the program itself does not start."
  [fleet command]
  (def number (inc (fleet :last-number)))
  (put fleet :last-number number)
  (protect (array/push (fleet :workers) (worker/start number 0 (merge (fleet :context) {:command command :load []})))))

(defn ready
  "Takes note that a worker accepts connections."
  [fleet worker]
  (when (= :starting (worker :state))
    (when-let [on-problem (in (fleet :context) :on-problem)]
      (when (current? fleet worker) (on-problem nil)))
    (put worker :state :ready)
    (put worker :since (now))
    (put fleet :ever-ready true)
    (put fleet :failures 0)
    (balance fleet)
    (unless (replacing? fleet) (put fleet :kills 0))))

(defn without
  "Says, once for each version, that the program does not serve all addresses."
  [fleet worker]
  (def told [(worker :generation) (worker :without)])
  (unless (= told (fleet :told-without))
    (put fleet :told-without told)
    (say fleet "the program does not serve " (worker :without) ", which is an address of kqnet-serve: a worker is ready once it "
         "serves all of them")))

(defn- died
  "Takes note that a worker has ended that nobody told to end."
  [fleet worker status]
  (def ready? (= :ready (worker :state)))
  (def young? (or (not ready?) (< (- (now) (worker :since)) young)))
  (say fleet (name-of worker) " ended with status " status
       (if ready? "" ", before it accepted connections")
       (if (worker :killed-by-others) "; something else has ended it" ""))
  (put fleet :words (string (worker :words)))
  (put fleet :last-status status)
  (if young? (note-death fleet ready?) (put fleet :deaths 0))
  (def {:on-problem on-problem :stand-in command} (fleet :context))
  (when (worker :killed-by-others)
    (put fleet :kills (inc (fleet :kills))))
  (cond
    (not (current? fleet worker)) nil
    # The program is not to blame: it is tried again.
    (and (worker :killed-by-others) (<= (fleet :kills) most-kills)) nil
    (and on-problem (not ready?))
    (do
      (on-problem (fleet :words))
      # The next attempt is for the next version.
      (put fleet :not-before math/inf)
      (when (and command (empty? (having fleet :ready :starting)))
        (stand-in fleet command)))
    (failed-replacement? fleet) (keep-old fleet)))

(defn reap
  "Takes note of all processes that have ended. The end of each worker is an event of its own."
  [fleet]
  (var process (native/reap))
  (while process
    (def [pid status by-others] process)
    # Others are children of workers that have ended, if this is the first process of a container.
    (when-let [one (find |(and (= pid ($ :pid)) (not ($ :reaped))) (fleet :workers))]
      (worker/reaped one status by-others (in (fleet :context) :events)))
    (set process (native/reap))))

(defn ended
  "Takes note that a worker has ended."
  [fleet worker status]
  (def index (find-index |(= $ worker) (fleet :workers)))
  (array/remove (fleet :workers) index)
  # SIGTERM ends a program that does not drain, or has not come to that yet.
  (def well? (or (zero? status) (= status terminated)))
  (cond
    (fleet :stopping) (unless well?
                        (say fleet (name-of worker) " ended with status " status)
                        (when (zero? (fleet :status)) (put fleet :status status)))
    (= :ending (worker :state)) (unless well?
                                  (say fleet (name-of worker) ", which was replaced, ended with status " status))
    (died fleet worker status))
  (balance fleet))

(defn replace
  "Replaces all workers by new ones, which run the program as it is now."
  [fleet]
  (def generation (inc (fleet :last-generation)))
  (put fleet :last-generation generation)
  (start-generation fleet generation)
  (put fleet :not-before 0)
  (balance fleet))

(defn resize
  "Changes how many workers there should be by `change`. There is always one."
  [fleet change]
  (put fleet :size (max 1 (+ change (fleet :size))))
  (say fleet "now " (fleet :size) (if (= 1 (fleet :size)) " worker" " workers"))
  (balance fleet))

(defn- late?
  [fleet worker]
  (def {:start-timeout start :stop-timeout stop} (fleet :context))
  (def limit (case (worker :state) :starting start :ending stop math/inf))
  (> (- (now) (worker :since)) limit))

(defn watch-time
  "Kills the workers that take too long to start or to end, and starts those that had to wait."
  [fleet]
  (each worker (filter |(late? fleet $) (fleet :workers))
    (say fleet (name-of worker)
         (if (= :starting (worker :state))
           (string " has not listened on " (get worker :without "an address of the supervisor") "; it is killed. Does the program serve one of them with kqnet? "
                   advice)
           " takes too long to end; it is killed"))
    # Its end is the event that follows.
    (put worker :since (now))
    (worker/signal worker :kill))
  (balance fleet))

(defn next-time
  "Returns after how many seconds `watch-time` has something to do, or nil if it has nothing to do."
  [fleet]
  (def {:start-timeout start :stop-timeout stop} (fleet :context))
  (def times
    (seq [worker :in (fleet :workers)
          :let [limit (case (worker :state) :starting start :ending stop)]
          :when limit]
      (+ (worker :since) limit)))
  (when (and (not (fleet :stopping))
             (< (now) (fleet :not-before) math/inf)
             (< (length (new fleet :starting :ready)) (fleet :size)))
    (array/push times (fleet :not-before)))
  (unless (empty? times)
    (max 0.01 (- (min ;times) (now)))))
