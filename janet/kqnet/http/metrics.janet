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
  "Writes the histogram of the time that requests take. Each of `servers` is a tuple of labels and statistics."
  [out servers]
  (def name "http_request_duration_seconds")
  (heading out name "histogram" "Time from the end of a request's head to the end of its answer.")
  (def buckets @[])
  (def sums @[])
  (def counts @[])
  (each [labels {:bounds bounds :buckets each-bucket :seconds seconds}] servers
    (var count 0)
    (eachp [i in-bucket] each-bucket
      (+= count in-bucket)
      (array/push buckets [[;labels "le" (if (< i (length bounds)) (string (in bounds i)) "+Inf")] count]))
    (array/push sums [labels seconds])
    (array/push counts [labels count]))
  (samples out (string name "_bucket") buckets)
  (samples out (string name "_sum") sums)
  (samples out (string name "_count") counts))

(defn- of-this-process
  ``Returns the statistics of the listeners of this VM and of their HTTP servers. Both are arrays of tuples of labels and
  statistics.``
  []
  (def trackers (native/trackers))
  [(seq [one :in (kqnet/stats)] [["listener" (one :address)] one])
   (seq [listener :in (native/listeners)
         :let [config (get-in trackers [listener :config])]
         :when config]
     [["listener" ((kqnet/stats listener) :address)] (native/http-statistics config)])])

(defn- of-all-workers
  "Returns the same for all workers of kqnet-serve, or nil if this process is none of them."
  []
  # The handlers that have ended by an error are found now.
  (kqnet/stats)
  (when-let [all (native/shared-statistics)]
    (defn labels [one] ["worker" (one :worker) "listener" (one :address)])
    [(seq [one :in all] [(labels one) one])
     (seq [one :in all :when (one :http)] [(labels one) (one :http)])]))

(defn- exposition
  "Returns the statistics of all listeners in the Prometheus text format, a buffer."
  []
  (def out @"")
  (def [listeners servers] (or (of-all-workers) (of-this-process)))
  (defn each-listener [f] (seq [[labels one] :in listeners] [labels (f one)]))
  (defn each-reason [key]
    (seq [[labels one] :in listeners reason :in [:error :full :rate]]
      [[;labels "reason" (string reason)] (get-in one [key reason])]))
  (metric out "accepted_total" "counter" "Connections accepted." (each-listener |($ :accepted)))
  (metric out "active" "gauge" "Running handlers." (each-listener |($ :active)))
  (metric out "active_peak" "gauge" "The most handlers that ever ran at once." (each-listener |($ :peak)))
  (metric out "batches_total" "counter" "Batches in which a connection was accepted." (each-listener |($ :batches)))
  (metric out "aborted_total" "counter" "Connections gone before they were accepted." (each-listener |($ :aborted)))
  (metric out "pauses_total" "counter" "Pauses of accepting." (each-reason :pauses))
  (metric out "paused_seconds_total" "counter" "Time in which accepting paused." (each-reason :paused))
  (metric out "accept_errors_total" "counter" "Failures of accept."
          (seq [[labels one] :in listeners [name count] :pairs (one :errors)]
            [[;labels "error" (string name)] count]))
  (defn each-server [f] (seq [[labels counts] :in servers] [labels (f counts)]))
  (metric out "http_requests_total" "counter" "Requests that were answered, or whose client left first."
          (seq [[labels counts] :in servers [method class count] :in (counts :requests)]
            [[;labels "method" method "status" class] count]))
  (metric out "http_refused_total" "counter" "Requests that the server refused."
          (seq [[labels counts] :in servers [status reason count] :in (counts :refused)]
            [[;labels "status" status "reason" reason] count]))
  (metric out "http_in_flight" "gauge" "Requests that are being answered." (each-server |($ :in-flight)))
  (metric out "http_sent_bytes_total" "counter" "Bytes of responses' bodies." (each-server |($ :sent)))
  (metric out "http_received_bytes_total" "counter" "Bytes of requests' bodies." (each-server |($ :received)))
  (durations out servers)
  out)

(defn metrics
  ``Creates a middleware around `nextmw`, a handler, that serves statistics in the Prometheus text format at `path`
  (default "/metrics"), and leaves other requests to `nextmw`. There are statistics of all listeners of this VM (see
  `kqnet/stats`) and, for listeners of `http/server`:

  * `kqnet_http_requests_total` - requests by method ("other" for unusual ones, "unknown" for requests that could not be
    read) and status ("2xx", or "none" if the client left before the response).
  * `kqnet_http_refused_total` - requests that the server refused, by status and reason.
  * `kqnet_http_in_flight` - requests that are being answered.
  * `kqnet_http_sent_bytes_total`, `kqnet_http_received_bytes_total` - bytes of bodies.
  * `kqnet_http_request_duration_seconds` - a histogram of the time that requests take, from 1 ms to 10 s.

  In a worker of kqnet-serve, there are the statistics of all workers, whichever of them answers. The label `worker` is the
  number of a worker's place, from 1. A new worker takes the first place that is free, and goes on with its counts, so the
  counts only grow until the supervisor ends. What is a number of things (`kqnet_active`, `kqnet_http_in_flight`) is 0 when a
  worker has ended, however it did. A pause of accepting is in the seconds once it is over, and a reason has at most 96
  bytes. At most 16 listeners of a worker and 256 workers are counted.

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
