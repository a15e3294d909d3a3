###
### The client of a request, which may be behind trusted proxies.
###

(import ../_native :as native)
(import ./request)

(defn- of-stream
  "Returns the address or the port of a stream's peer, or nil."
  [stream index]
  (match (protect (net/peername stream))
    # A unix socket has no port.
    [true ([address port] (not (nil? port)))] (in [address port] index)
    # This is a unix socket, or the client is gone.
    nil))

(defn peer-address
  "Returns the address of a connection's peer, or of the client in its PROXY header, or nil. `http` is nil on another server."
  [http stream]
  (if http (native/http-peer http) (of-stream stream 0)))

(defn- of-request
  [who req port]
  (request/check who req)
  (def stream (in req :connection))
  (if-let [http (native/http-of stream)]
    (native/http-client http (in req :headers) port)
    (of-stream stream (if port 1 0))))

(defn client-address
  ``Returns the address of the client of the request `req`, a string such as "192.0.2.1" or "2001:db8::1", or nil if it is
  not known. An IPv4 address is never written as an IPv6 one.

  The client is the peer of the connection, or the client that the PROXY header names (:proxy-protocol of `server`), unless that
  is one of the server's :trusted-proxies. Then it is the last address in X-Forwarded-For, or in Forwarded (RFC 7239), that is
  not that of a trusted proxy, or the first address if all of them are. See :forwarded-header of `server` for which of the
  two headers is read.

  It is nil when the connection has ended, when the peer is on a unix socket and nothing names a client, and when a trusted proxy
  does not say where its request came from (`unknown`, `_hidden`), or says it in a form that cannot be read. Raises an error if
  `req` is not a dictionary.``
  [req]
  (of-request "kqnet/http/client-address" req false))

(defn client-port
  ``Returns the port of the client that `client-address` returns the address of, a number, or nil if it is not known. Few proxies
  add it to the headers. The PROXY protocol has it. Raises an error if `req` is not a dictionary.``
  [req]
  (of-request "kqnet/http/client-port" req true))
