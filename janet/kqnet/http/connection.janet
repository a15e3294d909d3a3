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

# A connection is a value of `native/http-open`. What is rare needs more of it, so it gets what `native/http-parts` returns: a
# tuple of the stream, the connection, the buffers for input and output, the tracker of its listener, and its state. An idle
# connection has no more values than it needs, since each costs memory, and time whenever Janet collects.
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
  ``Does what the connection has to do, according to `native/http-to-do`, before its next request. Returns true at the end of
  the connection.``
  [http to-do]
  (def connection (native/http-parts http))
  (def [_ _ _ own-out _ state] connection)
  (case (type to-do)
    :keyword (case to-do
               :respond (respond connection state (native/http-unsent-response http))
               :linger (do
                         (response/linger connection)
                         true)
               :share (do
                        (socket/let-others-run)
                        false)
               :gone true)
    # The system did not take all of the response at once.
    :number (do
              (socket/write http own-out to-do)
              # An idle connection does not keep the memory.
              (buffer/clear own-out)
              (buffer/trim own-out)
              (when-let [[body from size enough] (native/http-unsent-body http)]
                (if enough (socket/let-others-run))
                (socket/write http body from size))
              false)
    # A refusal.
    :tuple (let [[status reason what] to-do]
             (put state :refused what)
             (response/refuse connection state status reason)
             true)))

(defn- serve-requests
  ``Serves the requests of one connection until it ends. `received` is for what is read from the client. All connections of a
  server may have the same `out`: `native/http-answer` leaves nothing in there. `failure/settle` does what follows an error.``
  [http received out handler]
  (var request nil)
  (var response nil)
  (forever
    (set request (native/http-turn http received))
    (if request
      (do
        (while request
          (set response (handler request))
          (set request (native/http-answer http received out response)))
        # The connection must not keep the last response while it waits.
        (set response nil))
      (let [to-do (native/http-to-do http)]
        (cond
          # The client sends no more.
          (nil? to-do) (break)
          # More has arrived.
          (= to-do true) nil
          # The last response was sent, and the client has sent no more.
          (= to-do :close) (break)
          # How the request before was answered.
          (array? to-do) (log/tell-observers to-do)
          (do-next http to-do) (break))))))

(defn- push
  "What the task runs that pushes responses which the system holds back."
  []
  (native/http-push))

(defn- unfinished
  "How many of these connections have a request that is not answered yet."
  [connections]
  (count |(not (has-value? [:idle :linger] (native/http-phase $))) connections))

(defn- end-soon
  "Ends these connections if they are idle, and tells the handlers of the others that they should end."
  [connections]
  (each http connections
    (native/http-end-idle http)
    (when-let [ending (native/http-ending http)] (channel/close ending))))

(defn- end
  ``Ends a connection that `native/http-finish` has not ended. `serving` is the fiber that has served it, and `result` is its result
  or its error.``
  [conn serving result on-error]
  (def http (native/http-of conn))
  (def connection (native/http-parts http))
  (def state (in connection 5))
  (unless (= :dead (fiber/status serving))
    # The answer to an error may fail too, as the client may be gone.
    (protect (failure/settle connection state on-error result serving)))
  (log/report-answer connection state)
  # On a detached connection nobody watches the client, so the channel is closed here.
  (when-let [ending (native/http-ending http)] (channel/close ending))
  (native/http-close http)
  (unless (state :detached) (:close conn)))

(defn serve
  "Makes the function that serves each connection of a listener."
  [listener handler config on-error]
  (def tracker (tracker/of listener))
  (var open 0)
  (def pace-collections (collection/pacer))
  (native/http-push-by push)
  (put tracker :loggers (log/loggers handler))
  (put tracker :config config)
  (put tracker :on-drain (fn []
                           (native/http-drain config)
                           (end-soon (native/http-connections config))
                           (eachp [websocket leave] (in tracker :websockets) (leave websocket))))
  (put tracker :running (fn [] (unfinished (native/http-connections config))))
  (def out @"")
  # Each collection visits what an idle connection refers to, so the connection is an argument and not part of a closure.
  (defn serve-connection [http received] (serve-requests http received out handler))
  # A collection visits the stack of this function for each idle connection, too. It fits into the smallest one.
  (fn http-connection [conn]
    (def serving (native/http-open conn config tracker serve-connection))
    (++ open)
    (when (= collection/due (% open collection/step)) (pace-collections open))
    (def result (resume serving))
    (-- open)
    (when (= collection/due (% open collection/step)) (pace-collections open))
    (unless (native/http-finish conn serving listener)
      (end conn serving result on-error)
      (native/release listener))))
