###
### Statistics in the Prometheus text format.
###

(import ../init :as kqnet)
(import ../_native :as native)
(import ../show)
(import ./handler)
(import ./log)

(defn- label-value
  "Escapes a label's value for use between quotes."
  [text]
  (->> text (string/replace-all `\` `\\`) (string/replace-all `"` `\"`) (string/replace-all "\n" `\n`)))

(defn- number [x] (string/format "%.17g" x))

(defn- samples
  "Writes the samples of a metric. Each of `lines` is a tuple of labels and a value."
  [out name lines]
  # A closed listener may have the address of a new one. They share a line then.
  (def sums @{})
  (def order @[])
  (each [labels value] lines
    (unless (in sums labels) (array/push order labels))
    (put sums labels (+ value (get sums labels 0))))
  (each labels order
    (def pairs (seq [[k v] :in (partition 2 labels)] (string k `="` (label-value v) `"`)))
    (buffer/push out "kqnet_" name "{" (string/join pairs ",") "} " (number (sums labels)) "\n")))

(defn- heading
  "Writes the lines that describe a metric."
  [out name kind help]
  (buffer/push out "# HELP kqnet_" name " " help "\n# TYPE kqnet_" name " " kind "\n"))

(defn- metric
  "Writes a metric with its samples."
  [out name kind help lines]
  (heading out name kind help)
  (samples out name (sort lines)))

(defn- durations
  "Writes the histogram of the time that requests take."
  [out servers]
  (def name "http_request_duration_seconds")
  (heading out name "histogram" "Time from the end of a request's head to the end of its answer.")
  (def buckets @[])
  (def sums @[])
  (def counts @[])
  (each [address {:bounds bounds :buckets each-bucket :seconds seconds}] servers
    (var count 0)
    (eachp [i in-bucket] each-bucket
      (+= count in-bucket)
      (array/push buckets [["listener" address "le" (if (< i (length bounds)) (string (in bounds i)) "+Inf")] count]))
    (array/push sums [["listener" address] seconds])
    (array/push counts [["listener" address] count]))
  (samples out (string name "_bucket") buckets)
  (samples out (string name "_sum") sums)
  (samples out (string name "_count") counts))

(defn- exposition
  "Returns the statistics of all listeners in the Prometheus text format, a buffer."
  []
  (def out @"")
  (def all (kqnet/stats))
  (defn each-listener [f] (seq [s :in all] [["listener" (s :address)] (f s)]))
  (defn each-reason [key]
    (seq [s :in all reason :in [:error :full :rate]]
      [["listener" (s :address) "reason" (string reason)] (get-in s [key reason])]))
  (metric out "accepted_total" "counter" "Connections accepted." (each-listener |($ :accepted)))
  (metric out "active" "gauge" "Running handlers." (each-listener |($ :active)))
  (metric out "active_peak" "gauge" "The most handlers that ever ran at once." (each-listener |($ :peak)))
  (metric out "batches_total" "counter" "Batches in which a connection was accepted." (each-listener |($ :batches)))
  (metric out "aborted_total" "counter" "Connections gone before they were accepted." (each-listener |($ :aborted)))
  (metric out "pauses_total" "counter" "Pauses of accepting." (each-reason :pauses))
  (metric out "paused_seconds_total" "counter" "Time in which accepting paused." (each-reason :paused))
  (metric out "accept_errors_total" "counter" "Failures of accept."
          (seq [s :in all [name count] :pairs (s :errors)]
            [["listener" (s :address) "error" (string name)] count]))
  (def trackers (native/trackers))
  (def servers
    (seq [listener :in (native/listeners)
          :let [config (get-in trackers [listener :config])]
          :when config]
      [((kqnet/stats listener) :address) (native/http-statistics config)]))
  (defn each-server [f] (seq [[address counts] :in servers] [["listener" address] (f counts)]))
  (metric out "http_requests_total" "counter" "Requests that were answered, or whose client left first."
          (seq [[address counts] :in servers [method class count] :in (counts :requests)]
            [["listener" address "method" method "status" class] count]))
  (metric out "http_refused_total" "counter" "Requests that the server refused."
          (seq [[address counts] :in servers [status reason count] :in (counts :refused)]
            [["listener" address "status" status "reason" reason] count]))
  (metric out "http_in_flight" "gauge" "Requests that are being answered." (each-server |($ :in-flight)))
  (metric out "http_sent_bytes_total" "counter" "Bytes of responses' bodies." (each-server |($ :sent)))
  (metric out "http_received_bytes_total" "counter" "Bytes of requests' bodies." (each-server |($ :received)))
  (durations out servers)
  out)

(defn metrics
  ``Creates a middleware around `nextmw`, a handler, that serves statistics in the Prometheus text format at `path`
  (default "/metrics"), and leaves other requests to `nextmw`. There are statistics of all listeners of this VM (see
  `kqnet/stats`) and, for listeners of `http/server`:

  * kqnet_http_requests_total - requests by method ("other" for unusual ones, "unknown" for requests that could not be
    read) and status ("2xx", or "none" if the client left before the response).
  * kqnet_http_refused_total - requests that the server refused, by status and reason.
  * kqnet_http_in_flight - requests that are being answered.
  * kqnet_http_sent_bytes_total, kqnet_http_received_bytes_total - bytes of bodies.
  * kqnet_http_request_duration_seconds - a histogram of the time that requests take, from 1 ms to 10 s.

  Raises an error when `nextmw` cannot answer a request, or the path is not a string.``
  [nextmw &opt path]
  (default path "/metrics")
  (unless (string? path)
    (errorf "kqnet/http/metrics: the path must be a string, got %s" (show/value path)))
  (def nextmw (handler/check "kqnet/http/metrics" nextmw))
  (log/wrap
    (fn metrics-mw [req]
      (if (= path (in req :route))
        {:status 200
         :headers {"Content-Type" "text/plain; version=0.0.4; charset=utf-8"}
         :body (exposition)}
        (nextmw req)))
    nextmw))
