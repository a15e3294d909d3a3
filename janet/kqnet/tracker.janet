###
### The tracker of a listener: what is known of its running handlers, and waiting for them to end.
###

(import ./_native :as native)

# The table of trackers belongs to the VM and not to this module. A function that is given to a thread takes along what it
# refers to, and so would take copies of all listeners. The table keeps neither listeners nor trackers alive, since a
# function in a tracker may refer to its listener.
(defn of
  ``Returns the tracker of a listener. It exists for as long as somebody holds it, and is a table of:

  * :draining - true once no more connections are accepted.
  * :on-drain - a function to call when a drain begins, or nil.
  * :running - a function that returns how many handlers a drain has to wait for, or nil if it has to wait for all.
  * :lingering - a table whose keys are the tasks whose work is done, but whose clients are still receiving the last
    response.
  * :websockets - a table of the open WebSockets, with a function to call with each when a drain begins.
  * :config, :loggers - the configuration of an HTTP server and the loggers of its handler (http/connection.janet).``
  [listener]
  (def known (native/trackers))
  (or (in known listener)
      (let [new @{:lingering @{} :websockets @{}}]
        (put known listener new)
        new)))

(defn counted
  ``Returns `handler` as a handler that gives its place back when it returns. If the handler raises an error, a
  sweep gives its place back soon after: catching the error here would need a second fiber, which costs more than
  accepting.``
  [listener handler]
  (fn kqnet-connection [conn]
    (def result (handler conn))
    (native/release listener)
    result))

(defn others
  "Returns the tasks of a listener's handlers except the one that asks, which is `me`."
  [listener &opt me]
  (default me (fiber/root))
  (filter |(not= me $) (native/tasks listener)))

(defn running
  "Returns how many handlers of a listener have something left to do."
  [listener]
  (def {:running running} (of listener))
  (if running (running) (length (others listener))))

(def cancelled
  "The error that a handler is cancelled with."
  "the server is draining")

(defn- cancel-all
  "Cancels handlers. Being cancelled is not an error of the program, so it is not printed as one, but other errors are."
  [tasks]
  (def ends (ev/chan (length tasks)))
  (def unsupervised (count |(native/cancel $ cancelled ends) tasks))
  (ev/go (fn cancelled-handlers []
           (repeat unsupervised
             (match (ev/take ends)
               [:error task] (unless (= cancelled (fiber/last-value task))
                               (protect (debug/stacktrace task (fiber/last-value task) ""))))))))

(defn drain
  "Stops accepting from a listener and waits for its handlers, as `kqnet/drain` describes."
  [listener seconds cancel]
  (native/drain listener)
  (def tracker (of listener))
  (put tracker :draining true)
  (when-let [f (tracker :on-drain)] (f))
  (def me (fiber/root))
  (def deadline (+ (os/clock :monotonic) (or seconds math/inf)))
  (while (and (next (others listener me)) (< (os/clock :monotonic) deadline))
    (ev/sleep 0.01))
  # Lingering tasks have answered already. At the deadline they are cut off, and they do not count.
  (def lingering (in tracker :lingering))
  (cancel-all (keys lingering))
  (def left (filter |(not (in lingering $)) (others listener me)))
  (when cancel (cancel-all left))
  (length left))

(defn drain-all
  "Drains several listeners at the same time, and cancels the handlers that are left. Returns how many that were."
  [listeners seconds]
  (def ends (ev/chan (length listeners)))
  (each listener listeners
    (ev/go (fn drain-one []
             (def [ok left] (protect (drain listener seconds true)))
             (ev/give ends (if ok left 0)))))
  (sum (seq [_ :in listeners] (ev/take ends))))
