###
### WebSockets (RFC 6455) on the HTTP server: the handshake, and what a handler does with an open WebSocket.
###

(setdyn :doc
        ``WebSockets (RFC 6455) on kqnet/http: `upgrade` makes the connection of a request a WebSocket. The page docs/http.md
        has examples.``)

(import ./_native :as native)
(import ./channel)
(import ./http/errors)
(import ./http/socket)
(import ./options)
(import ./show)
(import ./signature)
(import ./tracker)

(def- who "kqnet/websocket/upgrade")

(def- upgrade-options
  [:protocols :origins :max-message :max-queued :max-unread :ping :pong-timeout :close-timeout])

(def- defaults
  {:max-message 1048576 :max-queued 1048576 :max-unread 16 :ping 30 :pong-timeout 20 :close-timeout 5})

(def- flush-again
  "After how many seconds to try again to send what is queued, when another task writes to the connection."
  0.05)

# A WebSocket is a table with these keys, beside those that `upgrade` describes:
#
# * :native - its native half.
# * :flushing - true while a task sends what is queued.
# * :room - the channel that is closed when the queue is empty, if a task waits for that.
# * :over - true when the handler has ended.
# * :reading-ended - true when the task that reads has ended, and :done is the channel that it closes then.

###
### Sending
###

(defn- flush-later
  "Has a new task send what is queued, unless one does so already."
  [ws]
  (unless (in ws :flushing)
    (put ws :flushing true)
    # This task gets a supervisor channel of its own, since the handler's supervisor does not know it.
    (ev/go (fn websocket-flush []
             (def queue (in ws :native))
             (var more true)
             (while more
               (def [flushed? result] (protect (native/websocket-flush queue)))
               (if flushed?
                 (do
                   (set more result)
                   (when-let [room (in ws :room)]
                     (put ws :room nil)
                     (channel/close room)))
                 # The program itself writes to the connection.
                 (ev/sleep flush-again)))
             (put ws :flushing nil))
           nil (ev/chan 1))))

(defn- wait-for-room
  "Waits until the queue is empty. Then all tasks that wait try again."
  [ws]
  (flush-later ws)
  (def room (or (in ws :room)
                (let [new (ev/chan)]
                  (put ws :room new)
                  new)))
  (ev/take room))

(defn- send-by
  "Has a native function send bytes, and waits when too much is queued."
  [send ws bytes kind]
  (def websocket (in ws :native))
  (var result (send websocket bytes kind))
  (while (= :full result)
    (wait-for-room ws)
    (set result (send websocket bytes kind)))
  (case result
    nil nil
    :queued (flush-later ws)
    :turn (socket/let-others-run)
    (error (errors/gone "the WebSocket is closed")))
  nil)

(defn- close
  "Sends a Close frame, unless one was sent. Does not wait for the client's."
  [ws &opt code reason]
  (def websocket (in ws :native))
  (native/websocket-close websocket (or code 1000) reason)
  (when (native/websocket-unsent? websocket) (flush-later ws))
  nil)

(defn- leave
  "Tells a client that the server ends."
  [ws]
  (close ws 1001 "the server is ending"))

(def- methods
  @{:read (fn read [ws] (ev/take (in ws :incoming)))
    :write (fn write [ws message &opt kind] (send-by native/websocket-send ws message kind))
    :ping (fn ping [ws &opt payload] (send-by native/websocket-ping ws (or payload "") nil))
    :close close})

###
### Serving
###

(defn- give-messages
  "Gives each message to the handler's channel, and nil when there are no more, until the handler has ended."
  [ws]
  (def {:native websocket :incoming incoming} ws)
  (def [read? problem]
    (protect
      (var message nil)
      (while (set message (native/websocket-next websocket))
        (when (native/websocket-unsent? websocket) (flush-later ws))
        (case message
          true nil
          :turn (socket/let-others-run)
          (unless (in ws :over) (ev/give incoming message))))))
  (when (native/websocket-unsent? websocket) (flush-later ws))
  (def [code reason] (if read? (native/websocket-end websocket) [1006 (string problem)]))
  (put ws :close-code code)
  (put ws :close-reason reason)
  # Each reader gets nil, however many there are. At the end of the handler the channel is closed.
  (while (not (in ws :over)) (ev/give incoming nil)))

(defn- read-messages
  ``Reads from the client until the end of the connection. Runs in a task of its own, so that pings are answered whatever the
  handler does. A handler that closes its channel, or reads from the connection by itself, must not keep the WebSocket from ending.``
  [ws]
  (defer (do
           (put ws :reading-ended true)
           (when-let [done (in ws :done)] (channel/close done)))
    (protect (give-messages ws))
    (while (def more (native/websocket-finish (in ws :native)))
      (if (= :turn more) (socket/let-others-run)))))

(defn- finish
  "Ends a WebSocket after its handler: closes it if it is open, and waits until the client has done so too."
  [ws http code]
  (def {:native websocket :incoming incoming} ws)
  (def me (fiber/root))
  (def tracker (native/http-tracker http))
  (put (in tracker :lingering) me true)
  (defer (do
           (native/websocket-release websocket)
           (put (in tracker :websockets) ws nil)
           (put (in tracker :lingering) me nil))
    (put ws :over true)
    (native/websocket-discard websocket)
    (channel/close incoming)
    (close ws code)
    (unless (in ws :reading-ended)
      (def done (ev/chan))
      (put ws :done done)
      (ev/take done))))

(defn- serve
  "Runs the handler of a WebSocket on a connection, from which `received` was already read."
  [handler opts req protocol conn received]
  (def http (native/http-of conn))
  (def {:websockets websockets :draining draining} (native/http-tracker http))
  (def websocket (native/websocket-open http received opts))
  # The connection keeps its buffer, but needs it no more.
  (buffer/clear received)
  (buffer/trim received)
  (def ws (table/setproto @{:native websocket
                            :incoming (ev/chan (opts :max-unread))
                            :protocol protocol
                            :request req}
                          methods))
  (put websockets ws leave)
  (when draining (leave ws))
  (ev/go read-messages ws (ev/chan 1))
  (try
    (handler ws)
    ([err fib]
      (def cancelled? (= err tracker/cancelled))
      (finish ws http (if cancelled? 1001 1011))
      (unless (errors/gone? err) (propagate err fib))))
  (unless (in ws :over) (finish ws http 1000)))

###
### The handshake
###

(defn- header
  "The value of a header, joined if it came in several lines, or nil."
  [req name]
  (def value (in (in req :headers) name))
  (if (array? value) (string/join value ", ") value))

(defn- items
  "The items of a header that is a list."
  [value]
  (if value
    (filter |(not (empty? $)) (map string/trim (string/split "," value)))
    []))

(defn- has-token? [req name token]
  (some |(= token (string/ascii-lower $)) (items (header req name))))

(defn- authority
  "A host and port without the port that the scheme has by default, in lower case."
  [scheme text]
  (def lower (string/ascii-lower text))
  (def port (case scheme "http" ":80" "https" ":443" ""))
  (if (and (not (empty? port)) (string/has-suffix? port lower))
    (string/slice lower 0 (- -1 (length port)))
    lower))

(defn- same-origin?
  "Whether an origin has the host and port that the request is for."
  [origin host]
  (def [scheme place] (or (peg/match '(* '(some (+ :w (set "+-."))) "://" '(some 1)) origin) []))
  (and place host
       (let [scheme (string/ascii-lower scheme)]
         (= (authority scheme place) (authority scheme host)))))

(defn- allowed?
  "Whether a page of this origin may connect. What is not a browser sends no origin."
  [origins req]
  (def origin (header req "origin"))
  (cond
    (= :any origins) true
    (function? origins) (origins origin req)
    (nil? origin) true
    (nil? origins) (same-origin? origin (header req "host"))
    (some |(= (string/ascii-lower origin) (string/ascii-lower $)) origins)))

(defn- refusal
  [status reason &opt headers]
  {:status status
   :headers (merge {"Content-Type" "text/plain; charset=utf-8"} (or headers {}))
   :body (string reason "\n")})

(defn- refusal-of
  "The response to a request that is not a proper handshake, or nil (RFC 6455, 4.2.1)."
  [req origins]
  (cond
    (not (and (has-token? req "upgrade" "websocket")
              (has-token? req "connection" "upgrade")
              (not= "1.0" (in req :http-version))))
    (refusal 426 "this is for WebSockets: the request needs the headers Upgrade: websocket and Connection: Upgrade"
             {"Upgrade" "websocket" "Connection" "Upgrade"})
    (not= "GET" (in req :method))
    (refusal 405 "a WebSocket begins with GET" {"Allow" "GET"})
    (not= "13" (header req "sec-websocket-version"))
    (refusal 426 "Sec-WebSocket-Version must be 13"
             {"Upgrade" "websocket" "Connection" "Upgrade" "Sec-WebSocket-Version" "13"})
    (not (native/websocket-key (header req "sec-websocket-key")))
    (refusal 400 "Sec-WebSocket-Key must be 16 bytes in base64")
    (or (header req "transfer-encoding") (not= "0" (or (header req "content-length") "0")))
    (refusal 400 "the request of a WebSocket has no body")
    (not (allowed? origins req))
    (refusal 403 "pages of this origin may not connect")))

(defn upgrade
  ``Answers the request `req` of an HTTP handler by making its connection a WebSocket (RFC 6455). Returns the response that
  the HTTP handler has to return. After it was sent, `handler`, a function of the WebSocket, is called. When it returns, the
  WebSocket is closed:

      (defn echo [ws]
        (while (def message (:read ws))
          (:write ws message)))

      (defn app [req]
        (websocket/upgrade req echo))

  By name:

  * :protocols - the names of the subprotocols that the handler speaks, the preferred first. The first that the client
    speaks too is chosen. Default: none.
  * :origins - which pages may connect: a list of origins such as `["https://example.org"]`, :any, or a function of the Origin
    header (nil if there is none) and the request. Default: only pages with the host and port of the Host header, since
    browsers let any page connect anywhere, with the user's cookies. A client without an Origin header, which is not a
    browser, is allowed unless the function says otherwise.
  * :max-message - the most bytes of a client's message. Default 1 MiB. For a larger one the WebSocket is closed with 1009.
  * :max-queued - the most bytes that may wait to be sent to a slow client. Default 1 MiB. A write of more waits. A single
    message may be larger.
  * :max-unread - the most messages that wait to be read. Default 16. Beyond that, nothing is received from the client,
    not even pings.
  * :ping - after how many seconds without a byte from the client a ping is sent. Default 30. `math/inf` means never.
  * :pong-timeout - how many seconds a client may send nothing after a ping, or take nothing of what is sent to it, before
    it counts as gone. Default 20.
  * :close-timeout - how many seconds the client may take to close its side. Default 5.

  The WebSocket has these methods:

  * `(:read ws)` waits for the next message. Returns a string for text, a buffer for binary, and nil when no more follow,
    whatever the reason.
  * `(:write ws message)` sends a string as text, which must be UTF-8, or a buffer as binary. `(:write ws message :text)` and
    `(:write ws message :binary)` send any bytes. Several tasks may write. Each message is sent as one frame.
  * `(:ping ws)` sends a ping, with a second argument as its payload, at most 125 bytes. Pings of the client are
    answered by themselves.
  * `(:close ws)` begins to close the WebSocket, with a code (default 1000) and a reason (at most 123 bytes) if they are given.
    Messages that arrive later are dropped. It does not wait for the client, and may be called several times.

  and these keys:

  * :protocol - the chosen subprotocol, or nil.
  * :request - the request. Its body is over, but its headers and what middleware has put into it are there.
  * :incoming - the channel that :read takes messages from, for `ev/select`. It gives nil at the end.
  * :close-code, :close-reason - once :read has returned nil: the code and reason of the client's Close frame, or of the one
    that answered what the client did wrong. 1005 stands for a frame without a code, and 1006 for none.

  Writing to a WebSocket that is closed raises an error, which ends the handler without a message. Any other error that the
  handler raises closes the WebSocket with 1011, and goes to the server's :on-error or to stderr. A drain (`kqnet/drain`)
  closes it with 1001, and waits until the handler has ended.

  A request that is not a proper handshake, or comes from a page that may not connect, gets 400, 403, 405 or 426. Messages are not
  compressed. Raises an error for wrong arguments, and for a request of another server than `kqnet/http/server`.``
  [req handler & args]
  (def given (options/split who [] upgrade-options args))
  (native/check-function (string who ": the handler") "one argument, the WebSocket" handler 1)
  (unless (and (dictionary? req) (dictionary? (in req :headers)))
    (errorf "%s: expected a request, got %s" who (show/value req)))
  (unless (native/http-of (in req :connection))
    (errorf "%s: WebSockets need a request of kqnet/http/server whose handler has not ended" who))
  (def opts (merge defaults given))
  (or (refusal-of req (opts :origins))
      (let [offered (items (header req "sec-websocket-protocol"))
            protocol (find |(has-value? offered $) (or (opts :protocols) []))]
        {:status 101
         :headers {"Upgrade" "websocket"
                   "Connection" "Upgrade"
                   "Sec-WebSocket-Accept" (native/websocket-key (header req "sec-websocket-key"))
                   "Sec-WebSocket-Protocol" protocol}
         :detached (fn websocket [conn received] (serve handler opts req protocol conn received))})))

(signature/show upgrade [] upgrade-options)
