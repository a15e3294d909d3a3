###
### tracker.janet
###
### The handlers in flight of each listener: counting them, and waiting for them to end.
###

(import ./_native :as native)

# The VM has the table, not this module: a function that is given to a thread takes along what it
# refers to, and so would take copies of all listeners. It keeps neither listeners nor what is known
# of them, since a function in that may refer to its listener.
(defn of
  ``Returns what is known of a listener, for as long as somebody holds it, a table of:

  * :draining - true once no more connections are accepted.
  * :on-drain - a function to call then, or nil.
  * :running - a function that counts the handlers that a drain has to wait for, or nil if that is all of them.
  * :lingering - the tasks whose work is done, but whose clients are still receiving the last answer.``
  [listener]
  (def known (native/trackers))
  (or (in known listener)
      (let [new @{:lingering @{}}]
        (put known listener new)
        new)))

(defn counted
  ``Makes a handler that gives its place back when it returns. That of one that raises an error is
  found free soon after: a fiber that would see the error costs more than all else in accepting.``
  [listener handler]
  (fn kqnet-connection [conn]
    (def result (handler conn))
    (native/release listener)
    result))

(defn others
  "The tasks of a listener's handlers, but for the one that asks."
  [listener &opt me]
  (default me (fiber/root))
  (filter |(not= me $) (native/tasks listener)))

(defn running
  "How many handlers of a listener have something left to do."
  [listener]
  (def {:running running} (of listener))
  (if running (running) (length (others listener))))

(def cancelled
  "The error that a handler is cancelled with."
  "the server is draining")

(defn- cancel-all
  "Cancels handlers. Being cancelled is not an error of the program, so only other errors are printed."
  [tasks]
  (def ends (ev/chan (length tasks)))
  (def unsupervised (count |(native/cancel $ cancelled ends) tasks))
  (ev/go (fn cancelled-handlers []
           (repeat unsupervised
             (match (ev/take ends)
               [:error task] (unless (= cancelled (fiber/last-value task))
                               (protect (debug/stacktrace task (fiber/last-value task) ""))))))))

(defn drain
  "See kqnet/drain."
  [listener seconds cancel]
  (native/drain listener)
  (def tracker (of listener))
  (put tracker :draining true)
  (when-let [f (tracker :on-drain)] (f))
  (def me (fiber/root))
  (def deadline (+ (os/clock :monotonic) (or seconds math/inf)))
  (while (and (next (others listener me)) (< (os/clock :monotonic) deadline))
    (ev/sleep 0.01))
  # These have answered; at the deadline they are cut off, and do not count.
  (def lingering (in tracker :lingering))
  (cancel-all (keys lingering))
  (def left (filter |(not (in lingering $)) (others listener me)))
  (when cancel (cancel-all left))
  (length left))
