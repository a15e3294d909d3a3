###
### http/response.janet
###
### Writing responses, and ending a connection so that the last one arrives.
###

(import ../_native :as native)
(import ../options)
(import ./body)
(import ./log)

(def- keep-size
  "How many bytes an output buffer may keep while its connection is idle."
  2048)

(def- write body/write)

(defn- send-pieces
  "Writes each piece of a body as it comes: as a chunk, or as it is, `limit` bytes in all."
  [http body chunked limit out]
  (var left limit)
  (each piece body
    (assert (bytes? piece) (string/format "a piece of a response's body must be bytes, got %s" (options/show piece)))
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
          (write http out))
        (do
          (native/http-announce http 0 (length piece))
          (write http piece)))))
  (when left
    (assert (zero? left) "a response's body is shorter than its Content-Length"))
  (when chunked
    (write http "0\r\n\r\n"))
  # However little is in it now, its memory must not be kept.
  (buffer/clear out)
  (buffer/trim out))

(defn- send-file
  "Sends a file from its descriptor."
  [http file out]
  (var more true)
  (while (not (nil? more))
    (case (set more (native/http-send-file http file))
      # Lets other connections have their turn.
      true (ev/sleep 0)
      # A copied piece waits until the client takes it; after that, sendfile can go on.
      false (do
              (native/file-take file 16384 (buffer/clear out))
              (write http out))
      :gone (error (body/gone "the client is gone")))))

(defn drop-body
  "Ends a body that is a fiber and is not sent to its end, so that what it opened is closed."
  [body why]
  (when (and (fiber? body) (has-value? [:new :pending] (fiber/status body)))
    (protect (cancel body why))))

(defn send
  "Writes a response. `state` has its body while that is sent in pieces."
  [[_ http in-buf out tracker] state response &opt closing]
  (buffer/clear out)
  (def rest (native/http-respond http response out in-buf (or closing (in tracker :draining))))
  (if (= rest :none)
    (write http out)
    (do
      (when (tuple? rest) (error (body/reject rest)))
      (write http out)
      (def body (in response :body))
      (case rest
        :bytes (do
                 (native/http-announce http 0 (length body))
                 (write http body))
        :file (send-file http body out)
        :unsent (drop-body body "this response has no body")
        (do
          (put state :body body)
          (send-pieces http body (= rest :chunked) (if (number? rest) rest) out)
          (put state :body nil)))))
  # What a large body needed is not kept for as long as the connection is.
  (when (> (length out) keep-size)
    (buffer/clear out)
    (buffer/trim out)))

(defn linger
  ``Lets the client receive the last answer, since closing with unread bytes would reset the connection.
  A client that goes on sending has 30 seconds for that, a silent one 5, or less in a drain.``
  [[_ http _ _ tracker]]
  (def me (fiber/root))
  (put (in tracker :lingering) me true)
  (defer (put (in tracker :lingering) me nil)
    (while (= true (native/http-linger http (in tracker :draining))))))

(defn refuse
  "Answers a request that is refused, whose connection must close."
  [connection state status reason]
  (def [_ http _ out] connection)
  (buffer/clear out)
  (native/http-refuse http status reason out)
  (write http out)
  (log/answered connection state)
  (linger connection))
