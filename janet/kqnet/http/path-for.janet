###
### Paths made from the patterns of routes, for links and redirects.
###

(import ../show)
(import ./route-pattern :as pattern)

(defn- fail
  [path & parts]
  (error (string "kqnet/http/path-for: " (show/value path) ": " ;parts)))

(defn- encoded-byte [text] (string/format "%%%02X" (in text 0)))

(def- encoded (peg/compile ~(accumulate (any (+ '(some (+ :w (set "-_.!~*'()"))) (/ '1 ,encoded-byte))))))

(defn- encode
  "Percent-encodes a segment as JavaScript's encodeURIComponent does."
  [text]
  (in (peg/match encoded text) 0))

(defn- value-of
  [path params name]
  (def value (in params name))
  (cond
    (bytes? value) (string value)
    (and (number? value) (= value (math/floor value)) (<= (math/abs value) 9007199254740992)) (string/format "%.0f" value)
    (fail path "the value of " (show/value name) " must be a string or an integer, got " (show/value value))))

(defn path-for
  ``Returns the path, a string, that `routes` matches with `pattern` and the values of `params`, a table or struct from
  keywords to strings or integers. The values are percent-encoded, so that they arrive as they are: a slash in a value stays
  within its segment, except in a wildcard, whose value is a path.

  Raises an error for a wrong pattern, for a parameter without a value, and for a value that no request can have: an empty
  one, "." and "..", and one with control bytes.``
  [pattern params]
  (def segments (pattern/parse |(fail pattern $) pattern))
  (unless (dictionary? params)
    (fail pattern "the parameters must be a table or a struct, got " (show/value params)))
  (def parts
    (seq [segment :in segments]
      (if (string? segment)
        (encode segment)
        (let [[kind name] segment
              value (value-of pattern params name)
              path (if (= kind :wildcard) (string/join (map encode (string/split "/" value)) "/") (encode value))]
          (unless (if (= kind :wildcard) (pattern/rest-of-path path) (pattern/parameter? (or (pattern/decode path) false)))
            (fail pattern "no request's path can have the value " (show/value value) " for " (show/value name)))
          path))))
  (string "/" (string/join parts "/")))
