###
### http/connection.janet
###
### Serving one connection: its requests one after the other, and what follows an error.
###

(import ../_native :as native)
(import ../flight)
(import ./body)
(import ./response)

(def- read-size
  "How much of a head is read at once. Each idle connection has a buffer of this size."
  2048)

# A connection is a tuple: its stream, its native half, the buffers for what comes and what goes, and
# the flight of its listener. It is looked into several times for each request, and `in` is quicker
# than a call of a table.

(defn- answer
  "Has a request handled and its response sent. Returns true where the connection is not the server's any more."
  [connection state handler req]
  (def [conn http in-buf] connection)
  (put state :request req)
  (def response (handler req))
  (def detached (if (dictionary? response) (in response :detached)))
  (unless (= true detached)
    (response/send connection state response)
    (when detached
      (native/http-phase http :handler)
      (detached conn in-buf)))
  # Not nil, which would remove the keys, to be added again by the next request.
  (put state :request false)
  (put state :begun false)
  (when (in state :body) (put state :body nil))
  (when detached
    (put state :detached (= true detached))
    true))

(defn- converse
  "Serves one connection until it ends. Errors are for `settle`."
  [connection state handler]
  (def [_ http buf _ flight] connection)
  (forever
    (def req (native/http-parse http buf (in flight :draining)))
    (case (type req)
      :table (when (answer connection state handler req) (break))
      :nil (unless (native/http-read http buf read-size) (break))
      :tuple (do (response/refuse connection ;req) (break))
      (do
        # The client may have sent more than was answered.
        (unless (and (= req :close) (empty? buf)) (response/linger connection))
        (break)))))

(defn- report
  [{:method method :path path} err fib]
  (debug/stacktrace fib (if (bytes? err) err (string/format "%q" err))
                    (string "kqnet/http: " method " " path ": ")))

(defn- failed
  "A handler has raised an error: answers 500, or what `on-error` says, or cuts a response that has begun."
  [connection state on-error err fib]
  (def req (state :request))
  (defn answer-500 [&]
    (unless (state :begun) (response/refuse connection 500 "Internal Server Error")))
  (cond
    (= err flight/cancelled) (unless (state :begun) (response/refuse connection 503 "Service Unavailable"))
    on-error (try
               (let [response (on-error req err fib)]
                 (cond
                   (state :begun) nil
                   (nil? response) (answer-500)
                   (do
                     (response/send [;(slice connection 0 4) {:draining true}] state response)
                     (response/linger connection))))
               ([err fib]
                 (when (= :handler (native/http-phase (in connection 1)))
                   (report req err fib)
                   (answer-500))))
    (do
      (report req err fib)
      (answer-500))))

(defn- settle
  "What to do when a connection's fiber has ended with an error: by a timeout, a handler, or the client."
  [connection state on-error err fib]
  (def body (state :body))
  (when (and (fiber? body) (has-value? [:new :pending] (fiber/status body)))
    (protect (cancel body "the client is gone")))
  (def in-request (and (state :request) (not (state :begun))))
  (case (if (= err :body-timeout) :body (native/http-phase (in connection 1)))
    # In a handler whose body is read in another task.
    :body (when (and in-request (= err :body-timeout))
            (response/refuse connection 408 "request body did not arrive in time"))
    :handler (cond
               (= err body/gone) nil
               (and (tuple? err) (= :kqnet/reject (first err)))
               (when in-request (response/refuse connection (in err 1) (in err 2)))
               (state :request) (failed connection state on-error err fib)
               (debug/stacktrace fib err "kqnet/http: "))
    :head (when (= err :head-timeout)
            (response/refuse connection 408 "request head did not arrive in time"))
    # Otherwise it is the connection that failed: the client is gone, or takes nothing.
    nil))

(def- garbage
  "Bytes of garbage for each open connection that the collector may let lie."
  1024)

(defn- collection-pacer
  ``Makes a function to call with the number of open connections when it has changed. Janet collects
  each time so many bytes were allocated, 4 MiB unless the program says otherwise, and goes through all that
  lives: with thousands of idle connections that would be a good part of each request. So the interval grows
  with them, and shrinks again, unless somebody else has set it.``
  []
  (def least (gcinterval))
  (var set-here nil)
  (fn pace-collections [open]
    (def interval (gcinterval))
    (def wanted (* garbage open))
    (when (or (> wanted interval)
              (and (= interval set-here) (> interval least) (< (* 8 wanted) interval)))
      (set set-here (max least (* 2 wanted)))
      (gcsetinterval set-here))))

(defn handler
  "Makes the function that serves each connection of a listener."
  [listener handler config on-error]
  (def flight (flight/of listener))
  (def open @{})
  (def pace-collections (collection-pacer))
  (put flight :on-drain (fn [] (eachk http open (native/http-end-idle http))))
  (fn http-connection [conn]
    (def http (native/http-open conn config))
    (put open http true)
    (pace-collections (length open))
    (def connection [conn http (buffer/new read-size) @"" flight])
    (def state @{})
    (def body (fiber/new (fn [] (converse connection state handler)) :ti))
    (def result (resume body))
    (unless (= :dead (fiber/status body))
      # Writing the answer may fail, as the client may be gone.
      (protect (settle connection state on-error result body)))
    (native/http-close http)
    (unless (state :detached) (:close conn))
    (put open http nil)
    (pace-collections (length open))
    (native/release listener)))
