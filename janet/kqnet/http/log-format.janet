###
### The formats of log lines.
###

(def- months ["Jan" "Feb" "Mar" "Apr" "May" "Jun" "Jul" "Aug" "Sep" "Oct" "Nov" "Dec"])

(defn- format-time
  [seconds]
  (def {:year year :month month :month-day day :hours h :minutes m :seconds s} (os/date seconds))
  (string/format "%02d/%s/%d:%02d:%02d:%02d +0000" (inc day) (in months month) year h m s))

(var- last-second nil)
(var- last-text nil)

(defn- log-time
  "Returns the current time as text, which is made at most once a second."
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

(defn- escape
  "Escapes a text for use between quotes, as nginx does. The result is printable ASCII."
  [text]
  (if (peg/match safe text) text (first (peg/match unsafe text))))

(defn- header-field
  "Returns the value of a request's header, escaped for use between quotes, or \"-\"."
  [{:request req} name]
  (def value (get-in req [:headers name] "-"))
  (escape (if (array? value) (first value) value)))

(defn- plain
  [{:method method :status status :path path :seconds seconds}]
  (string (or method "-") " " (or status "-") " " (if path (escape path) "-")
          " elapsed " (string/format "%.3f" (* 1000 seconds)) "ms"))

(defn- request-line
  [{:method method :path path :version version :line line}]
  (cond
    (nil? line) (string method " " path " HTTP/" version)
    (empty? line) "-"
    line))

(defn- common
  [answer]
  (def {:remote remote :status status :bytes bytes} answer)
  (string remote " - - [" (log-time) `] "` (escape (request-line answer)) `" `
          (or status "-") " " (if (or (nil? bytes) (zero? bytes)) "-" (string/format "%.0f" bytes))))

(defn- combined
  [answer]
  (string (common answer) ` "` (header-field answer "referer") `" "` (header-field answer "user-agent") `"`))

(defn- timed
  [answer]
  (string (combined answer) " " (string/format "%.3f" (answer :seconds))))

(defn line-maker
  ``Returns the function that makes a log line from a table that describes an answer, for the value of a logger's option
  :format.``
  [format]
  (if (function? format)
    format
    (case format
      :common common
      :combined combined
      :timed timed
      plain)))
