###
### Listening sockets and accept loops on an event queue of their own.
###
### The functions here have the arguments and results of the functions with the same names in net/, and take more options
### by name.
###

(import ./_native :as native)
(import ./tracker)
(import ./options)
(import ./inherited)
(import ./signature)

(setdyn :doc
        ``Listening sockets and accept loops on an event queue of their own. `listen`, `accept`, `accept-loop` and `server`
        have the arguments and results of the functions with the same names in net/, and take more options by name.
        `drain` stops a server gracefully, and `stats` says what it does. HTTP servers are in `kqnet/http`.``)

(def version
  "The version of kqnet, such as \"1.2.3\"."
  native/version)

(def- listen-options [:backlog :nodelay :reuse-port :mode])
(def- loop-options [:batch :max-connections :max-accept-rate :on-error])

(defn- open
  "Listens, or takes over the supervisor's listener if this is a worker of kqnet-serve."
  [host port opts]
  (if-let [taken (if (not= :datagram (opts :type)) (inherited/take host port))]
    (if (opts :nodelay) (native/nodelay taken) taken)
    (native/listen host port opts)))

(defn listen
  ``Listens on an address. Returns a new stream (core/stream) for `accept`, `accept-loop`, or core's `net/accept` and
  `net/accept-loop`. Takes the arguments of `net/listen`:

  * `host` - a host name or address, or :unix.
  * `port` - a port number, a service name, or the path of a unix socket. Port 0 takes a free port;
    `net/localname` returns its number. On Linux a path that begins with @ is abstract.
  * `type` - :stream (default) or :datagram.
  * `no-reuse` - if true, do not set SO_REUSEADDR. Default false.

  and by name:

  * :backlog - how many connections may wait to be accepted, a positive integer. The system may allow fewer. Default: as
    many as the system allows.
  * :reuse-port - if true, share the port with other sockets that have this option (SO_REUSEPORT). Default
    false. When false, a port that is taken is an error, unlike with `net/listen`.
  * :nodelay - if true, set TCP_NODELAY on each connection. Default false.
  * :mode - the permissions of a unix socket's file, such as 8r660. The file never has wider permissions, and those of
    other files are not affected. Default: what the umask leaves.

  The file of a unix socket is removed when the stream is closed, but only by the process that made it, and only if it is
  certainly still the stream's. A file that a dead server left is replaced.

  Raises an error that names the address and the reason when it cannot listen there, and when the :net-listen capability
  is sandboxed. An option that would have no effect is an error too: :mode on a port or an abstract name, :reuse-port on a
  unix socket, :nodelay on a unix socket or with :datagram, and :backlog with :datagram.``
  [host port & args]
  (open host port (options/split "kqnet/listen" [:type :no-reuse] listen-options args)))
(signature/show listen [:type :no-reuse] listen-options)

(defn accept
  ``Waits for the next connection on `listener`, and returns its stream (core/stream), or nil once the listener is closed.
  `timeout` is in seconds, at most 1e9. Nil or `math/inf` means no timeout. Raises an error when no connection comes in that
  time, when the stream is closed or not a listener, and when another fiber is accepting on it.``
  [listener &opt timeout]
  (inherited/accept listener timeout))

(defn- run-loop
  [listener handler opts &opt claimant]
  (native/accept-loop listener (tracker/counted listener handler) opts claimant))

(defn accept-loop
  ``Accepts connections until `listener` is closed, and then returns the listener. Each connection is given to `handler`, a
  function of one argument, in a fiber of its own, which inherits the supervisor channel of this one. By name:

  * :batch - the most connections to accept in one turn of the event loop, a positive integer. Default 64.
  * :max-connections - the most handlers that may run at once, a positive integer. At the limit, clients wait in the
    backlog. The place of a handler is free again when it has ended, in whatever way. Default: no limit.
  * :max-accept-rate - the most connections to accept in a second, evenly spread, a positive number. Default: no limit.
  * :on-error - a function of the listener and a message, called when accepting pauses because of a shortage of
    descriptors or memory. Accepting resumes by itself. The function is called again only after
    everything that waited was accepted and there was no shortage for a second. Default: print the message to stderr.

  Raises an error when the handler is not such a function, when the stream is closed or not a listener, and when another
  fiber is accepting on it.``
  [listener handler & args]
  (def opts (options/split "kqnet/accept-loop" [] loop-options args))
  (native/check-handler handler)
  (run-loop listener handler opts))
(signature/show accept-loop [] loop-options)

(defn server
  ``Listens on an address, and, with a handler, runs `accept-loop` on the new listener in a new fiber. Returns the listener.
  Takes the arguments of `net/server` (`host` and `port` as for `listen`, then the handler, type and no-reuse), and by name
  the options of `listen` and `accept-loop`. All of them are checked before anything is opened. Raises the errors of both,
  and an error for options of `accept-loop` without a handler.``
  [host port & args]
  (def opts (options/split "kqnet/server" [:handler :type :no-reuse]
                           [;listen-options ;loop-options] args))
  (def {:handler handler :type kind} opts)
  # The text is core's.
  (assert (not (and handler (= kind :datagram)))
          "handler not supported for :datagram servers")
  (native/check-on-error (opts :on-error))
  (if handler
    (native/check-handler handler)
    (when-let [name (find |(has-key? opts $) loop-options)]
      (error (string/format "kqnet/server: %q is for a server with a handler" name))))
  (def listener (open host port opts))
  (when handler
    (native/claim listener)
    (ev/go (fn kqnet-server []
             # The listener may be closed before this fiber has its first turn.
             (when (native/open? listener)
               (run-loop listener handler opts true)))))
  listener)
(signature/show server [:handler :type :no-reuse] [;listen-options ;loop-options])

(defn drain
  ``Stops accepting at once, closes `listener`, and waits until its handlers have ended, for at most `seconds` (default:
  for as long as it takes). Returns how many handlers were still running then. If it is called in a handler, it does not
  wait for that one. By name:

  * :cancel - if true, cancel the handlers that are still running, which raises an error in each where it waits. Default
    false.

  Clients that already wait to be accepted are given to the handler first, as far as the limits of the loop allow. The
  system breaks off the connections of the others, since nobody would answer them. Connections that `accept` returned are
  not waited for. Raises an error for wrong arguments.

  A program that stops gracefully on SIGTERM and SIGINT:

      (def listener (kqnet/server host port handler))
      (def stop (ev/chan))
      (each signal [:term :int]
        (os/sigaction signal (fn [] (ev/chan-close stop)) true))
      (ev/take stop)
      (kqnet/drain listener 30)``
  [listener &opt seconds & args]
  (options/check "kqnet/drain" :seconds seconds)
  (def {:cancel cancel} (options/split "kqnet/drain" [] [:cancel] args))
  (tracker/drain listener seconds cancel))
(signature/show drain [] [:cancel])

###
### Proxies
###

(defn proxy-header
  ``Reads the header of the PROXY protocol, version 1 or 2, that a connection to a server behind a proxy begins with. `conn` is the
  stream, of which nothing was read yet. Reads no byte beyond the header. Returns a struct:

  * :client - the address and the port of the client, a tuple as `net/peername` returns it, or nil if the client is the peer of
    the connection itself. For a client on a unix socket, it is a tuple of its path, which may be empty.
  * :server - the address and port that the client has connected to, in the same form.
  * :local - true if the proxy itself has made the connection, for example to check that the server answers.
  * :tls - true if the proxy says that the client's connection has TLS.

  By name:

  * :timeout - how many seconds the header may take to arrive. Default 10.
  * :trusted-proxies - the proxies that may connect, a list as for `kqnet/http/server`. Default: all.

  Raises an error when the peer is not trusted, when there is no header, when it is malformed or has more than 4096 bytes, when it
  does not arrive in time, and when the connection ends before. The connection should be closed then: the protocol
  does not allow guessing what it is instead.

      (kqnet/server "127.0.0.1" 7000
        (fn [conn]
          (with [conn conn]
            (def {:client client} (kqnet/proxy-header conn))
            (:write conn (string "hello, " (first client) "\n")))))``
  [conn & args]
  (def {:timeout timeout :trusted-proxies proxies}
    (options/split "kqnet/proxy-header" [] [:timeout :trusted-proxies] args))
  (defn fail [why] (error (string "kqnet/proxy-header: " why)))
  (unless (try (native/trusted-peer? conn proxies) ([err] (fail err))) (fail "the peer is not a trusted proxy"))
  (def deadline (+ (os/clock :monotonic) (or timeout 10)))
  (def received @"")
  (var result nil)
  (while (number? (set result (try (native/proxy-header received) ([err] (fail err)))))
    (def size (+ result (length received)))
    (def left (- deadline (os/clock :monotonic)))
    (when (<= left 0) (fail "the header did not arrive in time"))
    (try
      (ev/chunk conn result received (if (< left math/inf) left))
      ([err] (fail (if (= err "timeout") "the header did not arrive in time" err))))
    (when (< (length received) size) (fail "the connection ended within the header")))
  result)
(signature/show proxy-header [] [:timeout :trusted-proxies])

###
### Statistics
###

(defn stats
  ``Returns the statistics of a listener as a struct, or nil if kqnet never began to accept from it:

  * :address - the address that it is bound to, a string.
  * :accepted - how many connections were accepted.
  * :active, :peak - how many handlers run now, and the most that ever ran at once.
  * :batches, :largest-batch - in how many batches something was accepted, and the most in one batch. A batch is what is
    accepted from the listener in one turn of the event loop.
  * :aborted - how many connections were gone before they were accepted.
  * :pauses, :paused - how many times accepting paused, and for how many seconds in all. Both are structs by reason:
    :error (a shortage of descriptors or memory), :full (:max-connections), and :rate (:max-accept-rate).
  * :errors - how many times accept(2) failed, a struct by the name of the error, such as :EMFILE.
  * :since - when kqnet began to accept from it, in seconds since 1970.

  In a worker of kqnet-serve, the counts go on where those of the worker before it in the same place ended, and :peak, :since
  and :largest-batch are of all of them.

  Without an argument, returns an array of the statistics of all listeners of this VM (thread).``
  [&opt listener]
  (if (nil? listener)
    (seq [known :in (native/listeners)] (native/stats known))
    (native/stats listener)))

(defn backend
  "Returns the event queue in use: :kqueue on macOS and the BSDs, :epoll on Linux."
  []
  (native/backend))

###
### Inherited sockets
###

(defn from-fd
  ``Takes over the inherited descriptor with the number `n`, which must be a listening stream socket. Returns a listener
  that owns it: closing the listener closes the descriptor. Raises an error that says what the descriptor is instead.``
  [n]
  (native/from-fd n))

(defn activated
  ``Returns the listening sockets that the program was started with, as a table from name to an array of listeners. The
  table is empty when there are none.

  With `name`, a string, asks launchd (macOS) for the sockets of that key in the program's plist. Without it, reads
  systemd's variables LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES, and removes them from the environment, so that no child
  process takes the sockets for its own. Raises an error when a descriptor is not a listening stream socket.``
  [&opt name]
  (def variables ["LISTEN_PID" "LISTEN_FDS" "LISTEN_FDNAMES"])
  (def values (map os/getenv variables))
  (unless name (each variable variables (os/setenv variable nil)))
  (def passed (if name (native/passed name) (native/passed nil ;values)))
  (def found @{})
  (each [key fd] passed
    # The sockets of launchd are closed on exec.
    (put found key (array/push (get found key @[]) (native/from-fd fd (truthy? name)))))
  found)
