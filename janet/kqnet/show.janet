###
### How errors show values.
###

(def- max-shown
  "The most bytes of a value that an error shows."
  200)

(defn value
  "Returns a value as errors show it, on one line. A long value is cut."
  [x]
  (if (and (bytes? x) (> (length x) max-shown))
    (string/format "%s… (%d bytes)" (string/trimr (string/format "%q" (string/slice x 0 max-shown)) `"`) (length x))
    # A collection may need a longer text than Janet can make.
    (let [[fits text] (protect (string/format "%q" x))]
      (cond
        (not fits) (describe x)
        (> (length text) (* 2 max-shown)) (string (string/slice text 0 (* 2 max-shown)) "…")
        text))))
