###
### Looking up the connection of a request, for the functions that take one.
###

(import ../_native :as native)
(import ../show)
(import ./errors)

(defn check
  "Raises an error in the name of `who` unless `x` is a dictionary, as a request is."
  [who x]
  (unless (dictionary? x)
    (errorf "%s: expected a request, got %s" who (show/value x))))

(defn connection-of
  "Returns the open connection of a request. Raises an error in the name of `who` if it has ended."
  [who {:connection conn}]
  (or (native/http-of conn)
      (errorf "%s: %s" who errors/over)))
