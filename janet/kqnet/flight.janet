###
### flight.janet
###
### The handlers in flight of each listener: counting them, and waiting for them to end.
###

(import ./_native :as native)

(def- known (table/weak-keys 4))

(defn of
  ``Returns what is known of a listener's handlers, a table of:

  * :tasks - a table with the handlers' tasks (root fibers) as keys.
  * :drains - channels to give to when a handler has ended.
  * :draining - true once no more connections are accepted.
  * :on-drain - a function to call then, or nil.``
  [listener]
  (or (in known listener)
      (let [new @{:tasks @{} :drains @[]}]
        (put known listener new)
        new)))

(defn enter
  "A handler begins in the running task. `what` is kept beside it, and must be truthy."
  [flight what]
  (put (flight :tasks) (fiber/root) what))

(defn leave
  "A handler has ended, in whatever way."
  [listener {:tasks tasks :drains drains}]
  (put tasks (fiber/root) nil)
  (native/release listener)
  (each drain drains (ev/give drain true)))

(defn counted
  "Makes a handler that is in flight for as long as it runs."
  [listener handler]
  (def flight (of listener))
  (fn kqnet-connection [conn]
    (enter flight true)
    (def body (fiber/new (fn [] (handler conn)) :ti))
    (def result (resume body))
    (leave listener flight)
    (if (= :dead (fiber/status body)) result (propagate result body))))

(defn- others
  "How many handlers run, not counting the one that asks."
  [tasks]
  (- (length tasks) (if (in tasks (fiber/root)) 1 0)))

(def cancelled
  "The error that a handler is cancelled with."
  "the server is draining")

(defn drain
  "See kqnet/drain."
  [listener seconds cancel]
  (def flight (of listener))
  (def {:tasks tasks :drains drains} flight)
  (put flight :draining true)
  (native/close listener)
  (when-let [f (flight :on-drain)] (f))
  (def ended (ev/chan 64))
  (def me (fiber/root))
  (defn wait []
    # In a fiber of its own where there is a deadline, so `others` would not know the task that asks.
    (while (pos? (- (length tasks) (if (in tasks me) 1 0)))
      (ev/take ended)))
  (array/push drains ended)
  (defer (array/remove drains (find-index |(= $ ended) drains))
    (if seconds
      (try (ev/with-deadline seconds (wait))
        ([err fib] (unless (= err "deadline expired") (propagate err fib))))
      (wait)))
  (def left (others tasks))
  (when cancel
    (each task (keys tasks)
      (unless (= task me) (ev/cancel task cancelled))))
  left)
