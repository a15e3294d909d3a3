###
### Telling handlers that their response should end, because the server is draining or the client is gone.
###

(import ../_native :as native)
(import ../options)
(import ../signature)
(import ../show)
(import ./errors)

(defn check-request
  "Raises an error in the name of `who` unless `x` is a dictionary, as a request is."
  [who x]
  (unless (dictionary? x)
    (errorf "%s: expected a request, got %s" who (show/value x))))

(defn- connection-of
  "Returns the open connection of a request. Raises an error in the name of `who` if it has ended."
  [who {:connection conn}]
  (or (native/http-of conn)
      (errorf "%s: %s" who errors/over)))

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
  (check-request "kqnet/http/ending" req)
  (def number (in req :request-number))
  (def http (connection-of "kqnet/http/ending" req))
  (or (native/http-ending http number or-ended)
      (let [channel (ev/chan)]
        (native/http-ending http number or-ended channel)
        (if (in (native/http-tracker http) :draining)
          (ev/chan-close channel)
          # This task gets a supervisor channel of its own, since the handler's supervisor does not know it.
          (ev/go (fn watch-client []
                   (def [_ why] (protect (native/http-watch http number)))
                   (unless (= why :detached) (ev/chan-close channel)))
                 nil (ev/chan 1)))
        channel)))
(signature/show ending [] [:or-ended])

(defn draining?
  ``Returns whether the server of the request `req` is draining, so that a response without an end of its own should end.
  Returns true when the connection has ended.``
  [req]
  (check-request "kqnet/http/draining?" req)
  (if-let [http (native/http-of (in req :connection))]
    (truthy? (in (native/http-tracker http) :draining))
    true))

(defn gone?
  ``Returns whether nobody waits for the response to the request `req` any more, because the client's connection was reset
  or the request is over. With :or-ended true, a client that has ended its side of the connection counts as gone too,
  although it may still read.``
  [req & args]
  (def {:or-ended or-ended} (options/split "kqnet/http/gone?" [] [:or-ended] args))
  (check-request "kqnet/http/gone?" req)
  (if-let [http (native/http-of (in req :connection))]
    (native/http-gone? http (in req :request-number) or-ended)
    true))
(signature/show gone? [] [:or-ended])
