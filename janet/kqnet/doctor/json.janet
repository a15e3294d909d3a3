###
### Writes JSON (RFC 8259).
###
### spork's needs a native module, and the doctor is for installations that may be broken.
###

(defn- escape
  [byte]
  (case byte
    (chr `"`) `\"`
    (chr `\`) `\\`
    (if (< byte 32) (string/format `\u%04x` byte) (string/from-bytes byte))))

(defn encode
  "Returns the JSON of a struct, a table, a tuple, an array, a number, a boolean, nil, or text in UTF-8."
  [x]
  (cond
    (dictionary? x)
    (string "{" (string/join (seq [k :in (sort (keys x))] (string (encode (string k)) ":" (encode (x k)))) ",") "}")
    (indexed? x) (string "[" (string/join (map encode x) ",") "]")
    (and (number? x) (= x (math/floor x)) (< (math/abs x) 1e15)) (string/format "%.0f" x)
    (number? x) (string/format "%.3f" x)
    (boolean? x) (string x)
    (nil? x) "null"
    (string `"` (string/join (map escape (string x))) `"`)))
