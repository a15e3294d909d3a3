###
### How often Janet collects garbage while many connections are open.
###

(def- garbage
  "How many bytes of garbage may stay uncollected for each open connection."
  1024)

(defn pacer
  ``Makes a function to call with the number of open connections when it has changed. Janet collects each time that
  so many bytes were allocated, 4 MiB unless the program says otherwise, and looks through everything that lives. With
  thousands of idle connections that would be a good part of the cost of each request. So the interval grows with their
  number, and shrinks again unless somebody else has set it.``
  []
  (def least (gcinterval))
  (var set-here nil)
  (fn pace-collections [open]
    (def interval (gcinterval))
    (def needed (* garbage open))
    (when (or (> needed interval)
              (and (= interval set-here) (> interval least) (< (* 8 needed) interval)))
      (set set-here (max least (* 2 needed)))
      (gcsetinterval set-here))))
