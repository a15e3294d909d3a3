###
### Starting HTTP servers, and running one until the process is told to end.
###

(import ../_native :as native)
(import ../tracker)
(import ../inherited)
(import ../options)
(import ../serve/live)
(import ../signature)
(import ./connection)
(import ./handler)
(import ./leaving)

(def- http-options
  [:max-head :max-headers :max-body :max-requests
   :head-timeout :body-timeout :idle-timeout :write-timeout :on-error :cancel-when-gone
   :trusted-proxies :forwarded-header :proxy-protocol])

(def- address-options [:backlog :reuse-port :mode])

(def- server-options
  [:listener ;address-options :batch :max-connections :max-accept-rate ;http-options])

(def- max-request-line
  "The most bytes of a request line, unless :max-head is smaller."
  8192)

(def- defaults
  {:max-head 16384 :max-headers 100 :max-body 1048576
   :head-timeout 10 :body-timeout 30 :idle-timeout 60 :write-timeout 30})

(defn- parse-options
  ``Returns the options of the function named `who` as a struct. `more` names those that it takes besides the server's.
  Raises an error when :listener is given together with a host, a port or an option of an address.``
  [who more args]
  (def opts (options/split who [:host :port] [;server-options ;more] args))
  (when (opts :listener)
    (each name [:host :port ;address-options]
      (when (has-key? opts name)
        (error (string/format "%s: %q does not go with :listener, which has an address" who name)))))
  (when (and (opts :forwarded-header) (not (has-key? opts :trusted-proxies)))
    (error (string who ": :forwarded-header has no effect without :trusted-proxies")))
  opts)

(defn- cancelling
  "Returns a handler with what the option :cancel-when-gone asks for."
  [handler when-gone]
  (case when-gone
    true (leaving/cancel-when-gone handler)
    :or-ended (leaving/cancel-when-gone handler :or-ended true)
    handler))

(defn- start
  "Listens, and serves in a new fiber, with the options `opts` of the function named `who`. Returns the listener."
  [who handler opts]
  (def taken (unless (opts :listener) (inherited/take (opts :host) (opts :port))))
  (def opts (merge defaults {:host "0.0.0.0" :port 8000 :listener taken} opts))
  (def {:host host :port port :listener given :on-error on-error} opts)
  (def config (native/http-config (merge opts {:max-request-line (min (opts :max-head) max-request-line)})))
  (def handler
    (let [checked (cancelling (handler/check who handler) (opts :cancel-when-gone))]
      (if taken (live/wrap checked (native/process-id)) checked)))
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
  (def serve (connection/serve listener handler config on-error))
  (native/claim listener)
  (native/http-count-for config listener)
  (ev/go (fn http-server []
           (when (native/open? listener)
             (native/accept-loop listener serve
                                 {:batch (opts :batch)
                                  :max-connections (opts :max-connections)
                                  :max-accept-rate (opts :max-accept-rate)
                                  :light true}
                                 true))))
  listener)

(defn server
  ``Starts an HTTP/1.1 server. Returns the listener: closing it stops accepting, and `kqnet/drain` stops gracefully. Takes
  the arguments of `spork/http`'s server:

  * `handler` - a function from a request table (see `read-request`) to a response (see `send-response`), or anything
    else that `middleware` takes.
  * `host`, `port` - where to listen, as for `kqnet/listen`. Default "0.0.0.0" and 8000.

  and by name:

  * :max-head - the most bytes of a request's head. Default 16 KiB. A client that sends more gets 431, or 414 if the
    request line alone is longer than that or 8 KiB.
  * :max-headers - the most header lines of a request. Default 100. A client that sends more gets 431.
  * :max-body - the most bytes of a request's body. Default 1 MiB. A client that sends more gets 413.
  * :max-requests - the most requests on one connection. Default: no limit.
  * :head-timeout - how many seconds a head may take to arrive. Default 10. After that the client gets 408.
  * :body-timeout - how many seconds may pass without a byte of the body. Default 30. After that the client gets 408.
  * :idle-timeout - how many seconds may pass between requests. Default 60. After that the connection is closed.
  * :write-timeout - how many seconds a client may need to take 64 KiB of a response. Default 30. The connection of a
    slower client is closed. What a client has taken ahead of this pace counts in its favour, up to 1.5 MiB of a
    response.
  * :on-error - a function of the request, the error and the fiber, called when the handler raises an error. It returns
    the response that is sent, or nil for 500. Default: print a stack trace to stderr, and send 500.
  * :cancel-when-gone - true to cancel handlers whose clients are gone, or :or-ended to do so also when a client has ended its side of
    the connection: see `cancel-when-gone`. Default false.
  * :trusted-proxies - the proxies whose headers are believed: a list of addresses and blocks of addresses such as "10.0.0.0/8" or
    "fd00::/8", "loopback" (127.0.0.0/8 and ::1), "private" (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 and fc00::/7), and "unix" for
    every peer on a unix socket. X-Forwarded-For, X-Forwarded-Proto and Forwarded tell `client-address` and the
    request's :scheme who the client is. From other peers they mean nothing. Default: no peer is trusted.
  * :forwarded-header - :x-forwarded-for or :forwarded, the only kind of header that is believed. Default: X-Forwarded-For and
    X-Forwarded-Proto if a request has one of them, and Forwarded otherwise.
  * :proxy-protocol - if true, each connection begins with a header of the PROXY protocol, version 1 or 2, with the address of
    the client, as HAProxy (send-proxy, send-proxy-v2) and nginx (proxy_protocol) send it. A connection without a valid header
    gets 400, and with :trusted-proxies, one from any other peer gets 403. The header must arrive within the
    :head-timeout, and may have 4096 bytes. Default false.
  * :listener - a listener to serve, such as one of `kqnet/from-fd`, instead of a host and port.
  * :backlog, :reuse-port, :mode - as for `kqnet/listen`.
  * :batch, :max-connections, :max-accept-rate - as for `kqnet/accept-loop`.

  Each request runs in an environment of its own, whose prototype is the environment of the caller of this function. The
  request's :request-number counts the requests of its connection from 1. `read-body` needs it to know whether the
  request is over. Its :scheme is "http", or "https" if a trusted proxy says so.

  Besides what `spork/http` takes, a response may have an iterable :body together with a Content-Length header, and
  :detached. With :detached true, nothing is sent, and the handler has taken the connection over. If :detached is a
  function, the response, of status 101 for example, is sent, and then the function is called with the connection and the
  bytes that were already read from it. When it returns, the connection is closed. A response of status 2xx to CONNECT
  needs :detached. Without it, the client gets 501. A response of status 101 needs it too, and is only possible for a
  request with Upgrade.

  Raises an error for wrong options, and when it cannot listen.``
  [handler & args]
  (start "kqnet/http/server" handler (parse-options "kqnet/http/server" [] args)))
(signature/show server [:host :port] server-options)

(defn- address
  "Returns the address of a listener as a text for people, a URL where there is one."
  [listener]
  (def [host port] (net/localname listener))
  (cond
    (nil? port) (string "unix:" host)
    (string/find ":" host) (string "http://[" host "]:" port "/")
    (string "http://" host ":" port "/")))

(defn- tell
  "Writes a line to stderr. If that is not possible, nothing happens."
  [text]
  (if (dyn :err)
    (protect (do (eprint text) (eflush)))
    (native/say text)))

(defn serve-forever
  ``Runs an HTTP server until the process is told to end. Takes `handler` and the other arguments of `server`, and by
  name:

  * :drain-timeout - how many seconds to wait for running requests at the end. Default 30.

  Prints the address to stdout once it listens. On SIGTERM or SIGINT it stops accepting, and waits for running requests.
  The requests that are left after the :drain-timeout are cancelled, so that the program can end. Returns their number. A
  second signal ends the wait at once, unless it comes within 0.25 seconds: some programs send each signal twice. If
  requests are running at the first signal, a line on stderr says how many. In a worker of kqnet-serve, all servers of the
  process drain, and the worker ends with the program, whatever other tasks still run.
  Raises the errors of `server`.``
  [handler & args]
  (def opts (parse-options "kqnet/http/serve-forever" [:drain-timeout] args))
  (def listener (start "kqnet/http/serve-forever" handler opts))
  (def signals (ev/chan 2))
  (each signal [:int :term]
    (os/sigaction signal (fn [] (ev/give signals signal)) true))
  (print (address listener))
  (flush)
  (ev/take signals)
  (def first-time (os/clock :monotonic))
  # A worker of kqnet-serve ends as a whole.
  (def all [listener ;(inherited/neighbours listener)])
  (def drained (ev/chan 1))
  (ev/go (fn drain [] (ev/give drained (tracker/drain-all all (get opts :drain-timeout 30)))))
  (def running (sum (map tracker/running all)))
  (when (pos? running)
    (tell (string "draining, " running " still running"
                  # The supervisor of a worker sends it.
                  (if (inherited/worker?) "" "; send the signal again to stop now"))))
  (defn wait []
    (def [_ from left] (ev/select signals drained))
    (if (or (= from drained) (inherited/another-signal? first-time)) [from left] (wait)))
  (def [from left] (wait))
  # The next one ends the program. A handler stays, since core would block a signal that it has not handled yet for good.
  (each signal [:int :term]
    (os/sigaction signal (fn []))
    (native/end-by signal))
  (inherited/drained)
  (if (= from drained) left (tracker/drain-all all 0)))
(signature/show serve-forever [:host :port] [;server-options :drain-timeout])
