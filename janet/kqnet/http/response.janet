###
### http/response.janet
###
### Writing responses, and ending a connection so that the last one arrives.
###

(import ../_native :as native)
(import ./body)

(def- write-size
  "How much a client has to take within :write-timeout."
  65536)

(def- keep-size
  "A buffer for what goes out may keep so many bytes while its connection is idle."
  2048)

(defn- write-parts
  "Writes bytes that may be many, so that a client need not take all of them within one :write-timeout."
  [conn http bytes]
  (def size (length bytes))
  (if (<= size write-size)
    (net/write conn bytes)
    (let [part (buffer/new write-size)]
      (var at 0)
      (while (< at size)
        (native/http-phase http :write)
        # What is waited for is copied; what else can be sent then is not.
        (def end (min size (+ at write-size)))
        (net/write conn (buffer/blit (buffer/clear part) bytes 0 at end))
        (set at (or (native/http-send http bytes end) size))))))

(defn- send-pieces
  "Writes each piece of a body as it comes: as a chunk, or as it is, `limit` bytes in all."
  [conn http body chunked limit out]
  (var left limit)
  (each piece body
    (assert (bytes? piece) (string/format "a piece of a response's body must be bytes, got %q" piece))
    (unless (empty? piece)
      (when left
        (-= left (length piece))
        (assert (>= left 0) "a response's body is longer than its Content-Length"))
      (native/http-phase http :write)
      (if chunked
        (do
          (buffer/clear out)
          (buffer/format out "%x\r\n" (length piece))
          (buffer/push out piece "\r\n")
          (write-parts conn http out))
        (write-parts conn http piece))
      (native/http-phase http :handler)))
  (when left
    (assert (zero? left) "a response's body is shorter than its Content-Length"))
  (when chunked
    (native/http-phase http :write)
    (net/write conn "0\r\n\r\n")))

(defn- send-file
  "Sends a file from its descriptor."
  [conn http file]
  (def part (buffer/new write-size))
  (var more true)
  (while (not (nil? more))
    (native/http-phase http :write)
    (case (set more (native/http-send-file http file))
      # Other connections have their turn.
      true (ev/sleep 0)
      # What is waited for is copied; what can be sent then is not.
      false (do
              (native/http-phase http :handler)
              (native/file-take file write-size (buffer/clear part))
              (native/http-phase http :write)
              (net/write conn part))
      :gone (error body/gone))))

(defn- write-out
  "Writes a buffer."
  [conn http out]
  (when-let [sent (native/http-send http out 0)]
    (net/write conn (buffer/slice out sent))))

(defn send
  "Writes a response. `state` says how far it is."
  [[conn http in-buf out flight] state response]
  (buffer/clear out)
  (def rest (native/http-respond http response out in-buf (in flight :draining)))
  (put state :begun true)
  (write-out conn http out)
  (case rest
    :none nil
    :bytes (write-parts conn http (in response :body))
    :file (send-file conn http (in response :body))
    (let [body (in response :body)]
      (put state :body body)
      (native/http-phase http :handler)
      (send-pieces conn http body (= rest :chunked) (if (number? rest) rest) out)))
  # What a large body needed is not kept for as long as the connection is.
  (when (or (in state :body) (> (length out) keep-size))
    (buffer/clear out)
    (buffer/trim out)))

(defn linger
  "Lets the client take the last answer: closing with unread bytes would reset the connection."
  [[conn http buf]]
  (native/http-phase http :linger)
  (net/shutdown conn :w)
  (var left 1048576)
  (while (and (pos? left) (net/read conn 16384 (buffer/clear buf)))
    (-= left (length buf))))

(defn refuse
  "Answers a request that is refused, whose connection must close."
  [connection status reason]
  (def [conn http _ out] connection)
  (buffer/clear out)
  (native/http-refuse http status reason out)
  (net/write conn out)
  (linger connection))
