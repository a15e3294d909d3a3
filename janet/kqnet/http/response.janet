###
### Sending responses, and ending a connection so that the last one arrives.
###

(import ../_native :as native)
(import ../show)
(import ./errors)
(import ./log)
(import ./socket)

(def- max-idle-buffer
  "How many bytes the output buffer of an idle connection may have."
  2048)

(defn- send-pieces
  ``Sends each piece of a body as it comes: as a chunk if `chunked` is true, or as it is. `size` is how many bytes the
  pieces must have in all, or nil. Raises an error when they have more or fewer.``
  [http body chunked size out]
  (var left size)
  (def share (socket/turns))
  (each piece body
    (assert (bytes? piece) (string/format "a piece of a response's body must be bytes, got %s" (show/value piece)))
    (unless (empty? piece)
      (when left
        (-= left (length piece))
        (assert (>= left 0) "a response's body is longer than its Content-Length"))
      (if chunked
        (do
          (buffer/clear out)
          (buffer/format out "%x\r\n" (length piece))
          (native/http-announce http (length out) (length piece))
          (buffer/push out piece "\r\n")
          (socket/write http out))
        (do
          (native/http-announce http 0 (length piece))
          (socket/write http piece)))
      (share (length piece))))
  (when left
    (assert (zero? left) "a response's body is shorter than its Content-Length"))
  (when chunked
    (socket/write http "0\r\n\r\n"))
  # The buffer may be small now, but may still hold the memory of a large piece.
  (buffer/clear out)
  (buffer/trim out))

(defn drop-body
  "Ends a body that is a fiber and was not sent to its end, so that the fiber closes what it opened."
  [body why]
  (when (and (fiber? body) (has-value? [:new :pending] (fiber/status body)))
    (protect (cancel body why))))

(defn send
  ``Sends a response. `state` has its body under :body while that is sent in pieces. No other request follows if
  `closing` is true.``
  [[_ http in-buf out tracker] state response &opt closing]
  (def delivery (native/http-respond http response out in-buf (or closing (in tracker :draining))))
  (if (= delivery :none)
    (socket/write http out)
    (do
      (when (tuple? delivery) (error (errors/reject delivery)))
      (socket/write http out)
      (def body (in response :body))
      (case delivery
        :bytes (do
                 (native/http-announce http 0 (length body))
                 (socket/write http body))
        :file (socket/write http body)
        :unsent (drop-body body "this response has no body")
        (do
          (put state :body body)
          (send-pieces http body (= delivery :chunked) (if (number? delivery) delivery) out)
          (put state :body nil)))))
  # An idle connection does not keep the memory that a large body needed.
  (when (> (length out) max-idle-buffer)
    (buffer/clear out)
    (buffer/trim out)))

(defn linger
  ``Waits until the client has received the last response. Closing with unread bytes would reset the connection. A
  client that goes on sending has 30 seconds in all. One that sends nothing has 5 seconds, or 1 in a drain.``
  [[_ http _ _ tracker]]
  (def me (fiber/root))
  (put (in tracker :lingering) me true)
  (defer (put (in tracker :lingering) me nil)
    (while (= true (native/http-linger http (in tracker :draining)))
      (socket/let-others-run))))

(defn refuse
  ``Answers a request with an error status, a reason and perhaps a detail, reports that to the logs, and lingers. After
  that the connection must be closed.``
  [connection state status reason &opt detail]
  (def [_ http _ out] connection)
  (buffer/clear out)
  (native/http-refuse http status reason out detail)
  (socket/write http out)
  (log/report-answer connection state)
  (linger connection))
