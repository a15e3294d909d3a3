###
### How often Janet collects garbage while many connections are open.
###

(def- garbage
  ``How many bytes of garbage may stay uncollected for each open connection: about twice what a connection itself takes. With less
  there would be more collections, each of which takes some 20 ms with 10,000 connections.``
  4096)

(def step
  "How many connections more or less make a difference."
  64)

(def due
  "The rest of the number of open connections after division by `step` at which to look. With few clients, 0 would come often."
  32)

(defn pacer
  ``Returns a function. Call it with the number of open connections when that is `due`. Janet collects after every
  4 MiB of allocation, unless the program sets another interval, and each collection visits every live value. With
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
      (set set-here (max least (* 1.25 needed)))
      (gcsetinterval set-here))))
