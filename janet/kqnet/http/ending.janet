###
### Telling handlers that their response should end, because the server is draining or the client is gone.
###

(import ../_native :as native)
(import ../channel)
(import ../options)
(import ../signature)
(import ./errors)
(import ./request)

(defn- watch
  ``Returns the channel of the request with this number, which is closed when its response should end. The first call begins to watch
  the client.``
  [http number or-ended]
  (or (native/http-ending http number or-ended)
      (let [channel (ev/chan)]
        (native/http-ending http number or-ended channel)
        # This task gets a supervisor channel of its own, since the handler's supervisor does not know it.
        (ev/go (fn watch-client []
                 (def [_ why] (protect (native/http-watch http number)))
                 (when (= why :gone)
                   (when-let [task (native/http-take-cancelled http number)]
                     # The task may have ended.
                     (protect (ev/cancel task (errors/gone "the client is gone")))))
                 (unless (= why :detached) (channel/close channel)))
               nil (ev/chan 1))
        (when (in (native/http-tracker http) :draining) (channel/close channel))
        channel)))

(defn cancel-when-gone
  "Has `task` cancelled when the client of the request with this number is gone before the request is over."
  [http number or-ended task]
  (native/http-cancel-when-gone http number task)
  (watch http number or-ended))

(defn ending
  ``Returns a channel that is closed when the response to the request `req` should end: when the server begins to drain
  (`kqnet/drain`), when the client's connection is reset, or when the request is over. A handler or body that waits for
  something else selects from both:

      (match (ev/select events (http/ending req))
        [:take _ event] (yield event)
        [:close] (break))

  By name:

  * :or-ended - if true, also close the channel when the client has ended its side of the connection. Default false, since
    such a client may still read. Browsers that close an event stream end their side.

  A request has one channel, however often this is called, and :or-ended stays in effect once it was given. After
  :detached with a function, only a drain and the end of that function close the channel. :detached true closes it at
  once. Raises an error when the request is already over.``
  [req & args]
  (def {:or-ended or-ended} (options/split "kqnet/http/ending" [] [:or-ended] args))
  (request/check "kqnet/http/ending" req)
  (watch (request/connection-of "kqnet/http/ending" req) (in req :request-number) or-ended))
(signature/show ending [] [:or-ended])

(defn draining?
  ``Returns whether the server of the request `req` is draining, so that a response without an end of its own should end.
  Returns true when the connection has ended.``
  [req]
  (request/check "kqnet/http/draining?" req)
  (if-let [http (native/http-of (in req :connection))]
    (truthy? (in (native/http-tracker http) :draining))
    true))

(defn gone?
  ``Returns whether nobody waits for the response to the request `req` any more, because the client's connection was reset
  or the request is over. With :or-ended true, a client that has ended its side of the connection counts as gone too,
  although it may still read.``
  [req & args]
  (def {:or-ended or-ended} (options/split "kqnet/http/gone?" [] [:or-ended] args))
  (request/check "kqnet/http/gone?" req)
  (if-let [http (native/http-of (in req :connection))]
    (native/http-gone? http (in req :request-number) or-ended)
    true))
(signature/show gone? [] [:or-ended])
