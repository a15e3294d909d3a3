###
### Checking handlers when they are given. The errors say what was probably meant.
###

(import spork/http :as spork)
(import ../_native :as native)
(import ../show)

(def- response-keys [:status :headers :body :detached])

(defn- fail
  [who & parts]
  (error (string who ": " (string/format ;parts))))

(defn- has-path?
  "Whether a dictionary has a key of a route."
  [x]
  (some |(or (= :default $) (and (string? $) (string/has-prefix? "/" $))) (keys x)))

(defn check
  ``Makes a handler, a function of the request, from anything that `middleware` takes. Raises an error in the name of
  `who` for anything that cannot answer a request.``
  [who x]
  (case (type x)
    :function (native/check-function (string who ": the handler") "one argument, the request" x 1)
    :cfunction (fn [req] (x req))
    :number (if (in spork/status-messages x)
              (spork/middleware x)
              (fail who "no HTTP status has the number %q" x))
    :string (spork/middleware x)
    :buffer (spork/middleware x)
    :nil (fail who "the handler is nil: was it defined, and did the function that makes it return it?")
    (cond
      (not (dictionary? x))
      (fail who "the handler must be a function of the request, or a response, got %s" (show/value x))
      (some |(has-key? x $) response-keys) (spork/middleware x)
      (has-path? x) (fail who "the handler is a table of routes: did you mean (http/router %s)?" (show/value x))
      (fail who "the handler is neither a function nor a response with :status, :headers or :body, got %s" (show/value x)))))

(defn middleware
  ``Returns a handler, a function of the request, made from `x`: a function, the number of a status, a string or buffer
  (the body of the response), or a response. Raises an error for anything else. The `middleware` of `spork/http` makes a
  handler even from those, but its response cannot be sent.``
  [x]
  (check "kqnet/http/middleware" x))

(defn router
  ``Returns a handler made from `routes`, a table or struct from paths to anything that `middleware` takes. The route
  :default is for all other paths. Without it, they get 404. If `routes` is a table, it may be changed later. Raises an
  error for a value that `middleware` does not take.``
  [routes]
  (unless (dictionary? routes)
    (fail "kqnet/http/router" "the routes must be a table or struct from paths to handlers, got %s" (show/value routes)))
  (eachp [path x] routes
    (check (string "kqnet/http/router: " (show/value path)) x))
  (spork/router routes))
