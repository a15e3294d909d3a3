###
### Reading the bodies of requests, whole or piece by piece.
###

(import spork/http :as spork)
(import ../_native :as native)
(import ../show)
(import ./errors)
(import ./socket)

(def- piece-size
  "How many bytes of a body to read at once if it is used in pieces."
  (* 16 4096))

(def- most-at-once
  "How many bytes of a body to read at once if it is kept."
  1048576)

(def- max-expected-size
  "How many bytes of space a buffer may get before any of them has come."
  1048576)

(defn- has-body?
  [{:headers headers}]
  (or (in headers "content-length") (in headers "transfer-encoding")))

(defn- expected-size
  "The size of a body according to the client, within bounds."
  [{:headers headers}]
  (min max-expected-size (scan-number (in headers "content-length" "0"))))

(defn- take-body
  ``Moves what has come of the body of `req` to the buffer `out`. Returns whether the body is complete. Raises an error
  when the body is refused.``
  [http req out]
  (def result (native/http-take-body http (in req :buffer) out (in req :request-number)))
  (if (indexed? result) (error (errors/reject result)) result))

(defn- wait-for-more
  ``Waits for at most `most` more bytes of a body, after the 100 that the client may be waiting for. They are in `out` then, or
  where `take-body` finds them.``
  [{:buffer buf :request-number number} http out most]
  (when (native/http-awaits-continue? http number)
    (socket/write http "HTTP/1.1 100 Continue\r\n\r\n"))
  (unless (= true (native/http-read-body http buf out most number))
    (error (errors/gone "the client closed the connection within the body"))))

(defn check-open
  "Raises an error if the body of `req` can no longer be read because the connection of the request has ended."
  [req http]
  (when (and (nil? http)
             (nil? (in req :body))
             (in req :request-number)
             (not (native/open? (in req :connection))))
    (error errors/over)))

(def- readers
  "Who may have read a body without keeping it, and what to do about it."
  {:form ["http/form" "its fields are in (req :form), and for the body itself, call http/read-body before http/form"]
   :parts ["http/parts" "call http/read-body before, which keeps the body, to read it twice"]
   :pieces ["http/body-chunks, or http/read-body with a sink," "call http/read-body without a sink, which keeps the body"]})

(defn- check-reader
  "Raises an error in the name of `who` if one of the `others` has read the body of `req`."
  [who req others]
  (def reader (in req :body-reader))
  (when (and reader (index-of reader others))
    (def [name advice] (readers reader))
    (errorf "%s: %s has read the body of this request already; %s" who name advice)))

(defn begin-reading
  ``Notes that `reader`, :form or :parts, reads the body of `req` and keeps none of it. Raises an error if there is nothing
  left to read, since the body would look as if it were empty.``
  [who req reader]
  (when (and (nil? (in req :body)) (has-body? req) (not= "0" (get-in req [:headers "content-length"])))
    (check-reader who req [:form :parts :pieces])
    (put req :body-reader reader)))

(defn- take-begun
  ``Appends what an interrupted `read-body` has read of the body of `req` to the buffer `out`.``
  [req out]
  (when-let [begun (in req :body-begun)]
    (put req :body-begun nil)
    (buffer/push out begun)))

(defn taker
  ``Returns a function that appends what comes next of the body of `req` to a buffer, and waits for it if need be. The function
  returns whether the body is complete. It raises an error when the body is refused, and when the client is gone.``
  [req http]
  (def share (socket/turns))
  (fn take-more [out]
    (def before (length out))
    (take-begun req out)
    (var complete (take-body http req out))
    (while (and (not complete) (= before (length out)))
      (wait-for-more req http out piece-size)
      (set complete (take-body http req out)))
    (share (- (length out) before))
    complete))

(defn body-chunks
  ``Returns a fiber that yields the body of the request `req` in buffers as it comes, for bodies that should not be held
  in memory. The fiber yields nothing if there is no body. Limits and errors are those of `read-body`.``
  [req]
  (def http (or (native/http-of (in req :connection)) (error errors/over)))
  (check-reader "kqnet/http/body-chunks" req [:form :parts])
  (coro
    (when (has-body? req)
      (if (table? req) (put req :body-reader :pieces))
      (def share (socket/turns))
      (var out @"")
      (take-begun req out)
      (forever
        # What came before a refusal is yielded too.
        (def result (native/http-take-body http (in req :buffer) out (in req :request-number)))
        (unless (empty? out)
          (def count (length out))
          (yield out)
          (share count)
          (set out @""))
        (when (indexed? result) (error (errors/reject result)))
        (when result (break))
        (wait-for-more req http out piece-size)))))

(defn- writer
  "Makes a function that writes bytes to a sink."
  [sink]
  (cond
    (buffer? sink) (fn [bytes] (buffer/push sink bytes))
    (or (function? sink) (cfunction? sink)) sink
    (get sink :write) (fn [bytes] (:write sink bytes))
    (errorf "kqnet/http/read-body: a sink is a file, a stream, a buffer or a function, got %s" (show/value sink))))

(defn- read-whole
  "Reads a body into a buffer, which the request keeps, or returns nil if there is none."
  [req http]
  (check-open req http)
  (cond
    (in req :body) (in req :body)
    (nil? http) (spork/read-body req)
    (has-body? req) (let [_ (check-reader "kqnet/http/read-body" req [:form :parts])
                          begun (in req :body-begun)
                          out (or begun (native/http-body-buffer (expected-size req)))
                          share (socket/turns)]
                      (while (not (take-body http req out))
                        # Whoever reads after this task was cancelled begins with it.
                        (put req :body-begun out)
                        (def before (length out))
                        (wait-for-more req http out most-at-once)
                        (share (- (length out) before)))
                      (if (in req :body-begun) (put req :body-begun nil))
                      (put req :body out)
                      out)))

(defn read-body
  ``Reads the body of the request `req`, and returns it as a buffer, or nil if there is no body. A body with
  Content-Length and a chunked one are decoded. If the body is larger than the server's :max-body, an error is raised,
  and the client gets 413. A client that waits for 100 Continue is sent it first. Raises an error once the response was
  sent, so a task that outlives its handler cannot read the body, and after `form` and `parts`, which do not keep it. Also
  takes what `read-response` returns.

  With `sink`, writes each piece of the body to it as it comes, and returns the sink, or nil if there is no body. A sink
  is a file, a stream or anything else with a method :write, a buffer, or a function that is called with each piece, a
  buffer.``
  [req &opt sink]
  (def http (native/http-of (in req :connection)))
  (cond
    (nil? sink) (read-whole req http)
    (let [write (writer sink)]
      (if (and http (nil? (in req :body)))
        (when (has-body? req)
          (each piece (body-chunks req) (write piece))
          sink)
        # The body was read already, or belongs to a response, which spork reads whole.
        (when-let [body (read-whole req http)]
          (write body)
          sink)))))
