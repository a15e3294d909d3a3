###
### Serving one connection, from its beginning to its end: its requests one after the other.
###

(import ../_native :as native)
(import ../tracker)
(import ./collection)
(import ./failure)
(import ./log)
(import ./response)

(def- read-size
  "How many bytes of a head are read at once. Each idle connection has a buffer of this size."
  2048)

# A connection is a tuple of its stream, its native half, the buffers for input and output, and the tracker of its
# listener. It is a tuple because its fields are read several times per request, and `in` is quicker than calling a
# table.
#
# The state of a connection is a table of:
#
# * :request - the request that its handler answers, or false.
# * :body - the body of the response while it is sent in pieces, or nil.
# * :refused - the refused request, or true if its head could not be read.
# * :detached - true if the program has taken the connection over.

(defn- check-switch
  "Raises an error for a response that switches protocols when the request did not ask for it (RFC 9110, 15.2.2)."
  [{:headers headers :http-version version} response]
  (when (and (= 101 (in response :status))
             (or (= version "1.0") (nil? (in headers "upgrade"))))
    (error "a response of status 101 is only for a request with an Upgrade header")))

(defn- serve-request
  "Calls the handler and sends its response. Returns true when the connection no longer belongs to the server."
  [connection state handler req]
  (def [conn http in-buf] connection)
  (put state :request req)
  (def response (handler req))
  (def detached (if (dictionary? response) (in response :detached)))
  (when detached
    (check-switch req response)
    (native/http-detach http))
  (unless (= true detached)
    # What the program writes after a complete response must not be taken for another response.
    (response/send connection state response detached)
    (when detached
      (log/report-answer connection state)
      (detached conn in-buf)))
  # A task that still has this request must not read what comes next.
  (unless detached (put req :buffer nil))
  # False rather than nil, because nil would remove the key, and the next request would add it again.
  (put state :request false)
  (when detached
    (put state :detached (= true detached))
    true))

(defn- serve-requests
  "Serves the requests of one connection until it ends. `failure/settle` does what follows an error."
  [connection state handler]
  (def [_ http buf _ tracker] connection)
  (forever
    (def next-step (native/http-next-request http buf (in tracker :draining)))
    (case (type next-step)
      # A request.
      :table (when (serve-request connection state handler next-step) (break))
      # More has to be read.
      :nil (unless (= true (native/http-read http buf read-size)) (break))
      # How the previous request was answered.
      :array (log/tell-observers next-step)
      # A refusal.
      :tuple (let [[status reason what] next-step]
               (put state :refused what)
               (response/refuse connection state status reason)
               (break))
      # :close or :linger. The client may have sent more than was answered.
      (do
        (unless (and (= next-step :close) (empty? buf)) (response/linger connection))
        (break)))))

(defn- unfinished
  "How many of these connections have a request that is not answered yet."
  [connections]
  (count |(not (has-value? [:idle :linger] (native/http-phase $))) (keys connections)))

(defn- end-soon
  "Ends these connections if they are idle, and tells the handlers of the others that they should end."
  [connections]
  (eachk http connections
    (native/http-end-idle http)
    (when-let [ending (native/http-ending http)] (ev/chan-close ending))))

(defn serve
  "Makes the function that serves each connection of a listener."
  [listener handler config on-error]
  (def tracker (tracker/of listener))
  (def open @{})
  (def pace-collections (collection/pacer))
  (put tracker :loggers (log/loggers handler))
  (put tracker :config config)
  (put tracker :on-drain (fn [] (end-soon open)))
  (put tracker :running (fn [] (unfinished open)))
  (fn http-connection [conn]
    (def http (native/http-open conn config tracker))
    (put open http true)
    (pace-collections (length open))
    (def connection [conn http (buffer/new read-size) @"" tracker])
    (def state @{})
    (def serving (fiber/new (fn [] (serve-requests connection state handler)) :ti))
    (def result (resume serving))
    (unless (= :dead (fiber/status serving))
      # The answer to an error may fail too, as the client may be gone.
      (protect (failure/settle connection state on-error result serving)))
    (log/report-answer connection state)
    # On a detached connection nobody watches the client, so the channel is closed here.
    (when-let [ending (native/http-ending http)] (ev/chan-close ending))
    (native/http-close http)
    (unless (state :detached) (:close conn))
    (put open http nil)
    (pace-collections (length open))
    (native/release listener)))
