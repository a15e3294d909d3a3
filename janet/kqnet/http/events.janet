###
### Server-sent events: an event stream that ends with its client or its server, and holds a bounded queue.
###
### See https://html.spec.whatwg.org/multipage/server-sent-events.html.
###

(import ../_native :as native)
(import ../options)
(import ../signature)
(import ../show)
(import ./ending)
(import ./errors)
(import ./request)
(import ./socket)

(def- default-heartbeat
  "How many seconds a stream may be silent. The specification recommends about 15, since some proxies end silent connections."
  15)

(def- default-queue
  "How many events may wait for a client."
  64)

(def- over
  "Why the task of a stream is cancelled."
  "the event stream has ended")

(def- max-piece
  "Events that wait are sent together, up to about this many bytes."
  65536)

(def- field-names [:id :event :data :retry])

(defn- fail
  [& parts]
  (error (string "kqnet/http/events: " (string/format ;parts))))

(defn- push-field
  "Appends a field that has one line."
  [out name value]
  (buffer/push out name ": " value "\n"))

(defn- check-line
  "Raises an error unless a value is bytes without those in `forbidden`."
  [name value forbidden]
  (unless (bytes? value)
    (fail "%q of an event must be bytes, got %s" name (show/value value)))
  (when (some |(index-of $ forbidden) value)
    (fail "%q of an event must be a single line%s, got %s" name (if (index-of 0 forbidden) " without NUL" "")
          (show/value value))))

(def- lines-grammar
  "Splits a text into its lines, which may end in any of the three ways that an event stream knows."
  (peg/compile ~{:line '(any (if-not (set "\r\n") 1))
                 :main (* :line (any (* (+ "\r\n" "\r" "\n") :line)) -1)}))

(defn- push-data
  [out data]
  (unless (bytes? data)
    (fail "the :data of an event must be bytes, got %s" (show/value data)))
  (each line (peg/match lines-grammar data)
    (push-field out "data" line)))

(defn- push-event
  "Appends an event to a buffer. Raises an error that names a wrong field."
  [out event]
  (cond
    (bytes? event) (push-data out event)
    (not (dictionary? event)) (fail "an event is bytes or a dictionary of its fields, got %s" (show/value event))
    (do
      (each name (keys event)
        (unless (index-of name field-names)
          (fail "an event has no field %s; the fields are :id, :event, :data and :retry" (show/value name))))
      (def {:id id :event kind :data data :retry retry} event)
      (when id
        (check-line :id id [10 13 0])
        (push-field out "id" id))
      (when kind
        (check-line :event kind [10 13])
        (push-field out "event" kind))
      (when retry
        (options/check "kqnet/http/events" :retry retry)
        (push-field out "retry" (string/format "%.0f" (* 1000 retry))))
      # A browser ignores an event without data.
      (when (or data kind)
        (push-data out (or data "")))))
  (buffer/push out "\n"))

(defn last-event-id
  ``Returns the id of the last event that the client of the request `req` has received, a string, if it was connected
  before, or nil. Browsers send it in the header Last-Event-ID when they connect again. It comes from the client, so it may be
  any text.``
  [req]
  (def id (get-in req [:headers "last-event-id"]))
  (if (indexed? id) (last id) id))

(defn- start-task
  ``Starts a task that a stream cancels at its end. It has a supervisor of its own, so that being cancelled is not printed
  as an error.``
  [f]
  (ev/go f nil (ev/chan 1)))

(defn- cancel-task
  [task]
  (when (has-value? [:new :suspended] (fiber/status task))
    (ev/cancel task (errors/gone over))))

# A stream neither selects nor closes a channel. A channel remembers each wait for it, so one that is selected from for each event
# would grow, and before Janet 1.41, closing it would wake tasks that wait for something else by now (../channel.janet).
(defn- stream
  ``Makes the fiber that yields the bytes of an event stream. Runs `f` in a task with a function that sends an event.
  The queue holds bytes in buffers, and at last what ended the stream: :done, or a tuple of an error and its fiber.``
  [req f {:heartbeat heartbeat :retry retry :queue size :when-full when-full}]
  (coro
    (def ending (ending/ending req :or-ended true))
    (def queue (ev/chan size))
    (def tasks @[])
    (var ended false)
    (var silent true)
    (defn end []
      (set ended true)
      # This also resumes the tasks that wait until there is a place in the queue.
      (while (pos? (ev/count queue)) (ev/take queue)))
    (defn send [event]
      (def bytes (push-event @"" event))
      (unless ended
        (if (and (= when-full :end) (ev/full queue))
          (do
            (end)
            (ev/give queue :done))
          (ev/give queue bytes)))
      # The task of `f` may send for ever without another wait, at which it could be cancelled.
      (when (and ended (= (fiber/root) (first tasks)))
        (error (errors/gone over)))
      (not ended))
    (defn run []
      (def result (try (do (f send) :done) ([err fib] [err fib])))
      (unless ended (ev/give queue result)))
    (defn keep-alive []
      (forever
        (ev/sleep heartbeat)
        (when (and silent (zero? (ev/count queue)))
          (ev/give queue @":\n\n"))
        (set silent true)))
    (defn end-with-request []
      (ev/take ending)
      # What was sent before goes first.
      (ev/give queue :done))
    (defer (do
             (end)
             (each task tasks (cancel-task task)))
      (when retry
        (yield (push-event @"" {:retry retry})))
      (array/push tasks (start-task run) (start-task end-with-request))
      (when (< heartbeat math/inf)
        (array/push tasks (start-task keep-alive)))
      (var result nil)
      (def share (socket/turns))
      (while (nil? result)
        (def piece @"")
        (var count 0)
        (var item (ev/take queue))
        (while (buffer? item)
          (++ count)
          (buffer/push piece item)
          (set item (if (and (pos? (ev/count queue)) (< (length piece) max-piece)) (ev/take queue))))
        (set result item)
        (unless (empty? piece)
          (set silent false)
          (yield piece)
          # The connection counts pieces, but the task of `f` has run for each event.
          (share (length piece) count)))
      (when (tuple? result)
        (propagate ;result)))))

(def- headers
  {"Content-Type" "text/event-stream"
   "Cache-Control" "no-store"
   # nginx would collect the events.
   "X-Accel-Buffering" "no"})

(def- option-names [:heartbeat :retry :queue :when-full])

(defn events
  ``Returns the response to the request `req` that is a stream of server-sent events, which `EventSource` reads in a
  browser. `f` is a function of one argument, `send`, and runs in a task of its own, in the environment of the caller.
  The stream ends when `f` returns, when the client is gone, and when the server drains. In the last two cases the task of `f`
  is cancelled where it waits, so that its `defer` and `with` forms run. If `f` raises an error, the connection is cut off, and
  the error is treated as one of the handler.

  `(send event)` sends an event, which is the bytes of its data, or a dictionary of:

  * :data - bytes, which may have several lines. Browsers expect UTF-8.
  * :event - the type of the event, a single line. Default: "message".
  * :id - a single line. After an interruption the browser sends the last one; see `last-event-id`.
  * :retry - after how many seconds the browser should connect again, once the connection is lost.

  It returns true, or false if the stream has ended. Any task may call it, for as long as it likes, such as one that
  tells all clients. In the task of `f` it raises an error instead of returning false. It also raises an error for something
  that is not an event.

  By name:

  * :heartbeat - how many seconds may pass without an event before a comment is sent, so that proxies keep the connection.
    Default 15. `math/inf` for no comments.
  * :retry - sent first: after how many seconds the browser should connect again. Default: what the browser thinks fit.
  * :queue - how many events may wait for a slow client. Default 64.
  * :when-full - what `send` does when that many wait. With :wait, the default, it waits too. With :end, it ends the
    stream, so that a slow client does not hold up a task that tells all clients. The browser connects again, and
    `last-event-id` tells from where to go on.

  A browser connects again whenever a stream ends. A response of status 204 makes it stop.``
  [req f & args]
  (def opts (options/split "kqnet/http/events" [] option-names args))
  (unless (or (function? f) (cfunction? f))
    (fail "expected a function of `send`, got %s" (show/value f)))
  (when (function? f)
    (native/check-function "kqnet/http/events: the function" "one argument, a function that sends an event" f 1))
  (request/check "kqnet/http/events" req)
  {:status 200
   :headers headers
   :body (stream req f (merge {:heartbeat default-heartbeat :queue default-queue :when-full :wait} opts))})
(signature/show events [] option-names)
