###
### The options of all functions of kqnet: what their values must be, and where they are among the arguments.
###
### They follow optional positional arguments, as in (f a b :name value).
###

(import ./_native :as native)
(import ./show)

(defn- positive-integer? [x] (and (int? x) (pos? x)))

(defn- positive-size?
  "Whether this is a size. It may need more than 32 bits, up to where numbers stop being exact."
  [x]
  (and (number? x) (pos? x) (<= x 9007199254740991) (= x (math/floor x))))

(defn- size?
  "Whether this is a size, or zero."
  [x]
  (or (= x 0) (positive-size? x)))

(defn- positive? [x] (and (number? x) (pos? x) (< x math/inf)))

(def- seconds
  ["a number of seconds from 0 to 1e9, or math/inf"
   (fn [x] (and (number? x) (or (<= 0 x 1e9) (= x math/inf))))])

(defn- permissions? [x] (and (int? x) (<= 0 x 8r777)))

(defn- path? [x] (and (string? x) (or (empty? x) (string/has-prefix? "/" x))))

(defn- domain?
  "Whether this is the domain of a cookie. Browsers ignore a dot in front."
  [x]
  (and (bytes? x) (<= (length x) 253)
       (peg/match '{:label (* :w (any (+ :w (* (some "-") :w)))) :main (* (? ".") :label (any (* "." :label)) -1)} x)))

(defn- cookie-path?
  "Whether browsers take this as the path of a cookie."
  [x]
  (and (bytes? x) (<= (length x) 1024) (peg/match '(* "/" (any (range "!:" "<~")) -1) x)))

(defn- stream? [x] (= :core/stream (type x)))

(defn- visible?
  "Whether this is a text that can be the value of a header."
  [x]
  (and (string? x) (not (empty? x)) (all |(or (= $ 9) (and (>= $ 32) (not= $ 127))) x)))

(defn- token?
  "Whether this is a token, such as the name of a subprotocol (RFC 9110, 5.6.2)."
  [x]
  (and (string? x) (peg/match '(* (some (+ :w (set "!#$%&'*+-.^_`|~"))) -1) x)))

(defn- tokens? [x] (and (indexed? x) (not (empty? x)) (all token? x)))

(defn- origins?
  "Whether this is :any, a function, or a list of origins."
  [x]
  (or (= :any x)
      (function? x)
      (and (indexed? x) (not (empty? x))
           (all |(and (string? $) (peg/match '(* (some (+ :w (set "+-."))) "://" (some (if-not (set "/ ") 1)) -1) $)) x))))

(defn- types?
  "Whether this is a dictionary of content types by file extension."
  [x]
  (and (dictionary? x)
       (all (fn [[end content-type]]
              (and (string? end) (peg/match '(* (any (if-not (set "./\0") 1)) -1) end)
                   (= end (string/ascii-lower end)) (visible? content-type)))
            (pairs x))))

(def specs
  "Every option of kqnet, with a tuple of what its value must be, in words, and the function that checks it."
  {:backlog ["a positive integer" positive-integer?]
   :body-timeout seconds
   :batch ["a positive integer" positive-integer?]
   :cache-control ["the value of a header, or a function of the path" |(or (visible? $) (function? $))]
   :cancel ["true or false" boolean?]
   :close-timeout seconds
   :domain ["a domain such as \"example.com\", without a port" domain?]
   :cancel-when-gone ["true, false or :or-ended" |(or (boolean? $) (= :or-ended $))]
   :drain-timeout seconds
   :expires ["a time in seconds since 1970" |(and (number? $) (<= 0 $ 253402300799))]
   :fallback ["a location such as \"/\"" |(and (bytes? $) (not (empty? $)))]
   :folder ["the path of a folder" |(and (string? $) (not (empty? $)))]
   :format [":common, :combined, :timed or a function" |(or (function? $) (index-of $ [:common :combined :timed]))]
   :forwarded-header [":x-forwarded-for or :forwarded" |(or (= :x-forwarded-for $) (= :forwarded $))]
   :head-timeout seconds
   :heartbeat ["a number of seconds, more than 0, or math/inf" |(and (number? $) (pos? $) (or (<= $ 1e9) (= $ math/inf)))]
   :hidden ["true or false" boolean?]
   :http-only ["true or false" boolean?]
   :idle-timeout seconds
   :index ["a file's name, or false" |(or (string? $) (false? $))]
   :listener ["a listening stream" stream?]
   :max-age ["a number of whole seconds from 0" |(and (number? $) (<= 0 $ 9007199254740991) (= $ (math/floor $)))]
   :max-accept-rate ["a positive number" positive?]
   :max-connections ["a positive integer" positive-integer?]
   :max-body ["a positive integer" positive-size?]
   :max-field ["an integer that is not negative" size?]
   :max-fields ["an integer that is not negative" size?]
   :max-file ["an integer that is not negative" size?]
   :max-files ["an integer that is not negative" size?]
   :max-head ["a positive integer" positive-integer?]
   :max-headers ["a positive integer" positive-integer?]
   :max-message ["a positive integer" positive-integer?]
   :max-name ["a positive integer" positive-integer?]
   :max-part-head ["a positive integer" positive-integer?]
   :max-queued ["a positive integer" positive-integer?]
   :max-requests ["a positive integer" positive-integer?]
   :max-text ["an integer that is not negative" size?]
   :max-unread ["a positive integer" positive-integer?]
   :memory ["an integer that is not negative" size?]
   :mode ["file permissions, an integer from 0 to 8r777" permissions?]
   :nodelay ["true or false" boolean?]
   :on-error ["a function" function?]
   :or-ended ["true or false" boolean?]
   :origins [":any, a list of origins such as [\"https://example.org\"], or a function" origins?]
   :out ["a file, a buffer or a function" |(or (= :core/file (type $)) (buffer? $) (function? $))]
   :partitioned ["true or false" boolean?]
   :path ["a path that begins with a slash, of up to 1024 bytes of visible ASCII without semicolons" cookie-path?]
   :ping seconds
   :pong-timeout seconds
   :precompressed ["true or false" boolean?]
   :prefix ["a path such as \"/assets\"" path?]
   :protocols ["a list of the names of subprotocols, such as [\"chat\"]" tokens?]
   :proxy-protocol ["true or false" boolean?]
   :queue ["a positive integer" positive-integer?]
   :retry ["a number of seconds from 0 to 1e9" |(and (number? $) (<= 0 $ 1e9))]
   :reuse-port ["true or false" boolean?]
   :same-site [":strict, :lax or :none" |(index-of $ [:strict :lax :none])]
   :seconds seconds
   :secure ["true or false" boolean?]
   :symlinks ["true or false" boolean?]
   :timeout seconds
   :trusted-proxies [`a list of addresses, of blocks such as "10.0.0.0/8", and of "loopback", "private" and "unix"`
                     |(and (indexed? $) (all native/proxy-name? $))]
   :types ["content types by file extension, in lower case and without a dot, such as {\"gltf\" \"model/gltf+json\"}" types?]
   :when-full [":wait or :end" |(or (= :wait $) (= :end $))]
   :write-timeout seconds})

(defn- fail
  "Raises an error in the name of the function named `who`."
  [who & parts]
  (error (string who ": " ;parts)))

(defn- names
  [allowed]
  (string/join (map show/value allowed) ", "))

(defn check
  "Raises an error that names the option `name` of the function named `who` when its value is wrong."
  [who name value]
  (def [what ok?] (specs name))
  (unless (or (nil? value) (ok? value))
    (fail who (show/value name) " must be " what ", got " (show/value value))))

(defn- socket-type? [x] (or (nil? x) (= :stream x) (= :datagram x)))

(defn split
  ``Splits the arguments of the function named `who` into the positional ones, whose names are in `positional` (an array
  of keywords), and the options, whose names are in `allowed`. Returns a struct of both, with no entry for what is absent
  or nil. Raises an error that names the option and the value when an option is unknown, and when it has no value or a
  wrong one.``
  [who positional allowed args]
  (def result @{})
  (var at 0)
  (each name positional
    (when (>= at (length args)) (break))
    (def value (get args at))
    # The options begin at the first keyword. But :unix may be the host, and in the place of `type`, a keyword that is not
    # an option is the type if it is a socket type, and a wrong type if it is the last argument.
    (when (and (keyword? value)
               (not (and (= name :host) (= value :unix)))
               (or (has-value? allowed value)
                   (not= name :type)
                   (not (or (socket-type? value) (= (inc at) (length args))))))
      (break))
    (put result name value)
    (++ at))
  (while (< at (length args))
    (def name (get args at))
    (unless (has-value? allowed name)
      (if (keyword? name)
        (fail who "unknown option " (show/value name)
              (if (empty? allowed) "; there are none" (string "; the options are " (names allowed))))
        (fail who "too many arguments: " (show/value name))))
    (when (= (inc at) (length args))
      (fail who (show/value name) " needs a value"))
    (def value (get args (inc at)))
    (check who name value)
    (put result name value)
    (+= at 2))
  (table/to-struct result))
