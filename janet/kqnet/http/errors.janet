###
### The errors that end a connection's requests: the request is refused, is over, or its client is gone.
###

(def over
  "The error for a request whose connection has ended."
  "this request is over: its connection has ended")

(defn reject
  ``Makes the error for a request that is refused while its handler runs, from a tuple of the status and the reason.
  `detail` is told to the client too. The reasons are few, so that refusals can be counted by them.``
  [[status reason] &opt detail]
  (if detail
    [:kqnet/reject status reason detail]
    [:kqnet/reject status reason]))

(defn reject?
  "Returns whether an error was made by `reject`."
  [err]
  (and (tuple? err) (= :kqnet/reject (first err))))

(defn gone
  "Makes the error for a client that is gone. `what` says how that was noticed."
  [what]
  [:kqnet/gone what])

(defn gone?
  "Returns whether an error says that the client is gone."
  [err]
  (and (tuple? err) (= :kqnet/gone (first err))))
