###
### http/ending.janet
###
### Telling handlers when to end by themselves: the server drains, or the client is gone.
###

(import ../_native :as native)
(import ../options)

(defn- connection-of
  [who {:connection conn}]
  (or (native/http-of conn)
      (errorf "%s: this request is over: its connection has ended" who)))

(defn ending
  ``Returns a channel that is closed when a response should end: when the server begins to drain
  (`kqnet/drain`), when the client's connection is reset, and when the request is over. For handlers
  and bodies that wait for something else, which select from both:

      (match (ev/select events (http/ending req))
        [:take _ event] (yield event)
        [:close] (break))

  A client that sends no more may still read, and is answered: with :or-ended true it counts as
  gone too, as browsers that close an event stream do. A request has one channel, however often this
  is called, and one call with :or-ended is enough. After :detached with a function only a drain, and the
  end of that function, close it; :detached true does at once. Raises an error when the request is over already.``
  [req & args]
  (def {:or-ended or-ended} (options/split "kqnet/http/ending" [] [:or-ended] args))
  (def number (in req :request-number))
  (def http (connection-of "kqnet/http/ending" req))
  (or (native/http-ending http number or-ended)
      (let [channel (ev/chan)]
        (native/http-ending http number or-ended channel)
        (if (in (native/http-flight http) :draining)
          (ev/chan-close channel)
          # Not the supervisor of the handler, which knows nothing of this task.
          (ev/go (fn watch-client []
                   (def [_ why] (protect (native/http-watch http number)))
                   (unless (= why :detached) (ev/chan-close channel)))
                 nil (ev/chan 1)))
        channel)))

(defn draining?
  ``Whether the server of a request drains, so that a response that could go on for ever should
  end.``
  [req]
  (if-let [http (native/http-of (in req :connection))]
    (truthy? (in (native/http-flight http) :draining))
    true))

(defn gone?
  ``Whether nobody waits for the response any more: the client's connection is reset, or the request
  is over. With :or-ended true, also when the client has sent its last byte: it may still read.``
  [req & args]
  (def {:or-ended or-ended} (options/split "kqnet/http/gone?" [] [:or-ended] args))
  (if-let [http (native/http-of (in req :connection))]
    (native/http-gone http (in req :request-number) or-ended)
    true))
