###
### The log of what was answered.
###
### A logger is middleware, and middleware returns before the response is sent. So a logger registers an observer with
### the connection, which is called when the response has been sent. Requests that the server refuses reach no
### middleware. They are reported to the loggers of the handler that the server was given.
###

(import ../_native :as native)
(import ../options)
(import ../signature)
(import ./client)
(import ./handler)
(import ./log-format)

(def- max-line
  "How many bytes of a request line that could not be read are logged."
  1024)

(defn loggers
  ``Returns the loggers that a handler is wrapped in: an array of functions, each of which takes the table that
  describes an answer (see `logger`) and writes a line.``
  [handler]
  (get (native/trackers) handler []))

(defn wrap
  "Returns `outer` as a handler whose loggers are `others` and those of `inner`, the handler that it wraps."
  [outer inner & others]
  (def all @[;others ;(loggers inner)])
  (if (empty? all)
    outer
    (do
      # The table is weak, so `logged` refers to `all` to keep it alive.
      (defn logged [req] all (outer req))
      (put (native/trackers) logged all)
      logged)))

(defn- unreadable
  "Makes the table that describes the answer to a request that could not be read, from the bytes that came of it."
  [remote buf]
  (def text (string/triml buf "\r\n"))
  (def end (or (peg/find '(set "\r\n") text) (length text)))
  (def line (string/slice text 0 (min end max-line)))
  (def [method path] (or (peg/match '(* '(some (range "AZ" "az" "--")) " " '(some (if-not " " 1))) line) []))
  @{:line line :remote remote :method method :path path})

(defn- description
  ``Makes the table that describes an answer. The request may have been changed since `method` and `path` were taken
  from it.``
  [req method path remote status bytes seconds]
  @{:request req :method method :path path :version (in req :http-version "1.1") :remote remote
    :status status :bytes bytes :seconds seconds})

(defn tell-observers
  "Tells the observers of a request how it was answered."
  [[status bytes seconds observers]]
  (each [write req method path remote] observers
    (write (description req method path remote status bytes seconds))))

(defn report-answer
  ``Closes the account of the request that was answered last, and has it logged unless that was done before. Must be
  called wherever an answer ends, for whatever reason.``
  [[conn http buf _ tracker] state]
  (when-let [answer (native/http-close-account http)]
    (def [status bytes seconds observers] answer)
    (cond
      observers (tell-observers answer)
      # The handler had the request, and its loggers did not see it.
      (native/http-running-request http) nil
      (let [req (state :refused)
            remote (or (if (table? req) (client/client-address req) (client/peer-address http conn)) "-")]
        (each write (in tracker :loggers)
          (write
            (if (table? req)
              (description req (in req :method) (in req :path) remote status bytes seconds)
              (merge (unreadable remote (if req buf "")) {:status status :bytes bytes :seconds seconds}))))))))

(defn- writer
  "Makes a function that writes the line of an answer to `file`, and raises no error."
  [file line]
  (var failing false)
  (fn write-log [answer]
    (try
      (do
        (xprint file (line answer))
        (when (= :core/file (type file)) (file/flush file))
        (set failing false))
      ([err]
        (unless failing
          (set failing true)
          (protect (eprintf "kqnet/http/logger: cannot write the log: %V" err)))))))

(defn logger
  ``Creates a logging middleware around `nextmw`, a handler. For each request that reaches it, it prints a line after the
  response was sent, with the status that was sent. For a handler that raised an error, that is 500. If the logger is
  the handler given to `server`, it also prints a line for each response that the server makes itself, such as 400, 408,
  413 or 431. For this, it may be wrapped in `metrics` and `static`, but in no other middleware. By name:

  * :format - nil for the line that `spork/http` prints (method, status, path, elapsed time), :common for the Common Log
    Format, :combined for that with referrer and user agent, :timed for the combined format and the seconds that the
    answer took, or a function that makes the line.
  * :out - a file or a buffer to print to, or a function that is called with each line, which ends with a line break.
    Default: `(dyn *out*)`, or else stdout.

  The function of :format gets a table of:

  * :request - the request, or nil if it could not be read.
  * :method, :path - strings, or nil if they could not be read.
  * :version - the version of HTTP, such as "1.1".
  * :remote - the client's address (`client-address`), a string, or "-" if it is not known.
  * :status - the status, a number, or nil if nothing was sent. It is 499 if `cancel-when-gone` has cancelled the handler.
  * :bytes - how many bytes of the body were sent.
  * :seconds - how long it took from the end of the head to the end of the response.
  * :line - the first line of a request that could not be read.

  A line that cannot be written is lost, without any effect on the response, and stderr says so once. Raises an error for
  wrong options.``
  [nextmw & args]
  (when (keyword? nextmw)
    (error (string "kqnet/http/logger: the handler comes first, as in (http/logger handler " (describe nextmw)
                   " …), or, as the middleware of a group, |(http/logger $ " (describe nextmw) " …)")))
  (def {:format format :out out} (options/split "kqnet/http/logger" [] [:format :out] args))
  (when (function? format)
    (native/check-function "kqnet/http/logger: :format" "one argument, the answer" format 1))
  (def nextmw (handler/check "kqnet/http/logger" nextmw))
  (def write (writer (or out (dyn :out) stdout) (log-format/line-maker format)))
  (defn logger-mw [req]
    (def {:method method :path path :connection conn} req)
    (if-let [http (native/http-of conn)]
      # The address of a client that has left cannot be found out, so it is asked for now.
      (let [remote (if format (or (client/client-address req) "-"))
            observers (native/http-observe http (in req :request-number) @[])]
        # A request may pass here more than once, or in another task after it is over.
        (unless (or (nil? observers)
                    (and (next observers) (find |(= write (first $)) observers)))
          (array/push observers [write req method path remote]))
        (nextmw req))
      # This server is not one of kqnet's.
      (let [start (os/clock :monotonic)
            response (nextmw req)
            {:status status :body body} (if (dictionary? response) response {})]
        (write (description req method path (or (client/client-address req) "-") (or status 200) (if (bytes? body) (length body))
                            (- (os/clock :monotonic) start)))
        response)))
  (wrap logger-mw nextmw write))
(signature/show logger [] [:format :out])
