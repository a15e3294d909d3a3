###
### http/log.janet
###
### The log of what was answered.
###

(import spork/http :as spork)

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

(defn escaped
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
    (with-dyns [:out f] (spork/logger nextmw))
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
