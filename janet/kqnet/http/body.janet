###
### http/body.janet
###
### Bodies of requests: whole, or piece by piece.
###

(import spork/http :as spork)
(import ../_native :as native)

(def- read-size (* 16 4096))

(defn- reject
  "The error for a request that is refused while its handler runs."
  [[status reason]]
  [:kqnet/reject status reason])

(def gone
  "The error for a client that is gone before its body has come."
  [:kqnet/gone "the client closed the connection within the body"])

(def- losses
  "What reading raises where the client is gone. Anything else comes from whoever cancels the handler."
  ["Connection reset by peer" "Connection timed out" "stream err" "stream hup"])

(defn- checked
  "What `native/http-body` says of a body: true when it is complete. Raises an error where it is refused."
  [verdict]
  (if (indexed? verdict) (error (reject verdict)) verdict))

(defn- await-body
  "Waits for more of a body."
  [{:connection conn :buffer buf} http]
  (native/http-phase http :body)
  (try
    (do
      (when (native/http-continue http)
        (net/write conn "HTTP/1.1 100 Continue\r\n\r\n"))
      (unless (native/http-read http buf read-size) (error gone)))
    ([err fib]
      (native/http-phase http :handler)
      (cond
        (= err :body-timeout) (error (reject [408 "request body did not arrive in time"]))
        (has-value? losses err) (error gone)
        (propagate err fib))))
  (native/http-phase http :handler))

(defn- has-body?
  [{:headers headers}]
  (or (in headers "content-length") (in headers "transfer-encoding")))

(defn- expected-size
  "How much room to make for a body at once: what the client says, within bounds."
  [{:headers headers}]
  (min 1048576 (scan-number (in headers "content-length" "0"))))

(defn read-body
  ``Given a request, reads its body, and returns it as a buffer, or nil if it has none. Content-Length
  and chunked bodies are decoded, up to the server's :max-body: over it, the client gets 413. A
  client that waits for it is sent 100 Continue first. Also takes what `read-response` returns.``
  [req]
  (def http (native/http-of (in req :connection)))
  (cond
    (nil? http) (spork/read-body req)
    (in req :body) (in req :body)
    (has-body? req) (let [out (buffer/new (expected-size req))]
                      (while (not (checked (native/http-body http (in req :buffer) out)))
                        (await-body req http))
                      (put req :body out)
                      out)))

(defn body-chunks
  ``Returns a fiber that yields the body of a request in buffers as it comes, for bodies that are
  not to be held in memory. Same limits and errors as `read-body`.``
  [req]
  (def http (native/http-of (in req :connection)))
  (coro
    (when (has-body? req)
      (forever
        (def out @"")
        (def verdict (native/http-body http (in req :buffer) out))
        (unless (empty? out) (yield out))
        (when (checked verdict) (break))
        (await-body req http)))))
