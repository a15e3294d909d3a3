###
### In a worker of kqnet-serve: taking over the supervisor's listeners instead of listening, and ending when it says so.
###

(import ./_native :as native)
(import ./tracker)

# It belongs to the VM and not to this module, as the trackers do (tracker.janet).
(defn- state
  ``Returns a table, whose :worker is what this process is as a worker of kqnet-serve, or false if it is none:

  * :pid - its process id.
  * :listeners - an array of the supervisor's listeners that were not taken yet.
  * :pipe - the descriptor of the pipe to the supervisor, while it is open.
  * :stop-timeout - how many seconds it may take to end.
  * :serving - true once a listener was taken.
  * :connections - a table whose keys are the connections that `kqnet/accept` has returned.
  * :ending - the time at which SIGTERM or SIGINT came, of the monotonic clock, if the program leaves them to this module.
  * :drained - true once `http/serve-forever` has come to its end.``
  []
  (native/worker-state))

(defn- join-memory
  "Shares memory with the other workers. A worker serves without it too."
  [memory slot listeners]
  (try
    (do
      (native/join-memory memory slot)
      (eachp [index listener] listeners (native/share-listener listener index)))
    ([err] (native/say (string "kqnet: " err)))))

(defn- begin
  "Returns what this process is as a worker, or nil if it is none."
  []
  # The program may have another copy of kqnet than kqnet-serve, whose launcher has asked before.
  (def found (or (native/inheritance) (dyn :kqnet/inheritance)))
  (if (number? found)
    (native/say (string "kqnet: this process was not started by kqnet-serve (process " found ") itself, and so it listens by itself; "
                        "a script that kqnet-serve runs should start the program with exec"))
    (when-let [[pid stop-timeout pipe memory slot & descriptors] found]
      (if (= pid (native/process-id))
        (do
          (def listeners (map |(native/from-fd $ true) descriptors))
          (when (pos? memory) (join-memory memory slot listeners))
          @{:pid pid :pipe pipe :stop-timeout stop-timeout :listeners listeners :connections (table/weak-keys 0)})
        (native/say (string "kqnet: this process was forked by a worker of kqnet-serve, and so it listens by itself; under kqnet-serve, a "
                            "program should serve from the process that it was started in"))))))

(defn- known
  []
  (def state (state))
  (when (nil? (state :worker))
    (put state :worker (or (begin) false)))
  (if-let [worker (state :worker)
           _ (= (worker :pid) (native/process-id))]
    worker))

(defn- same-address?
  "Returns a function that says whether a listener has the address of a host and port."
  [host port]
  (def wanted
    (if (= host :unix)
      [[(string port)]]
      # For a host that does not exist, listening raises the error.
      (if-let [[ok found] (protect (net/address host port :stream true))
               _ ok]
        (map net/address-unpack found)
        [])))
  (fn [listener] (has-value? wanted (net/localname listener))))

(defn- same-port?
  "Returns a function that says whether a listener has a port."
  [host port]
  (def number (if (bytes? port) (scan-number port) port))
  (fn [listener] (and number (not= host :unix) (= number (get (net/localname listener) 1)))))

(defn- names
  "The addresses of listeners, for people."
  [listeners]
  (string/join (map |(string/join (map string (net/localname $)) ":") listeners) ", "))

(def- patience
  "How many seconds after it has begun to serve a worker tells the supervisor which of its addresses are not served."
  1)

(defn- tell
  "Tells the supervisor that this worker serves, or on which addresses it does not."
  [worker]
  (def {:listeners left :pipe pipe} worker)
  (cond
    (nil? pipe) nil
    (empty? left) (do
                    (put worker :pipe nil)
                    (native/tell-supervisor pipe "ready\n" true))
    (native/tell-supervisor pipe (string "without " (names left) "\n"))))

(defn- tell-soon
  "Tells the supervisor so after the loop that accepts has begun, which is in this turn of the event loop."
  [worker first?]
  (cond
    (empty? (worker :listeners)) (ev/go (fn [] (ev/sleep 0) (tell worker)))
    first? (ev/go (fn [] (ev/sleep patience) (tell worker)))))

(defn- drain
  "Drains all listeners, and waits until the connections that `kqnet/accept` has returned are closed, for at most `seconds`."
  [worker seconds]
  (def deadline (+ seconds (os/clock :monotonic)))
  (tracker/drain-all (distinct [;(native/listeners) ;(worker :listeners)]) seconds)
  (while (and (some native/open? (keys (worker :connections)))
              (< (os/clock :monotonic) deadline))
    (ev/sleep 0.01)))

(def- same-moment
  ``For how many seconds after the first signal that ends a process another one means the same. timeout(1) sends each signal twice, and
  a service manager, a shell or a terminal may send one to a whole group of processes, of which one sends another on.``
  0.25)

(defn another-signal?
  "Returns whether a signal that comes now asks for more than the first one did, which came at `time`, of the monotonic clock."
  [time]
  (> (- (os/clock :monotonic) time) same-moment))

(defn- handle-signals
  ``Has SIGTERM and SIGINT drain this worker and end it, and one that comes later end it at once. A handler that the program has
  set, or sets later, is in the place of this one.``
  [worker]
  (defn end-worker []
    (if-let [first-time (worker :ending)]
      (when (another-signal? first-time) (os/exit 0))
      (do
        (put worker :ending (os/clock :monotonic))
        (def timeout (worker :stop-timeout))
        # After the timeout the supervisor kills it. Handlers that are cancelled before that have a moment to end.
        (drain worker (max (* 0.8 timeout) (- timeout 2)))
        (ev/sleep 0)
        (os/exit 0))))
  (each signal [:term :int]
    (when (native/ended-by? signal)
      # The program may have given up the right to do this.
      (protect (os/sigaction signal end-worker true)))))

(defn- serve
  "Does what is to be done when listeners were taken."
  [worker]
  (def first? (not (worker :serving)))
  (put worker :serving true)
  (when first? (handle-signals worker))
  (tell-soon worker first?))

(defn- index-of-listener
  "Returns the index of the listener to take, or nil."
  [listeners host port]
  (if host
    (or (find-index (same-address? host port) listeners)
        # The address is what the operator chose.
        (find-index (same-port? host port) listeners))
    (if (= 1 (length listeners)) 0)))

(defn- check-missing
  ``Says that a worker listens on an address that the supervisor does not have, since the other workers cannot do so too.
  Raises an error if it named no address, and there are several. Returns nil.``
  [{:listeners listeners} host port]
  (cond
    (empty? listeners) nil
    (nil? host) (errorf "kqnet-serve has several addresses (%s): say on which of them to listen" (names listeners))
    (has-value? [0 "0"] port) nil
    (native/say (string "kqnet: this worker listens on " host ":" port " itself, and not on an address of kqnet-serve, which has "
                        (names listeners) "; give both the same address")))
  nil)

(defn take
  ``Returns the supervisor's listener for an address, or nil if there is none: if this process is no worker, or was given no
  such listener. A listener that has the port but another host will do. Without an address, returns the only listener.
  Raises an error if there are several.``
  [&opt host port]
  (when-let [worker (known)]
    (def listeners (worker :listeners))
    (if-let [index (index-of-listener listeners host port)
             listener (in listeners index)]
      (do
        (array/remove listeners index)
        (serve worker)
        listener)
      (check-missing worker host port))))

(defn take-all
  "Returns the supervisor's listeners that were not taken yet."
  []
  (if-let [worker (known)]
    (let [listeners (tuple ;(worker :listeners))]
      (array/clear (worker :listeners))
      (serve worker)
      listeners)
    []))

(defn accept
  ``Waits for a connection, as `kqnet/accept` describes. In a worker that is ending it waits for ever, so that the program does
  not end before its connections have.``
  [listener timeout]
  (def worker ((state) :worker))
  (defn wait-if-ending []
    (when (and worker (worker :ending)) (forever (ev/take (ev/chan)))))
  (wait-if-ending)
  (def conn (native/accept listener timeout))
  (cond
    (nil? conn) (wait-if-ending)
    worker (put (worker :connections) conn true))
  conn)

(defn worker?
  "Returns whether this process is a worker of kqnet-serve."
  []
  (truthy? (known)))

(defn neighbours
  "Returns the other listeners of this process if it is a worker, which ends with all of them."
  [listener]
  (if-let [worker (known)]
    (filter |(and (not= listener $) (native/open? $)) (distinct [;(native/listeners) ;(worker :listeners)]))
    []))

(defn drained
  "Takes note that `http/serve-forever` has come to its end. Whatever else a worker runs does not keep it once the program has, too."
  []
  (when-let [worker (known)] (put worker :drained true)))
