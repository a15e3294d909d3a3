###
### Cookies: setting and deleting them in a response, and reading them from a request (RFC 6265bis).
###

(import ../options)
(import ../show)
(import ../signature)
(import ./request)

(def- max-size
  "The most bytes that a cookie's name and value may have together. Browsers drop a longer cookie without a word."
  4096)

(def- token (peg/compile '(* (some (+ :w (set "!#$%&'*+-.^_`|~"))) -1)))

(def- octets
  "The value of a cookie: visible ASCII without what separates cookies, as it is or in double quotes."
  (peg/compile '{:octets (any (range "!!" "#+" "-:" "<[" "]~"))
                 :main (* (+ (* `"` :octets `"`) :octets) -1)}))

(defn- fail
  [who & parts]
  (error (string who ": " ;parts)))

(defn- header-date
  "Returns a time in seconds since 1970 as a date of HTTP (RFC 9110, 5.6.7)."
  [time]
  (def {:year year :month month :month-day day :week-day week-day :hours hours :minutes minutes :seconds seconds}
    (os/date (math/floor time)))
  (string/format "%s, %02d %s %d %02d:%02d:%02d GMT"
                 (in ["Sun" "Mon" "Tue" "Wed" "Thu" "Fri" "Sat"] week-day)
                 (inc day)
                 (in ["Jan" "Feb" "Mar" "Apr" "May" "Jun" "Jul" "Aug" "Sep" "Oct" "Nov" "Dec"] month)
                 year hours minutes seconds))

(defn- check-name
  [who name]
  (unless (and (bytes? name) (peg/match token name))
    (fail who "the name of a cookie must be letters, digits or any of !#$%&'*+-.^_`|~, got " (show/value name))))

(defn- check-value
  [who name value]
  (def cookie (show/value name))
  (unless (bytes? value) (fail who "the value of the cookie " cookie " must be a string, got " (show/value value)))
  (unless (peg/match octets value)
    # The value may be a secret, so the error does not show it.
    (def at (peg/find '(if-not (range "!!" "#+" "-:" "<[" "]~") 1) value))
    (fail who "the value of the cookie " cookie " has the byte " (string/format "%q" (string/slice value at (inc at)))
          ", which cookies cannot have; encode it, with base64/encode of spork/base64 for example"))
  (when (> (+ (length name) (length value)) max-size)
    (fail who "the cookie " cookie " has more than " max-size " bytes, and browsers would drop it")))

(defn- with-defaults
  "Returns the attributes of a cookie with their defaults. Raises an error for those that do not go together."
  [who name attributes]
  (def lower (string/ascii-lower name))
  (def host? (string/has-prefix? "__host-" lower))
  (def http? (or (string/has-prefix? "__http-" lower) (string/has-prefix? "__host-http-" lower)))
  (def secure? (or host? http? (string/has-prefix? "__secure-" lower)))
  (def {:same-site same-site :partitioned partitioned :secure secure :path path :domain domain :http-only http-only} attributes)
  (defn needs [what]
    (fail who what ", or browsers would drop the cookie " (show/value name)))
  (when (false? secure)
    (cond
      secure? (needs "the prefix of its name needs :secure")
      (= same-site :none) (needs ":same-site :none needs :secure")
      partitioned (needs ":partitioned needs :secure")))
  (when (and host? path (not= "/" path)) (needs "the prefix of its name needs the :path \"/\""))
  (when (and host? domain) (needs "the prefix of its name allows no :domain"))
  (when (and http? (false? http-only)) (needs "the prefix of its name needs :http-only"))
  (merge {:path "/" :http-only true :same-site :lax
          :secure (truthy? (or secure? partitioned (= same-site :none)))}
         attributes))

(def- same-sites {:strict "Strict" :lax "Lax" :none "None"})

(defn- line
  "Returns the value of a Set-Cookie header."
  [name value {:path path :domain domain :max-age max-age :expires expires :secure secure :http-only http-only
               :same-site same-site :partitioned partitioned}]
  (string name "=" value
          "; Path=" path
          (if domain "; Domain=" "") (or domain "")
          (if max-age (string/format "; Max-Age=%.0f" max-age) "")
          (if expires (string "; Expires=" (header-date expires)) "")
          (if secure "; Secure" "")
          (if http-only "; HttpOnly" "")
          "; SameSite=" (same-sites same-site)
          (if partitioned "; Partitioned" "")))

(defn- copied
  "Returns a new table with the entries of a dictionary."
  [dictionary]
  (if (table? dictionary) (table/clone dictionary) (struct/to-table (or dictionary {}) true)))

(defn- check-response
  [who response]
  (unless (dictionary? response)
    (fail who "the response must be a table or a struct, got " (show/value response))))

(defn- with-line
  "Returns a new response with one more line of Set-Cookie."
  [who response text]
  (def headers (in response :headers))
  (unless (or (nil? headers) (dictionary? headers))
    (fail who "the :headers of the response must be a table or a struct, got " (show/value headers)))
  (def headers (copied headers))
  (def key
    (or (find |(and (bytes? $) (= "set-cookie" (string/ascii-lower $))) (keys headers))
        "Set-Cookie"))
  (def old (in headers key))
  (put headers key (cond
                     (nil? old) text
                     (indexed? old) [;old text]
                     [old text]))
  (put (copied response) :headers headers))

(def- set-options [:path :domain :max-age :expires :secure :http-only :same-site :partitioned])

(def- delete-options [:path :domain :secure :partitioned])

(defn set-cookie
  ``Returns a new response: `response`, a table or struct, with one more Set-Cookie line. `response` itself is not changed,
  and neither are cookies that it has. `name` is a string of letters, digits and !#$%&'*+-.^_`|~. `value` is a string of
  visible ASCII without double quotes, commas, semicolons and backslashes, or such a string in double quotes. Other values
  have to be encoded, with `spork/base64` for example. Name and value may have 4096 bytes together. By name:

  * :path - the path below which the browser sends the cookie. Default "/".
  * :domain - the domain that gets the cookie together with its subdomains. Default: none, so that only this host gets it.
  * :max-age - how many seconds the browser keeps the cookie, an integer from 0. Default: none; the browser keeps it until
    it ends. Browsers keep no cookie for more than 400 days.
  * :expires - when the cookie ends, in seconds since 1970, as of `os/time`. Default: none. :max-age takes precedence.
  * :secure - if true, the browser sends the cookie over HTTPS only. Default false, because Safari would not keep the cookie
    of a program that is tried on http://localhost; but true if the name or another option needs it. Use true wherever
    clients come by HTTPS, also if a proxy ends it.
  * :http-only - if true, scripts of the page cannot read the cookie. Default true.
  * :same-site - :strict, :lax or :none: whether the browser sends the cookie with requests that other sites cause. Default
    :lax, which is with links to this site only. :none needs :secure.
  * :partitioned - if true, the cookie of an embedded page is kept for each site around it. Needs :secure. Default false.

  A name that begins with "__Secure-" needs :secure, and "__Host-" also the :path "/" and no :domain. "__Http-" and
  "__Host-Http-" need :secure and :http-only. Raises an error for a wrong name, value or option, and for a combination that
  browsers would drop.``
  [response name value & args]
  (def who "kqnet/http/set-cookie")
  (def attributes (options/split who [] set-options args))
  (check-response who response)
  (check-name who name)
  (check-value who name value)
  (with-line who response (line name value (with-defaults who name attributes))))
(signature/show set-cookie [] set-options)

(defn delete-cookie
  ``Returns a new response: `response`, a table or struct, with a Set-Cookie line that has the browser delete the cookie
  called `name`. A browser tells cookies apart by name, :path and :domain, so these must be as they were for `set-cookie`.
  By name:

  * :path, :domain, :secure, :partitioned - as for `set-cookie`, with the same defaults.

  Raises an error for a wrong name or option.``
  [response name & args]
  (def who "kqnet/http/delete-cookie")
  (def attributes (options/split who [] delete-options args))
  (check-response who response)
  (check-name who name)
  (with-line who response
             (line name "" (with-defaults who name (merge attributes {:max-age 0 :expires 0})))))
(signature/show delete-cookie [] delete-options)

(defn cookie
  ``Returns the value of the cookie called `name` of a request `req`, a string, or nil if the client has not sent it. If it
  has sent several, for different paths or domains, the first one counts, which browsers make that of the longest path.
  The value is what the client sent, with double quotes if it has them. It may have any byte that a header may have. Raises
  an error for a name that no cookie can have, and if `req` is not a dictionary.``
  [req name]
  (request/check "kqnet/http/cookie" req)
  (check-name "kqnet/http/cookie" name)
  (def header (get-in req [:headers "cookie"]))
  (when header
    (def prefix (string name "="))
    (some (fn [pair]
            (def pair (string/trim pair " \t"))
            (if (string/has-prefix? prefix pair) (string/slice pair (length prefix))))
          (string/split ";" (if (indexed? header) (string/join header ";") header)))))
