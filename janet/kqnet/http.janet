###
### http.janet
###
### spork/http on kqnet: all of its public names, with a server that keeps connections, has limits
### and timeouts, and stops gracefully.
###

(import spork/http :prefix "" :export true)
(import ./_native :as native)
(import ./flight)
(import ./init :as kqnet)
(import ./options)

(def- read-size
  "How much of a head is read at once. Each idle connection has a buffer of this size."
  2048)

(def- body-read-size (* 16 4096))

(def- write-size
  "How much a client has to take within :write-timeout."
  65536)

###
### Bodies of requests
###

(defn- reject
  "The error for a request that is refused while its handler runs."
  [[status reason]]
  [:kqnet/reject status reason])

(def- gone
  "The error for a client that is gone before its body has come."
  [:kqnet/gone "the client closed the connection within the body"])

(def- losses
  "What reading raises where the client is gone. Anything else comes from whoever cancels the handler."
  ["Connection reset by peer" "Connection timed out" "stream err" "stream hup"])

(defn- checked
  "What `native/http-body` says of a body: true when it is complete. Raises an error where it is refused."
  [verdict]
  (if (indexed? verdict) (error (reject verdict)) verdict))

(defn- await-body
  "Waits for more of a body."
  [{:connection conn :buffer buf} http]
  (native/http-phase http :body)
  (try
    (do
      (when (native/http-continue http)
        (net/write conn "HTTP/1.1 100 Continue\r\n\r\n"))
      (unless (native/http-read http buf body-read-size) (error gone)))
    ([err fib]
      (native/http-phase http :handler)
      (cond
        (= err :body-timeout) (error (reject [408 "request body did not arrive in time"]))
        (has-value? losses err) (error gone)
        (propagate err fib))))
  (native/http-phase http :handler))

(defn- has-body?
  [{:headers headers}]
  (or (in headers "content-length") (in headers "transfer-encoding")))

(defn- expected-size
  "How much room to make for a body at once: what the client says, within bounds."
  [{:headers headers}]
  (min 1048576 (scan-number (in headers "content-length" "0"))))

(def- spork-read-body read-body)

(defn read-body
  ``Given a request, reads its body, and returns it as a buffer, or nil if it has none. Content-Length
  and chunked bodies are decoded, up to the server's :max-body: over it, the client gets 413. A
  client that waits for it is sent 100 Continue first. Also takes what `read-response` returns.``
  [req]
  (def http (native/http-of (in req :connection)))
  (cond
    (nil? http) (spork-read-body req)
    (in req :body) (in req :body)
    (has-body? req) (let [out (buffer/new (expected-size req))]
                      (while (not (checked (native/http-body http (in req :buffer) out)))
                        (await-body req http))
                      (put req :body out)
                      out)))

(defn body-chunks
  ``Returns a fiber that yields the body of a request in buffers as it comes, for bodies that are
  not to be held in memory. Same limits and errors as `read-body`.``
  [req]
  (def http (native/http-of (in req :connection)))
  (coro
    (when (has-body? req)
      (forever
        (def out @"")
        (def verdict (native/http-body http (in req :buffer) out))
        (unless (empty? out) (yield out))
        (when (checked verdict) (break))
        (await-body req http)))))

###
### Responses
###

(defn- write-parts
  "Writes bytes that may be many, so that a client need not take all of them within one :write-timeout."
  [conn http bytes]
  (def size (length bytes))
  (if (<= size write-size)
    (net/write conn bytes)
    (let [part (buffer/new write-size)]
      (var at 0)
      (while (< at size)
        (native/http-phase http :write)
        # What is waited for is copied; what else can be sent then is not.
        (def end (min size (+ at write-size)))
        (net/write conn (buffer/blit (buffer/clear part) bytes 0 at end))
        (set at (or (native/http-send http bytes end) size))))))

(defn- send-pieces
  "Writes each piece of a body as it comes: as a chunk, or as it is, `limit` bytes in all."
  [conn http body chunked limit out]
  (var left limit)
  (each piece body
    (assert (bytes? piece) (string/format "a piece of a response's body must be bytes, got %q" piece))
    (unless (empty? piece)
      (when left
        (-= left (length piece))
        (assert (>= left 0) "a response's body is longer than its Content-Length"))
      (native/http-phase http :write)
      (if chunked
        (do
          (buffer/clear out)
          (buffer/format out "%x\r\n" (length piece))
          (buffer/push out piece "\r\n")
          (write-parts conn http out))
        (write-parts conn http piece))
      (native/http-phase http :handler)))
  (when left
    (assert (zero? left) "a response's body is shorter than its Content-Length"))
  (when chunked
    (native/http-phase http :write)
    (net/write conn "0\r\n\r\n")))

(defn- write-out
  "Writes a buffer."
  [conn http out]
  (when-let [sent (native/http-send http out 0)]
    (net/write conn (buffer/slice out sent))))

(defn- send
  "Writes a response. `state` says how far it is."
  [[conn http in-buf out flight] state response]
  (buffer/clear out)
  (def rest (native/http-respond http response out in-buf (in flight :draining)))
  (put state :begun true)
  (write-out conn http out)
  (case rest
    :none nil
    :bytes (write-parts conn http (in response :body))
    (let [body (in response :body)]
      (put state :body body)
      (native/http-phase http :handler)
      (send-pieces conn http body (= rest :chunked) (if (number? rest) rest) out)))
  # What a large body needed is not kept for as long as the connection is.
  (when (or (in state :body) (> (length out) read-size))
    (buffer/clear out)
    (buffer/trim out)))

(defn- linger
  "Lets the client take the last answer: closing with unread bytes would reset the connection."
  [[conn http buf]]
  (native/http-phase http :linger)
  (net/shutdown conn :w)
  (var left 1048576)
  (while (and (pos? left) (net/read conn 16384 (buffer/clear buf)))
    (-= left (length buf))))

(defn- refuse
  "Answers a request that is refused, whose connection must close."
  [connection status reason]
  (def [conn http _ out] connection)
  (buffer/clear out)
  (native/http-refuse http status reason out)
  (net/write conn out)
  (linger connection))

###
### Connections
###

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
    (send connection state response)
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
      :tuple (do (refuse connection ;req) (break))
      (do
        # The client may have sent more than was answered.
        (unless (and (= req :close) (empty? buf)) (linger connection))
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
    (unless (state :begun) (refuse connection 500 "Internal Server Error")))
  (cond
    (= err flight/cancelled) (unless (state :begun) (refuse connection 503 "Service Unavailable"))
    on-error (try
               (let [response (on-error req err fib)]
                 (cond
                   (state :begun) nil
                   (nil? response) (answer-500)
                   (do
                     (send [;(slice connection 0 4) {:draining true}] state response)
                     (linger connection))))
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
            (refuse connection 408 "request body did not arrive in time"))
    :handler (cond
               (= err gone) nil
               (and (tuple? err) (= :kqnet/reject (first err)))
               (when in-request (refuse connection (in err 1) (in err 2)))
               (state :request) (failed connection state on-error err fib)
               (debug/stacktrace fib err "kqnet/http: "))
    :head (when (= err :head-timeout)
            (refuse connection 408 "request head did not arrive in time"))
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

(defn- connection-handler
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

(def- http-options
  [:max-head :max-headers :max-body :max-requests
   :head-timeout :body-timeout :idle-timeout :write-timeout :on-error])

(def- address-options [:backlog :reuse-port :mode])

(def- server-options
  [:listener ;address-options :batch :max-connections :max-accept-rate ;http-options])

(def- defaults
  {:max-head 16384 :max-headers 100 :max-body 1048576
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
  [handler opts]
  (def {:max-head max-head :max-headers max-headers :max-body max-body :max-requests max-requests
        :head-timeout head :body-timeout body :idle-timeout idle :write-timeout write
        :host host :port port :listener given :on-error on-error
        :backlog backlog :reuse-port reuse-port :mode mode
        :batch batch :max-connections most :max-accept-rate rate}
    (merge defaults {:host "0.0.0.0" :port 8000} opts))
  (def config
    (native/http-config max-head (min max-head 8192) max-headers max-body max-requests head body idle write))
  (def handler (middleware handler))
  (native/check-handler handler)
  (def listener
    (if given
      (native/nodelay given)
      (native/listen host port :stream false backlog reuse-port true mode)))
  (def serve (connection-handler listener handler config on-error))
  (native/take-in listener)
  (ev/go (fn http-server []
           (when (native/open? listener)
             (native/accept-loop listener serve batch most rate))))
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
  * :write-timeout - seconds for the client to take 64 KiB. Default 30; then it is closed.
  * :on-error - a function of the request, the error and the fiber, called when the handler raises
    an error. What it returns is sent, or 500 for nil. Default: a trace on stderr, and 500.
  * :listener - a listener to serve, such as one of `kqnet/from-fd`, instead of host and port.
  * :backlog, :reuse-port, :mode - as for `kqnet/listen`.
  * :batch, :max-connections, :max-accept-rate - as for `kqnet/accept-loop`.

  Besides what `spork/http` takes, a response may have an iterable :body with a Content-Length
  header, and :detached: true to leave the connection to the handler, or a function of the
  connection and the bytes already read, which is called when the response (of status 101, say) was
  written, and after which the connection is closed.

  Raises an error for wrong options, and where it cannot listen.``
  [handler & args]
  (start handler (parse-options "kqnet/http/server" [] args)))

(defn- address
  "The URL of a listener, for people."
  [listener]
  (def [host port] (net/localname listener))
  (cond
    (nil? port) (string "unix:" host)
    (string/find ":" host) (string "http://[" host "]:" port "/")
    (string "http://" host ":" port "/")))

(defn serve-forever
  ``Runs an HTTP server until the process is told to end. Takes `handler` and the other arguments of
  `server`, and by name :drain-timeout, in seconds (default 30). Prints the address to stdout once it listens. On
  SIGTERM or SIGINT it stops accepting, lets running requests end for so long, and returns how many
  had not, which are cancelled, so that the program can end; a second signal ends the wait.``
  [handler & args]
  (def opts (parse-options "kqnet/http/serve-forever" [:drain-timeout] args))
  (def listener (start handler opts))
  (def signals (ev/chan 2))
  (each signal [:int :term]
    (os/sigaction signal (fn [] (ev/give signals signal)) true))
  (print (address listener))
  (flush)
  (ev/take signals)
  (def drained (ev/chan 1))
  (ev/go (fn drain [] (ev/give drained (kqnet/drain listener (get opts :drain-timeout 30) :cancel true))))
  (def [_ from left] (ev/select signals drained))
  (each signal [:int :term] (os/sigaction signal))
  (if (= from drained) left (kqnet/drain listener 0 :cancel true)))

###
### Middleware
###

(def- spork-logger logger)

(defn- remote-host
  [conn]
  (match (protect (net/peername conn))
    [true [address port]] address
    # A unix socket, or a client that is gone.
    "-"))

(def- months ["Jan" "Feb" "Mar" "Apr" "May" "Jun" "Jul" "Aug" "Sep" "Oct" "Nov" "Dec"])

(defn- log-time
  []
  (def {:year year :month month :month-day day :hours h :minutes m :seconds s} (os/date))
  (string/format "%02d/%s/%d:%02d:%02d:%02d +0000" (inc day) (in months month) year h m s))

(defn- escaped
  "A text for between quotes."
  [text]
  (string/replace-all `"` `\"` (string/replace-all `\` `\\` text)))

(defn- log-field
  "A header's value, fit for a field in quotes."
  [req name]
  (def value (in (in req :headers) name "-"))
  (escaped (if (array? value) (first value) value)))

(defn- log-size
  "How many bytes of a body go out, as far as that is known."
  [req response]
  (def body (get response :body))
  (cond
    (= "HEAD" (in req :method)) "-"
    (bytes? body) (length body)
    (get-in response [:headers "Content-Length"] "-")))

(defn logger
  ``Creates a logging middleware, which prints a line for each response of `nextmw`. By name:

  * :format - nil for the line that `spork/http` prints (method, status, path, elapsed time),
    :common for the Common Log Format, :combined for that with referrer and user agent.
  * :out - a file to print to. Default: (dyn *out*), else stdout.``
  [nextmw &named format out]
  (unless (has-value? [nil :common :combined] format)
    (errorf "kqnet/http/logger: :format must be :common or :combined, got %q" format))
  (def f (or out (dyn :out) stdout))
  (if (nil? format)
    (with-dyns [:out f] (spork-logger nextmw))
    (fn logger-mw [req]
      (def response (nextmw req))
      (xprint f (remote-host (in req :connection)) " - - [" (log-time) `] "`
              (in req :method) " " (escaped (in req :path)) " HTTP/" (get req :http-version "1.1") `" `
              (get response :status 200) " " (log-size req response)
              (if (= format :combined)
                (string ` "` (log-field req "referer") `" "` (log-field req "user-agent") `"`)
                ""))
      (when (= :core/file (type f)) (file/flush f))
      response)))

(defn- metric
  [out name kind help lines]
  (buffer/push out "# HELP kqnet_" name " " help "\n# TYPE kqnet_" name " " kind "\n")
  # One line for listeners with the same address, one of which is closed.
  (def sums @{})
  (each [labels value] lines (put sums labels (+ value (get sums labels 0))))
  (each labels (sort (keys sums))
    (def pairs (seq [[k v] :in (partition 2 labels)]
                 (string k `="` (string/replace-all "\n" `\n` (escaped v)) `"`)))
    (buffer/push out "kqnet_" name "{" (string/join pairs ",") "} " (string/format "%.17g" (sums labels)) "\n")))

(defn- exposition
  "The figures of all listeners in the Prometheus text format."
  []
  (def out @"")
  (def all (kqnet/stats))
  (defn each-listener [f] (seq [s :in all] [["listener" (s :address)] (f s)]))
  (defn each-reason [key]
    (seq [s :in all reason :in [:error :full :rate]]
      [["listener" (s :address) "reason" (string reason)] (get-in s [key reason])]))
  (metric out "accepted_total" "counter" "Connections accepted." (each-listener |($ :accepted)))
  (metric out "active" "gauge" "Handlers that run now." (each-listener |($ :active)))
  (metric out "active_peak" "gauge" "The most handlers that ever ran at once." (each-listener |($ :peak)))
  (metric out "batches_total" "counter" "Turns in which a connection was accepted." (each-listener |($ :batches)))
  (metric out "aborted_total" "counter" "Connections gone before they were accepted." (each-listener |($ :aborted)))
  (metric out "pauses_total" "counter" "Pauses of accepting." (each-reason :pauses))
  (metric out "paused_seconds_total" "counter" "Time in which accepting paused." (each-reason :paused))
  (metric out "accept_errors_total" "counter" "Failures of accept."
          (seq [s :in all [name count] :pairs (s :errors)]
            [["listener" (s :address) "error" (string name)] count]))
  out)

(defn metrics
  ``Creates a middleware that serves the figures of all listeners of this VM (see `kqnet/stats`) in the
  Prometheus text format, at `path` (default "/metrics"), and leaves other requests to `nextmw`.``
  [nextmw &opt path]
  (default path "/metrics")
  (fn metrics-mw [req]
    (if (= path (in req :route))
      {:status 200
       :headers {"Content-Type" "text/plain; version=0.0.4; charset=utf-8"}
       :body (exposition)}
      (nextmw req))))

###
### Files
###

(def content-types
  "Content types by the end of a file's name."
  {"avif" "image/avif" "css" "text/css; charset=utf-8" "csv" "text/csv; charset=utf-8"
   "gif" "image/gif" "gz" "application/gzip" "htm" "text/html; charset=utf-8"
   "html" "text/html; charset=utf-8" "ico" "image/x-icon" "jpeg" "image/jpeg" "jpg" "image/jpeg"
   "js" "text/javascript; charset=utf-8" "json" "application/json" "map" "application/json"
   "md" "text/markdown; charset=utf-8" "mjs" "text/javascript; charset=utf-8" "mp3" "audio/mpeg"
   "mp4" "video/mp4" "ogg" "audio/ogg" "otf" "font/otf" "pdf" "application/pdf" "png" "image/png"
   "svg" "image/svg+xml" "tar" "application/x-tar" "ttf" "font/ttf" "txt" "text/plain; charset=utf-8"
   "wasm" "application/wasm" "wav" "audio/wav" "webm" "video/webm" "webp" "image/webp"
   "woff" "font/woff" "woff2" "font/woff2" "xml" "application/xml" "zip" "application/zip"})

(defn- content-type
  [path]
  (def name (last (string/split "/" path)))
  (def dot (last (string/find-all "." name)))
  (get content-types (if dot (string/ascii-lower (string/slice name (inc dot)))) "application/octet-stream"))

(defn- through-link?
  "Whether a symbolic link is on the way from a folder to a path below it."
  [folder path]
  (var at folder)
  (some (fn [part]
          (set at (string at "/" part))
          (= :link (os/lstat at :mode)))
        (string/split "/" path)))

(defn- file-pieces
  "A part of a file, as a fiber that yields it piece by piece."
  [path first-byte size]
  # Opened at once: where that fails, the response has not begun.
  (def f (file/open path :rbn))
  (coro
    (defer (file/close f)
      (file/seek f :set first-byte)
      (var left size)
      (while (pos? left)
        (def piece (file/read f (min left 65536)))
        (unless piece (error (string path " became shorter while it was sent")))
        (-= left (length piece))
        (yield piece)))))

(defn- joined
  [headers name]
  (def value (in headers name))
  (if (array? value) (string/join value ", ") value))

(defn- serve-file
  [req path {:size size :modified modified}]
  (def method (in req :method))
  (def headers (in req :headers))
  (def [etag last-modified] (native/file-tags size modified))
  (def [status first-byte last-byte]
    (native/file-answer true etag modified size
                        (joined headers "if-match") (joined headers "if-unmodified-since")
                        (joined headers "if-none-match") (joined headers "if-modified-since")
                        (if (= method "GET") (joined headers "range")) (joined headers "if-range")))
  (def always {"ETag" etag "Last-Modified" last-modified "Accept-Ranges" "bytes"})
  (defn part [status first-byte length extra]
    {:status status
     :headers (merge always {"Content-Type" (content-type path) "Content-Length" (string length)} extra)
     :body (if (= method "GET") (if (zero? length) "" (file-pieces path first-byte length)))})
  (case status
    200 (part 200 0 size {})
    206 (part 206 first-byte (inc (- last-byte first-byte))
              {"Content-Range" (string/format "bytes %.0f-%.0f/%.0f" first-byte last-byte size)})
    416 {:status 416 :headers (merge always {"Content-Range" (string/format "bytes */%.0f" size)})}
    {:status status :headers always}))

(defn static
  ``Creates a middleware that serves the files of a folder, for GET and HEAD: content types, index
  files, ETag and Last-Modified with 304 and 412, single ranges with 206 and 416; large files are
  not read whole. After the folder it takes `nextmw`, a handler for paths that have no file, which
  get 404 without one; so do those that would leave the folder by "..", an encoded slash, or NUL.
  By name:

  * :prefix - the path below which the folder is served, such as "/assets". Default "".
  * :index - the file that stands for a folder. Default "index.html"; false for none.
  * :symlinks - follow symbolic links, which may lead out of the folder. Default false.
  * :hidden - serve names that begin with a dot. Default false.``
  [folder & args]
  (def {:nextmw nextmw :prefix prefix :index index :symlinks symlinks :hidden hidden}
    (merge {:prefix "" :index "index.html"}
           (options/split "kqnet/http/static" [:nextmw] [:prefix :index :symlinks :hidden] args)))
  (def root (try (os/realpath folder) ([_] "")))
  (unless (= :directory (os/stat root :mode))
    (errorf "kqnet/http/static: no folder %q" folder))
  (def prefix (string/trimr prefix "/"))
  (def nextmw (if nextmw (middleware nextmw)))
  (defn plain? [path] (or symlinks (not (through-link? root path))))
  (defn find-file
    "The path and stat of the file for a route, or :redirect for a folder that lacks its slash."
    [route]
    (when-let [below (if (string/has-prefix? prefix route) (string/slice route (length prefix)))
               [path directory?] (if (empty? below) ["" false] (native/file-path below hidden))
               stat (if (plain? path) (os/stat (string root "/" path)))]
      (case (stat :mode)
        :file (unless directory? [(string root "/" path) stat])
        :directory (if-not directory?
                     :redirect
                     (when-let [path (if index (string path (if (empty? path) "" "/") index))
                                stat (if (plain? path) (os/stat (string root "/" path)))]
                       (if (= :file (stat :mode)) [(string root "/" path) stat]))))))
  (fn static-mw [req]
    (def {:method method :route route :query-string query} req)
    (match (if (has-value? ["GET" "HEAD"] method) (find-file route))
      # With one slash in front: two would begin the name of a host.
      :redirect {:status 301
                 :headers {"Location" (string "/" (string/trim route "/") "/" (if query "?") query)}}
      [path stat] (serve-file req path stat)
      _ (if nextmw (nextmw req) {:status 404 :body "Not Found"}))))
