###
### Redirects, to locations that may have come from a client.
###

(import ../options)
(import ../show)
(import ../signature)

(defn- fail
  [& parts]
  (error (string "kqnet/http/redirect: " ;parts)))

(defn- encoded-byte [text] (string/format "%%%02X" (in text 0)))

(def- encoded
  "Percent-encodes what a URL cannot have (RFC 3986, 2). What is encoded already stays."
  (peg/compile ~(accumulate
                  (any (+ '(some (+ (range "az" "AZ" "09") (set "-._~:/?#[]@!$&'()*+,;=")))
                          '(* "%" :h :h)
                          (/ '1 ,encoded-byte))))))

(defn- location-of
  ``Returns `text` as the value of a Location header. Browsers take two slashes for the beginning of another host's name,
  and a backslash for a slash.``
  [text]
  (def [url] (peg/match encoded text))
  (if (string/has-prefix? "//" url) (string "/" (string/triml url "/")) url))

(defn- leaves?
  "Whether a location has a scheme, and so may lead to another host."
  [location]
  (peg/match '(* (range "az" "AZ") (any (+ (range "az" "AZ" "09") (set "+-."))) ":") location))

(defn redirect
  ``Returns a response that sends the client to `location`, a string: a path such as "/users/7", a path relative to that of
  the request, or a URL. `status` is 301, 302, 303, 307 or 308. Default 303, with which the client always uses GET next.
  With 307 and 308 it repeats its method and body. 301 and 308 are permanent, and browsers remember them.

  Bytes that a URL cannot have, such as spaces, line breaks and all beyond ASCII, are percent-encoded. What is already encoded
  stays as it is. Several slashes at the beginning become one, since "//host" would lead to another host. By name:

  * :fallback - the location that is used when `location` leads to another host, is empty, or is not a string. Give it
    whenever `location` comes from the client, such as in `(get-in req [:query "next"])`. Otherwise anyone can make links to
    this site that lead elsewhere. Default: none.

  Raises an error for a wrong status, and without :fallback for a location that is empty or not a string.``
  [location & args]
  (def {:status status :fallback fallback}
    (merge {:status 303} (options/split "kqnet/http/redirect" [:status] [:fallback] args)))
  (when (and (number? location) (bytes? status))
    (fail "the location comes first, and then the status: (http/redirect " (show/value status) " " (show/value location) ")"))
  (unless (index-of status [301 302 303 307 308])
    (fail "the status must be 301, 302, 303, 307 or 308, got " (show/value status)))
  (def usable? (and (bytes? location) (not (empty? location))))
  (unless (or usable? fallback)
    (fail "the location must be a string that is not empty, got " (show/value location)))
  (def to (if usable? (location-of location)))
  {:status status
   :headers {"Location" (if (and fallback (or (nil? to) (leaves? to))) (location-of fallback) to)}})
(signature/show redirect [:status] [:fallback])
