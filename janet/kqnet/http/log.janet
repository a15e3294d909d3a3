###
### http/log.janet
###
### The log of what was answered.
###
### A logger is middleware, and middleware returns before the answer is sent. So it registers an observer
### with the connection, which is called when the answer has been sent. Requests that the server refuses
### reach no middleware: those are reported to the loggers of the handler that the server was given.
###

(import ../_native :as native)
(import ../options)
(import ./handler)

(def- longest-line
  "Bytes of a request line that could not be read to be logged."
  1024)

(defn loggers
  "The loggers that a handler is wrapped in: an array of functions that take what was answered."
  [handler]
  (get (native/trackers) handler []))

(defn wrap
  "Gives `outer`, a handler that wraps the handler `inner`, the loggers `others` and those of `inner`."
  [outer inner & others]
  (def all @[;others ;(loggers inner)])
  (if (empty? all)
    outer
    (do
      # The table is weak: `logged` refers to `all` to keep it alive.
      (defn logged [req] all (outer req))
      (put (native/trackers) logged all)
      logged)))

# Fields.

(defn- remote-host
  [conn]
  (match (protect (net/peername conn))
    [true [address port]] address
    # A unix socket, or a client that is gone.
    "-"))

(def- months ["Jan" "Feb" "Mar" "Apr" "May" "Jun" "Jul" "Aug" "Sep" "Oct" "Nov" "Dec"])

(defn- format-time
  [seconds]
  (def {:year year :month month :month-day day :hours h :minutes m :seconds s} (os/date seconds))
  (string/format "%02d/%s/%d:%02d:%02d:%02d +0000" (inc day) (in months month) year h m s))

(var- last-second nil)
(var- last-text nil)

(defn- log-time
  "The current time as text, which is made once a second."
  []
  (def now (os/time))
  (unless (= now last-second)
    (set last-second now)
    (set last-text (format-time now)))
  last-text)

(def- safe (peg/compile '(* (any (range " !" "#[" "]~")) -1)))

(def- unsafe
  (peg/compile
    ~{:escaped (+ (/ '(set `"\`) ,|(string `\` $))
                  (/ '(+ (range "\0\x1F") (range "\x7F\xFF")) ,|(string/format "\\x%02X" (in $ 0))))
      :main (% (any (+ '(some (range " !" "#[" "]~")) :escaped)))}))

(defn- escaped
  "Escapes a text for use between quotes, as nginx does: the result is printable ASCII."
  [text]
  (if (peg/match safe text) text (first (peg/match unsafe text))))

(defn- log-field
  "A header's value, fit for a field in quotes."
  [{:request req} name]
  (def value (get-in req [:headers name] "-"))
  (escaped (if (array? value) (first value) value)))

# Formats.

(defn- plain-format
  [{:method method :status status :path path :seconds seconds}]
  (string (or method "-") " " (or status "-") " " (if path (escaped path) "-")
          " elapsed " (string/format "%.3f" (* 1000 seconds)) "ms"))

(defn- request-line
  [{:method method :path path :version version :line line}]
  (cond
    (nil? line) (string method " " path " HTTP/" version)
    (empty? line) "-"
    line))

(defn- common-format
  [answer]
  (def {:remote remote :status status :bytes bytes} answer)
  (string remote " - - [" (log-time) `] "` (escaped (request-line answer)) `" `
          (or status "-") " " (if (or (nil? bytes) (zero? bytes)) "-" (string/format "%.0f" bytes))))

(defn- combined-format
  [answer]
  (string (common-format answer) ` "` (log-field answer "referer") `" "` (log-field answer "user-agent") `"`))

(defn- timed-format
  [answer]
  (string (combined-format answer) " " (string/format "%.3f" (answer :seconds))))

(def- formats {:common common-format :combined combined-format :timed timed-format})

# Telling.

(defn- of-line
  "Makes the table for a request that could not be read, from the bytes of it that came."
  [conn buf]
  (def text (string/triml buf "\r\n"))
  (def end (or (peg/find '(set "\r\n") text) (length text)))
  (def line (string/slice text 0 (min end longest-line)))
  (def [method path] (or (peg/match '(* '(some (range "AZ" "az" "--")) " " '(some (if-not " " 1))) line) []))
  @{:line line :remote (remote-host conn) :method method :path path})

(defn- told
  "Makes the table for a format. The request may have been changed since `method` and `path` were noted."
  [req method path remote status bytes seconds]
  @{:request req :method method :path path :version (in req :http-version "1.1") :remote remote
    :status status :bytes bytes :seconds seconds})

(defn tell
  "Tells the observers of a request how it was answered."
  [[status bytes seconds observers]]
  (each [write req method path remote] observers
    (write (told req method path remote status bytes seconds))))

(defn answered
  ``Ends the account of the request that was answered last, and has it logged, once. Must be called
  wherever an answer ends, for whatever reason.``
  [[conn http buf _ tracker] state]
  (when-let [answer (native/http-close-account http)]
    (def [status bytes seconds observers] answer)
    (cond
      observers (tell answer)
      # The handler had it, and its loggers did not see it.
      (state :request) nil
      (let [req (state :refused)]
        (each write (in tracker :loggers)
          (write
            (if (table? req)
              (told req (in req :method) (in req :path) (remote-host conn) status bytes seconds)
              (merge (of-line conn (if req buf "")) {:status status :bytes bytes :seconds seconds}))))))))

(defn- writer
  "Makes a function that writes the line of an answer, and raises no error."
  [f line]
  (var failing false)
  (fn write-log [answer]
    (try
      (do
        (xprint f (line answer))
        (when (= :core/file (type f)) (file/flush f))
        (set failing false))
      ([err]
        (unless failing
          (set failing true)
          (protect (eprintf "kqnet/http/logger: cannot write the log: %V" err)))))))

(defn logger
  ``Creates a logging middleware around `nextmw`, a handler. For each request that reaches it, it
  prints a line after the answer was sent, with the status that was sent; for a handler that raised an
  error, that is 500. A logger that is the handler given to `server` also prints a line for each answer
  that the server gives by itself, such as 400, 408, 413 or 431. It may be wrapped in `metrics` and
  `static`, but in no other middleware, for this to work. By name:

  * :format - nil for the line that `spork/http` prints (method, status, path, elapsed time),
    :common for the Common Log Format, :combined for that with referrer and user agent, :timed for
    the combined format and the seconds that the answer took, or a function that makes the line. The
    function gets a table of :request (nil for a request that could not be read), :method, :path,
    :version, :remote (the client's address), :status (nil if nothing was sent), :bytes (how many of
    the body were sent), :seconds, and, for a request that could not be read, :line (its first line).
  * :out - a file to print to. Default: (dyn *out*), else stdout.

  A line that cannot be written is lost, without any effect on the answer; stderr says so once.``
  [nextmw & args]
  (def {:format format :out out} (options/split "kqnet/http/logger" [] [:format :out] args))
  (when (function? format)
    (native/check-function "kqnet/http/logger: :format" "one argument, the answer" format 1))
  (def nextmw (handler/check "kqnet/http/logger" nextmw))
  (def write (writer (or out (dyn :out) stdout)
                     (if (function? format) format (get formats format plain-format))))
  (defn logger-mw [req]
    (def {:method method :path path :connection conn} req)
    (if-let [http (native/http-of conn)]
      # Asked for now, since the address of a client that has left cannot be found out.
      (let [remote (if format (or (native/http-peer http) (native/http-peer http (remote-host conn))))
            observers (native/http-observe http (in req :request-number) @[])]
        # A request may pass here more than once, or in another task after it is over.
        (unless (or (nil? observers)
                    (and (next observers) (find |(= write (first $)) observers)))
          (array/push observers [write req method path remote]))
        (nextmw req))
      # On a server other than that of kqnet.
      (let [start (os/clock :monotonic)
            response (nextmw req)
            {:status status :body body} (if (dictionary? response) response {})]
        (write (told req method path (remote-host conn) (or status 200) (if (bytes? body) (length body))
                     (- (os/clock :monotonic) start)))
        response)))
  (wrap logger-mw nextmw write))
