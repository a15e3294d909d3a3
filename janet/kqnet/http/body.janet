###
### http/body.janet
###
### Bodies of requests: whole, or piece by piece.
###

(import spork/http :as spork)
(import ../_native :as native)
(import ../options)

(def- read-size (* 16 4096))

(def- over
  "The error for a request whose connection has ended."
  "this request is over: its connection has ended")

(defn reject
  "The error for a request that is refused while its handler runs."
  [[status reason]]
  [:kqnet/reject status reason])

(defn gone
  "The error for a client that is gone."
  [what]
  [:kqnet/gone what])

(defn gone?
  "Whether an error says that the client is gone."
  [err]
  (and (tuple? err) (= :kqnet/gone (first err))))

(defn write
  "Writes bytes, however long the client takes for them within :write-timeout."
  [http bytes]
  (var at 0)
  (while (set at (native/http-write http bytes at))
    (when (= at :gone) (error (gone "the client is gone")))))

(defn- checked
  "What `native/http-take-body` says of a body: true when it is complete. Raises an error where it is refused."
  [verdict]
  (if (indexed? verdict) (error (reject verdict)) verdict))

(defn- await-body
  "Waits for more of a body."
  [{:buffer buf :request-number number} http]
  (when (native/http-awaits-continue? http number)
    (write http "HTTP/1.1 100 Continue\r\n\r\n"))
  (unless (= true (native/http-read http buf read-size number))
    (error (gone "the client closed the connection within the body"))))

(defn- has-body?
  [{:headers headers}]
  (or (in headers "content-length") (in headers "transfer-encoding")))

(defn- expected-size
  "How much room to make for a body at once: what the client says, within bounds."
  [{:headers headers}]
  (min 1048576 (scan-number (in headers "content-length" "0"))))

(defn body-chunks
  ``Returns a fiber that yields the body of a request in buffers as it comes, for bodies that should
  not be held in memory. Limits and errors are those of `read-body`.``
  [req]
  (def http (or (native/http-of (in req :connection)) (error over)))
  (coro
    (when (has-body? req)
      (forever
        (def out @"")
        (def verdict (native/http-take-body http (in req :buffer) out (in req :request-number)))
        (unless (empty? out) (yield out))
        (when (checked verdict) (break))
        (await-body req http)))))

(defn- writer
  "A function that writes bytes to a sink."
  [sink]
  (cond
    (buffer? sink) (fn [bytes] (buffer/push sink bytes))
    (or (function? sink) (cfunction? sink)) sink
    (get sink :write) (fn [bytes] (:write sink bytes))
    (errorf "kqnet/http/read-body: a sink is a file, a stream, a buffer or a function, got %s" (options/show sink))))

(defn- read-whole
  [req http]
  (cond
    (in req :body) (in req :body)
    (and (nil? http) (in req :request-number) (not (native/open? (in req :connection)))) (error over)
    (nil? http) (spork/read-body req)
    (has-body? req) (let [out (buffer/new (expected-size req))]
                      (while (not (checked (native/http-take-body http (in req :buffer) out (in req :request-number))))
                        (await-body req http))
                      (put req :body out)
                      out)))

(defn read-body
  ``Reads the body of a request, and returns it as a buffer, or nil if there is none. Content-Length
  and chunked bodies are decoded, up to the server's :max-body; beyond it the client gets 413. A
  client that waits for 100 Continue is sent it first. Raises an error once the response was sent, so
  a task that outlives its handler cannot read the body. Also takes what `read-response` returns.

  With a `sink`, writes each piece of the body to it as it comes, and returns the sink, or nil if there
  is no body. A sink is a file, a stream or anything else with a method :write, a buffer, or a function
  that is called with each piece.``
  [req &opt sink]
  (def http (native/http-of (in req :connection)))
  (cond
    (nil? sink) (read-whole req http)
    (let [write (writer sink)]
      (if (and http (nil? (in req :body)))
        (when (has-body? req)
          (each piece (body-chunks req) (write piece))
          sink)
        # It was read already, or is that of a response, which spork reads whole.
        (when-let [body (read-whole req http)]
          (write body)
          sink)))))
