###
### http/connection.janet
###
### Serving one connection: its requests one after the other, and what follows an error.
###

(import ../_native :as native)
(import ../tracker)
(import ./body)
(import ./log)
(import ./response)

(def- read-size
  "How much of a head is read at once. Each idle connection has a buffer of this size."
  2048)

# A connection is a tuple: its stream, its native half, the buffers for what comes and what goes, and
# the tracker of its listener. It is looked into several times for each request, and `in` is quicker
# than a call of a table.

(defn- check-switch
  "Raises an error for a response that switches protocols when the request did not ask for it (RFC 9110, 15.2.2)."
  [{:headers headers :http-version version} response]
  (when (and (= 101 (in response :status))
             (or (= version "1.0") (nil? (in headers "upgrade"))))
    (error "a response of status 101 is only for a request with an Upgrade header")))

(defn- answer
  "Calls the handler and sends its response. Returns true when the connection no longer belongs to the server."
  [connection state handler req]
  (def [conn http in-buf] connection)
  (put state :request req)
  (def response (handler req))
  (def detached (if (dictionary? response) (in response :detached)))
  (when detached
    (check-switch req response)
    (native/http-detach http))
  (unless (= true detached)
    # What the program writes after a complete response must not be taken for another response.
    (response/send connection state response detached)
    (when detached
      (log/answered connection state)
      (detached conn in-buf)))
  # What comes next is not for a task that still has this request.
  (unless detached (put req :buffer nil))
  # Not nil, which would remove the key, to be added again by the next request.
  (put state :request false)
  (when detached
    (put state :detached (= true detached))
    true))

(defn- converse
  "Serves one connection until it ends. Errors are for `settle`."
  [connection state handler]
  (def [_ http buf _ tracker] connection)
  (forever
    (def req (native/http-next-request http buf (in tracker :draining)))
    (case (type req)
      :table (when (answer connection state handler req) (break))
      :nil (unless (= true (native/http-read http buf read-size)) (break))
      # How the request before was answered.
      :array (log/tell req)
      :tuple (let [[status reason what] req]
               (put state :refused what)
               (response/refuse connection state status reason)
               (break))
      (do
        # The client may have sent more than was answered.
        (unless (and (= req :close) (empty? buf)) (response/linger connection))
        (break)))))

(defn- report
  "Says on stderr what went wrong. If that cannot be written, the client still gets its answer."
  [[_ http] err fib &opt req]
  (def what (string "kqnet/http: " (if req (string (in req :method) " " (in req :path) ": ") "")))
  (protect
    (if (native/http-invalid-response? http)
      # The handler has returned, so its stack is gone, and the server's own would not help.
      (eprint what err)
      (debug/stacktrace fib (if (bytes? err) err (string/format "%q" err)) what))))

(defn- failed
  "Answers for a handler that raised an error, with 500 or what `on-error` returns; cuts off a response that has begun."
  [connection state on-error err fib]
  (def req (state :request))
  (defn begun? [] (native/http-answering? (in connection 1)))
  (defn refuse [status reason]
    (unless (begun?) (response/refuse connection state status reason)))
  (defn answer-500 [] (refuse 500 "Internal Server Error"))
  (defn answer-503 [] (refuse 503 "Service Unavailable"))
  (cond
    (= err tracker/cancelled) (answer-503)
    on-error (try
               (let [response (on-error req err fib)]
                 (cond
                   (begun?) nil
                   (nil? response) (answer-500)
                   (do
                     (response/send [;(slice connection 0 4) {:draining true}] state response)
                     (response/linger connection))))
               ([err fib]
                 (cond
                   (body/gone? err) nil
                   (= err tracker/cancelled) (answer-503)
                   (do
                     (report connection err fib req)
                     # The answer of `on-error` may have begun.
                     (answer-500)))))
    (do
      (report connection err fib req)
      (answer-500))))

(defn- settle
  "What to do when a connection's fiber has ended with an error: by a timeout, a handler, or the client."
  [connection state on-error err fib]
  (response/drop-body (state :body) "the client is gone")
  (def in-request (and (state :request) (not (native/http-answering? (in connection 1)))))
  # A client may be gone in each phase: what it did is no error of the program.
  (case (if (body/gone? err) :gone (native/http-phase (in connection 1)))
    :gone nil
    :idle (unless (or (= err :idle-timeout) (= err tracker/cancelled)) (report connection err fib))
    :head (cond
            (= err :head-timeout) (do
                                    (put state :refused true)
                                    (response/refuse connection state 408 "request head did not arrive in time"))
            (= err tracker/cancelled) nil
            (report connection err fib))
    :linger nil
    # The handler runs, or its response is sent.
    (cond
      (and (tuple? err) (= :kqnet/reject (first err)))
      (when in-request (response/refuse connection state (in err 1) (in err 2)))
      (state :request) (do
                         # What the handler has set with setdyn is visible to :on-error.
                         (fiber/setenv (fiber/current) (fiber/getenv fib))
                         (failed connection state on-error err fib))
      (= err tracker/cancelled) nil
      (report connection err fib))))

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
  (def tracker (tracker/of listener))
  (def open @{})
  (def pace-collections (collection-pacer))
  (put tracker :loggers (log/loggers handler))
  (put tracker :config config)
  (put tracker :on-drain
       (fn []
         (eachk http open
           (native/http-end-idle http)
           (when-let [ending (native/http-ending http)] (ev/chan-close ending)))))
  (put tracker :running
       (fn [] (count |(not (has-value? [:idle :linger] (native/http-phase $))) (keys open))))
  (fn http-connection [conn]
    (def http (native/http-open conn config tracker))
    (put open http true)
    (pace-collections (length open))
    (def connection [conn http (buffer/new read-size) @"" tracker])
    (def state @{})
    (def body (fiber/new (fn [] (converse connection state handler)) :ti))
    (def result (resume body))
    (unless (= :dead (fiber/status body))
      # Writing the answer may fail, as the client may be gone.
      (protect (settle connection state on-error result body)))
    (log/answered connection state)
    # Who still waits for the end of a detached connection is not told by the task that watched the client.
    (when-let [ending (native/http-ending http)] (ev/chan-close ending))
    (native/http-close http)
    (unless (state :detached) (:close conn))
    (put open http nil)
    (pace-collections (length open))
    (native/release listener)))
