###
### The patterns of routes, such as "/users/:id", and the values that a request's path has for their parameters.
###

(def- bytes-by-digits
  "Every byte as a string, by its two hexadecimal digits in any case."
  (let [digits (partition 1 "0123456789abcdefABCDEF")]
    (table/to-struct
      (tabseq [high :in digits low :in digits]
        (string high low) (string/from-bytes (scan-number (string high low) 16))))))

# A control byte could end a file's name or a line where the text is used.
(def- percent-decoded
  (peg/compile ~{:control (+ (* (set "01") :h) (* "7" (set "fF")))
                 :main (* (accumulate (any (+ '(some (if-not "%" 1))
                                              (* "%" (/ '(if-not :control (2 :h)) ,bytes-by-digits)))))
                          -1)}))

(defn decode
  ``Percent-decodes a segment of a path, or several of them. Returns nil if a "%" is not followed by two hexadecimal
  digits, or if an encoded byte is a control byte.``
  [text]
  (if (string/find "%" text)
    (if-let [[decoded] (peg/match percent-decoded text)] decoded)
    text))

(def- dot-segments (peg/compile '(* (+ (> -1 "/") (not (> -1 1))) "." (? ".") (+ "/" -1))))

(defn- dot-segment?
  "Whether a decoded path has a segment . or .. in it."
  [path]
  (and (string/find "." path) (peg/find dot-segments path)))

(defn parameter?
  ``Whether a segment, decoded or false, can be the value of a parameter. Clients resolve dot segments before they send a
  path.``
  [segment]
  (not (or (= false segment) (= "" segment) (= "." segment) (= ".." segment))))

(defn rest-of-path
  ``Returns the value of a wildcard, the decoded rest of a path, or nil if the path cannot match: because of a malformed
  escape, a dot segment, or an encoded slash, which could not be told from a slash between segments.``
  [encoded]
  (unless (or (string/find "%2F" encoded) (string/find "%2f" encoded))
    (when-let [decoded (decode encoded)]
      (unless (dot-segment? decoded) decoded))))

(def- parameter-name (peg/compile '(* (some (+ :w (set "-_"))) -1)))

(def- wrong-in-pattern
  "What a path of a request cannot have."
  (peg/compile '(+ (range "\0 ") (set "?#\x7F"))))

(defn- named
  "Returns the name of a parameter, a keyword. Calls `fail` if `text` is not a name."
  [fail segment text]
  (when (empty? text) (fail "the parameter \":\" has no name"))
  (unless (peg/match parameter-name text)
    (fail (string (string/format "the name of the parameter %q may have letters, digits, - and _" segment)
                  "; write %3A or %2A for a : or * of the path")))
  (keyword text))

(defn- parse-segment
  "Returns a literal as its decoded text, and a parameter or wildcard as a tuple of its kind and name."
  [fail segment last?]
  (cond
    (string/has-prefix? ":" segment) [:parameter (named fail segment (string/slice segment 1))]
    (string/has-prefix? "*" segment)
    (do
      (unless last? (fail (string/format "the wildcard %q must be at the end" segment)))
      [:wildcard (if (= "*" segment) :* (named fail segment (string/slice segment 1)))])
    (and (empty? segment) (not last?)) (fail "the pattern has an empty segment")
    (let [text (decode segment)]
      (cond
        (nil? text) (fail (string/format "%q has a malformed escape or a control byte" segment))
        (or (= "." text) (= ".." text)) (fail "no client sends a path with a segment . or ..")
        text))))

(defn parse
  ``Parses a pattern. Returns an array of its segments: strings, and tuples of :parameter or :wildcard and a name. Calls
  `fail`, which must not return, with the reason for which a pattern is wrong.``
  [fail pattern]
  (unless (string? pattern) (fail (string/format "the pattern must be a string, got %q" pattern)))
  (unless (string/has-prefix? "/" pattern) (fail "the pattern must begin with a slash"))
  (when-let [at (peg/find wrong-in-pattern pattern)]
    (fail (string/format "the pattern has the character %q, which no path has" (string/slice pattern at (inc at)))))
  (def texts (string/split "/" (string/slice pattern 1)))
  (def segments (map |(parse-segment fail $ (= $1 (dec (length texts)))) texts (range (length texts))))
  (def names (seq [segment :in segments :when (tuple? segment)] (last segment)))
  (eachp [i name] names
    (when (index-of name (array/slice names (inc i)))
      (fail (string/format "the parameter %q is there twice" name))))
  segments)
