###
### Assertions: they raise what the running test then reports.
###

(def- patience
  "Seconds to wait for a condition."
  20)

(defn fail
  "Fails the running test, with what was expected, what came instead, and what it was about."
  [expected got &opt what]
  (error {:expected expected :got got :what what}))

(defn- plain
  "The same value with tuples instead of arrays."
  [x]
  (if (indexed? x) (tuple ;(map plain x)) x))

(defn same
  "Fails unless two values are equal. Arrays count as tuples."
  [expected got &opt what]
  (unless (deep= (plain expected) (plain got)) (fail expected got what)))

(defn check
  "Fails unless the value is truthy, and returns it."
  [value what]
  (if value value (fail what value)))

(defn raised
  "The error that a call raises, or :nothing."
  [thunk]
  (try (do (thunk) :nothing) ([err] err)))

(defmacro raises
  "Fails unless the body raises this value."
  [expected & body]
  ~(,same ,expected (,raised (fn [] ,;body)) "an error"))

(defn wait-until
  "Waits until a function returns a truthy value, and returns it."
  [what ready?]
  (def end (+ patience (os/clock :monotonic)))
  (var value (ready?))
  (while (not value)
    (when (> (os/clock :monotonic) end) (fail what (string "not within " patience " s")))
    (ev/sleep 0.002)
    (set value (ready?)))
  value)

(defn settles
  "Waits until a function returns this value, and collects garbage in the meantime."
  [expected get-value what]
  (def end (+ patience (os/clock :monotonic)))
  (defn value []
    (gccollect)
    (get-value))
  (var last (value))
  (while (not (deep= (plain expected) (plain last)))
    (when (> (os/clock :monotonic) end) (fail expected last what))
    (ev/sleep 0.002)
    (set last (value))))

(defn skip
  "Ends the running test as skipped."
  [reason]
  (error {:skip reason}))
