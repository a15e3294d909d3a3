###
### http/server.janet
###
### Starting HTTP servers, and running one until the process is told to end.
###

(import ../_native :as native)
(import ../init :as kqnet)
(import ../tracker)
(import ../options)
(import ./connection)
(import ./handler)
(import ./log)

(def- http-options
  [:max-head :max-headers :max-body :max-requests
   :head-timeout :body-timeout :idle-timeout :write-timeout :on-error])

(def- address-options [:backlog :reuse-port :mode])

(def- server-options
  [:listener ;address-options :batch :max-connections :max-accept-rate ;http-options])

(def- max-request-line
  "The most bytes of a request line, where :max-head allows as much."
  8192)

(def- defaults
  {:host "0.0.0.0" :port 8000
   :max-head 16384 :max-headers 100 :max-body 1048576
   :head-timeout 10 :body-timeout 30 :idle-timeout 60 :write-timeout 30})

(defn- parse-options
  "The options of the function named `who`; those of an address do not go with a listener that has one."
  [who more args]
  (def opts (options/split who [:host :port] [;server-options ;more] args))
  (when (opts :listener)
    (each name [:host :port ;address-options]
      (when (has-key? opts name)
        (error (string/format "%s: %q does not go with :listener, which has an address" who name)))))
  opts)

(defn- start
  "Listens and serves in a new fiber. Returns the listener."
  [who handler opts]
  (def opts (merge defaults opts))
  (def {:host host :port port :listener given :on-error on-error} opts)
  (def config (native/http-config (merge opts {:max-request-line (min (opts :max-head) max-request-line)})))
  (def handler (handler/check who handler))
  (when on-error
    (native/check-function (string who ": :on-error") "three arguments, the request, the error and the fiber" on-error 3))
  # Creates the queue now, so that a shortage is reported before a listener is opened.
  (native/check-handler handler)
  (def listener
    (if given
      (native/nodelay given)
      (native/listen host port {:backlog (opts :backlog)
                                :reuse-port (opts :reuse-port)
                                :nodelay (not= host :unix)
                                :mode (opts :mode)})))
  (native/http-limit-unsent listener)
  (def serve (connection/handler listener handler config on-error))
  (native/claim listener)
  (ev/go (fn http-server []
           (when (native/open? listener)
             (native/accept-loop listener serve
                                 {:batch (opts :batch)
                                  :max-connections (opts :max-connections)
                                  :max-accept-rate (opts :max-accept-rate)}
                                 true))))
  listener)

(defn server
  ``Starts an HTTP/1.1 server. Returns the listener: closing it stops accepting, and `kqnet/drain`
  stops gracefully. Takes the arguments of `spork/http`'s server:

  * `handler` - a function from a request table (see `read-request`) to a response (see
    `send-response`), or what `middleware` makes one of.
  * `host`, `port` - where to listen, as for `kqnet/listen`. Default 0.0.0.0 and 8000.

  and by name:

  * :max-head - bytes of a request's head. Default 16 KiB; beyond it the client gets 431, and 414
    for a request line beyond it or 8 KiB.
  * :max-headers - header lines of a request. Default 100; beyond it 431.
  * :max-body - bytes of a request's body. Default 1 MiB; beyond it 413.
  * :max-requests - requests on one connection. Default: no limit.
  * :head-timeout - seconds for a head to arrive in. Default 10; after it 408.
  * :body-timeout - seconds without a byte of the body. Default 30; after it 408.
  * :idle-timeout - seconds between requests. Default 60; then the connection is closed.
  * :write-timeout - seconds for the client to take 64 KiB. Default 30. The connection of a client
    that is slower is closed. What a client has taken ahead of this pace counts in its favour, up to
    1.5 MiB of a response.
  * :on-error - a function of the request, the error and the fiber, called when the handler raises
    an error. What it returns is sent, or 500 for nil. Default: a trace on stderr, and 500.
  * :listener - a listener to serve, such as one of `kqnet/from-fd`, instead of host and port.
  * :backlog, :reuse-port, :mode - as for `kqnet/listen`.
  * :batch, :max-connections, :max-accept-rate - as for `kqnet/accept-loop`.

  Each request runs in its own environment, whose prototype is the environment of the caller of this
  function. Its :request-number counts the requests of its connection from 1; `read-body` needs it to
  know whether the request is over.

  Besides what `spork/http` takes, a response may have an iterable :body with a Content-Length
  header, and :detached: true to leave the connection to the handler, or a function of the
  connection and the bytes already read, which is called after the response (of status 101, say) was
  written; when it returns, the connection is closed. A response of status 2xx to CONNECT needs
  :detached; without it, the client gets 501. One of status 101 needs it too, and a request with
  Upgrade.

  Raises an error for wrong options, and when it cannot listen.``
  [handler & args]
  (start "kqnet/http/server" handler (parse-options "kqnet/http/server" [] args)))

(defn- address
  "The URL of a listener, for people."
  [listener]
  (def [host port] (net/localname listener))
  (cond
    (nil? port) (string "unix:" host)
    (string/find ":" host) (string "http://[" host "]:" port "/")
    (string "http://" host ":" port "/")))

(defn- tell
  "Writes a line to stderr. It does not matter if it cannot be written."
  [text]
  (if (dyn :err)
    (protect (do (eprint text) (eflush)))
    (native/say text)))

(defn serve-forever
  ``Runs an HTTP server until the process is told to end. Takes `handler` and the other arguments of
  `server`, and by name :drain-timeout, in seconds (default 30). Prints the address to stdout once it listens. On
  SIGTERM or SIGINT it stops accepting, and waits for running requests for at most that long. Those
  that are left are cancelled, so that the program can end, and their number is returned. A second
  signal ends the wait. If requests are running at the first signal, a line on stderr says how many.``
  [handler & args]
  (def opts (parse-options "kqnet/http/serve-forever" [:drain-timeout] args))
  (def listener (start "kqnet/http/serve-forever" handler opts))
  (def signals (ev/chan 2))
  (each signal [:int :term]
    (os/sigaction signal (fn [] (ev/give signals signal)) true))
  (print (address listener))
  (flush)
  (ev/take signals)
  (def drained (ev/chan 1))
  (ev/go (fn drain [] (ev/give drained (kqnet/drain listener (get opts :drain-timeout 30) :cancel true))))
  (def running (tracker/running listener))
  (when (pos? running) (tell (string "draining, " running " left; again to stop")))
  (def [_ from left] (ev/select signals drained))
  (each signal [:int :term] (os/sigaction signal))
  (if (= from drained) left (kqnet/drain listener 0 :cancel true)))
