###
### Serving one connection, from its beginning to its end: its requests one after the other.
###

(import ../_native :as native)
(import ../channel)
(import ../tracker)
(import ./collection)
(import ./failure)
(import ./log)
(import ./response)
(import ./socket)

# A connection is a tuple of its stream, its native half, the buffers for input and output, the tracker of its listener, and
# its state. It is a tuple because its fields are read several times per request, and `in` is quicker than calling a table.
#
# The state of a connection is a table of:
#
# * :body - the body of the response while it is sent in pieces, or nil.
# * :refused - the refused request, or true if its head could not be read.
# * :detached - true if the program has taken the connection over.

(defn- check-switch
  "Raises an error for a response that switches protocols when the request did not ask for it (RFC 9110, 15.2.2)."
  [{:headers headers :http-version version} response]
  (when (and (= 101 (in response :status))
             (or (= version "1.0") (nil? (in headers "upgrade"))))
    (error "a response of status 101 is only for a request with an Upgrade header")))

(defn- respond
  ``Sends a response that `native/http-answer` does not send: one with :detached, or with a body that comes in pieces. Returns true when the connection no longer belongs to the server.``
  [connection state response]
  (def [conn http received] connection)
  (def detached (in response :detached))
  (when detached
    (check-switch (native/http-running-request http) response)
    (native/http-detach http))
  (unless (= true detached)
    # What the program writes after a complete response must not be taken for another response.
    (response/send connection state response detached)
    (when detached
      (log/report-answer connection state)
      (detached conn received)))
  (when detached
    (put state :detached (= true detached))
    true))

(defn- do-next
  ``Does what the connection has to do, according to `native/http-to-do`, before its next request. Returns true at the
  end of the connection.``
  [connection state to-do]
  (def [_ http received out] connection)
  (case (type to-do)
    :keyword (case to-do
               :close (do
                        # The client may have sent more than was answered.
                        (unless (empty? received) (response/linger connection))
                        true)
               :respond (respond connection state (native/http-unsent-response http))
               :linger (do
                         (response/linger connection)
                         true)
               :gone true)
    # How the request before was answered.
    :array (do
             (log/tell-observers to-do)
             false)
    # The client sends no more.
    :nil true
    # More has arrived.
    :boolean false
    # The system did not take all of the response at once.
    :number (do
              (socket/write http out to-do)
              # An idle connection does not keep the memory.
              (buffer/clear out)
              (buffer/trim out)
              (when-let [[body from size] (native/http-unsent-body http)]
                (socket/write http body from size))
              false)
    # A refusal.
    :tuple (let [[status reason what] to-do]
             (put state :refused what)
             (response/refuse connection state status reason)
             true)))

(defn- serve-requests
  "Serves the requests of one connection until it ends. `failure/settle` does what follows an error."
  [connection handler]
  (def [_ http received out _ state] connection)
  (var request nil)
  (var response nil)
  (forever
    (set request (native/http-turn http received out))
    (if request
      (do
        (while request
          (set response (handler request))
          (set request (native/http-answer http received out response)))
        # The connection must not keep the last response while it waits.
        (set response nil))
      (when (do-next connection state (native/http-to-do http)) (break)))))

(defn- push
  "What the task runs that pushes responses which the system holds back."
  []
  (native/http-push))

(defn- unfinished
  "How many of these connections have a request that is not answered yet."
  [connections]
  (count |(not (has-value? [:idle :linger] (native/http-phase $))) (keys connections)))

(defn- end-soon
  "Ends these connections if they are idle, and tells the handlers of the others that they should end."
  [connections]
  (eachk http connections
    (native/http-end-idle http)
    (when-let [ending (native/http-ending http)] (channel/close ending))))

(defn serve
  "Makes the function that serves each connection of a listener."
  [listener handler config on-error]
  (def tracker (tracker/of listener))
  (def open @{})
  (def pace-collections (collection/pacer))
  (native/http-push-by push)
  (put tracker :loggers (log/loggers handler))
  (put tracker :config config)
  (put tracker :on-drain (fn []
                           (native/http-drain config)
                           (end-soon open)
                           (eachp [websocket leave] (in tracker :websockets) (leave websocket))))
  (put tracker :running (fn [] (unfinished open)))
  # Each collection visits what an idle connection refers to, so the connection is passed by `resume` instead of by a closure.
  (defn serve-connection [connection] (serve-requests connection handler))
  (fn http-connection [conn]
    (def http (native/http-open conn config tracker))
    (put open http true)
    (when (zero? (% (length open) collection/step)) (pace-collections (length open)))
    (def state @{})
    (def connection [conn http @"" @"" tracker state])
    (def serving (fiber/new serve-connection :ti))
    (def result (resume serving connection))
    (unless (= :dead (fiber/status serving))
      # The answer to an error may fail too, as the client may be gone.
      (protect (failure/settle connection state on-error result serving)))
    (log/report-answer connection state)
    # On a detached connection nobody watches the client, so the channel is closed here.
    (when-let [ending (native/http-ending http)] (channel/close ending))
    (native/http-close http)
    (unless (state :detached) (:close conn))
    (put open http nil)
    (when (zero? (% (length open) collection/step)) (pace-collections (length open)))
    (native/release listener)))
