###
### In a worker of kqnet-serve: taking over the supervisor's listeners instead of listening.
###

(import ./_native :as native)

(def- variable
  ``The variable by which the supervisor passes what a worker needs: the number of the worker, the supervisor's process id, the
  descriptor of the pipe on which it says that it is ready, the descriptor of the memory that all workers share and this
  worker's slot of it (both 0 if there is none), and the descriptors of the listeners.``
  "KQNET_WORKER")

# It belongs to the process and not to this module, since a module in an executable is loaded when that is built.
(def- state
  ``What is left for this process: :listeners, an array of listeners that were not taken yet, and :pipe, the descriptor of the pipe
  while it is open. Nil until it is known whether this is a worker, and false in any other process.``
  @{:known nil})

(defn- join-memory
  "Shares memory with the other workers. A worker serves without it too."
  [memory slot listeners]
  (try
    (do
      (native/join-memory memory slot)
      (eachp [index listener] listeners (native/share-listener listener index)))
    ([err] (native/say (string "kqnet: " err)))))

(defn- read-variable
  "Returns what the variable says, and removes it, so that no child process takes the descriptors for its own."
  []
  (when-let [value (os/getenv variable)]
    (os/setenv variable nil)
    (def [number supervisor pipe memory slot & descriptors] (map scan-number (string/split " " value)))
    (native/name-process (string "kqnet worker " number))
    (native/join-supervisor supervisor)
    (def listeners (map native/from-fd descriptors))
    (when (pos? memory) (join-memory memory slot listeners))
    @{:pipe pipe :listeners listeners}))

(defn- known
  []
  (when (nil? (state :known))
    (put state :known (or (read-variable) false)))
  (state :known))

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

(defn- tell-ready
  "Tells the supervisor that this worker accepts connections."
  [worker]
  (when-let [pipe (worker :pipe)]
    (put worker :pipe nil)
    (native/tell-supervisor pipe "ready")))

(defn- tell-ready-soon
  "Tells the supervisor so after the loop that accepts has begun, which is in this turn of the event loop."
  [worker]
  (ev/go (fn [] (ev/sleep 0) (tell-ready worker))))

(defn- index-of-listener
  "Returns the index of the listener to take, or nil."
  [listeners host port]
  (if host
    (or (find-index (same-address? host port) listeners)
        # The address is what the operator chose.
        (find-index (same-port? host port) listeners))
    (if (= 1 (length listeners)) 0)))

(defn- names
  "The addresses of listeners, for people."
  [listeners]
  (string/join (map |(string/join (map string (net/localname $)) ":") listeners) ", "))

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
        (tell-ready-soon worker)
        listener)
      (check-missing worker host port))))

(defn take-all
  "Returns the supervisor's listeners that were not taken yet."
  []
  (if-let [worker (known)]
    (let [listeners (tuple ;(worker :listeners))]
      (array/clear (worker :listeners))
      (tell-ready-soon worker)
      listeners)
    []))
