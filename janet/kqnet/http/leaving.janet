###
### Cancelling a handler whose client is gone.
###

(import ../_native :as native)
(import ../options)
(import ../signature)
(import ./ending)
(import ./errors)
(import ./handler)
(import ./log)

(defn gone-error?
  ``Returns whether an error was raised because the client is gone: by `cancel-when-gone`, by reading a body whose client closed
  the connection, or by writing a response. A handler that catches errors should raise these again.``
  [err]
  (errors/gone? err))

(defn cancel-when-gone
  ``Creates a middleware around `nextmw`, a handler: when the client is gone, the handler's wait is cancelled, and so is the wait
  of a body that is being sent. The wait raises an error that `gone-error?` recognises, so `defer` and `with` clean up. Nothing is
  printed and :on-error is not called. If nothing was sent, the log has status 499, as nginx's has. A handler that computes without
  waiting is not interrupted. By name:

  * :or-ended - if true, a client that has ended its side of the connection counts as gone. Default false, since such a client
    may still read. Without it, only a reset is noticed, and over a unix socket on Linux also that the client has closed it.
    Over TCP, a client that closes its connection first only ends its side, so it is noticed with :or-ended alone.

  With the option :cancel-when-gone of `server`, all requests of a server are cancelled like this. Raises an error for a handler
  that cannot answer a request, and for wrong options.``
  [nextmw & args]
  (def {:or-ended or-ended} (options/split "kqnet/http/cancel-when-gone" [] [:or-ended] args))
  (def nextmw (handler/check "kqnet/http/cancel-when-gone" nextmw))
  (log/wrap
    (fn cancel-when-gone-mw [req]
      (when-let [http (native/http-of (in req :connection))]
        (ending/cancel-when-gone http (in req :request-number) or-ended (fiber/root)))
      (nextmw req))
    nextmw))
(signature/show cancel-when-gone [] [:or-ended])
