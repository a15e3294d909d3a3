###
### http/metrics.janet
###
### Statistics in the Prometheus text format.
###

(import ../init :as kqnet)
(import ./log)

(defn- metric
  [out name kind help lines]
  (buffer/push out "# HELP kqnet_" name " " help "\n# TYPE kqnet_" name " " kind "\n")
  # One line for listeners with the same address, one of which is closed.
  (def sums @{})
  (each [labels value] lines (put sums labels (+ value (get sums labels 0))))
  (each labels (sort (keys sums))
    (def pairs (seq [[k v] :in (partition 2 labels)]
                 (string k `="` (string/replace-all "\n" `\n` (log/escaped v)) `"`)))
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
