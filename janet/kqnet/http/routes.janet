###
### Routes with methods, parameters, wildcards and groups, as a handler.
###

(import ../_native :as native)
(import ../show)
(import ./handler)
(import ./log)
(import ./route-pattern :as pattern)
(import ./route-tree :as tree)

(def- who "kqnet/http/routes")

(defn- fail
  [& parts]
  (error (string who ": " ;parts)))

(defn- shown
  "Returns a route or a group as programs write it. A long one is cut."
  [x]
  (if (indexed? x)
    (string "[" (string/join (map show/value (array/slice x 0 (min 4 (length x)))) " ") (if (> (length x) 4) " …]" "]"))
    (show/value x)))

# What a table of routes is read into: for each route a tuple of its method, its pattern, the pattern's segments, and its
# endpoint. An endpoint is a tuple of its stages, its pattern and the names of its parameters. The stages are the groups
# around the route that have middleware, each as one handler, and at the end the handler of the route.

(def- known-methods
  {:get "GET" :head "HEAD" :post "POST" :put "PUT" :patch "PATCH" :delete "DELETE" :options "OPTIONS" :trace "TRACE"
   :any :any})

(def- token (peg/compile '(* (some (+ :w (set "!#$%&'*+-.^_`|~"))) -1)))

(defn- method-text?
  "Whether a string can be a method. Methods are case-sensitive, so that \"get\" would never match."
  [x]
  (and (string? x) (peg/match token x)
       (or (= x (string/ascii-upper x)) (not (has-value? known-methods (string/ascii-upper x))))))

(defn- method-of
  "Returns a method as requests have it, or :any."
  [x route]
  (or (known-methods x)
      (if (method-text? x) x)
      (fail "the method of " (shown route) " must be one of "
            (string/join (map show/value (sort (keys known-methods))) ", ")
            ", a string such as \"PROPFIND\", or an array of these, got " (show/value x))))

(defn- methods-of
  [x route]
  (if (and (indexed? x) (not (empty? x)))
    (map |(method-of $ route) x)
    [(method-of x route)]))

(defn- name-of
  "The text by which errors name a route."
  [method path]
  (string (if (= :any method) ":any" method) " " path))

(defn- read-route
  "Adds a route, once for each of its methods, to `out`."
  [route prefix stages out]
  (unless (= 3 (length route))
    (fail "a route has a method, a pattern and a handler, got " (shown route)))
  (def [method given handler] route)
  (def methods (methods-of method route))
  # In a group, "/" is the path of the group itself.
  (def path
    (cond
      (and (= "/" given) (not (empty? prefix))) prefix
      (and (string? given) (string/has-prefix? "/" given)) (string prefix given)
      given))
  (def segments
    (pattern/parse |(fail "[" (show/value method) " " (show/value given) "]"
                          (if (empty? prefix) "" (string " in the group " (show/value prefix))) ": " $)
                   path))
  (def handler (handler/check (string who ": " (name-of (first methods) path)) handler))
  (def names (tuple/slice (seq [segment :in segments :when (tuple? segment)] (in segment 1))))
  (def endpoint [[;stages handler] path names])
  (each method methods
    (array/push out [method path segments endpoint])))

(defn- wrapped
  ``Returns the handler of a group: its middleware, the first one outermost, around a handler that goes on with the stage
  of the request that follows the place `at`.``
  [prefix middleware key at]
  (def name (string who ": the middleware of the group " (show/value prefix)))
  (defn go-on [req]
    (def stages (in req key))
    (unless stages (error (string name " has passed on a table that is not the request, nor made from it")))
    ((in stages (inc at)) req))
  (reduce (fn [next mw]
            (native/check-function name "one argument, the next handler" mw 1)
            (def made (mw next))
            # A handler in its place would return a response, and that would be the answer to all requests.
            (unless (or (nil? made) (function? made) (cfunction? made))
              (error (string name " must return a handler, a function; " (show/value mw) " has returned " (show/value made))))
            (handler/check name made))
          go-on
          (reverse middleware)))

(defn- parts-of-group
  "Returns the whole prefix of a group, its middleware, and its routes."
  [group prefix]
  (def own (in group 0))
  (when (or (in known-methods (get group 1)) (string? (get group 1)))
    (fail "the method of a route comes first, and then its pattern: got " (shown group)))
  (unless (or (empty? own) (peg/match '(* "/" (any 1) (> -1 (not "/")) -1) own))
    (fail "the prefix " (show/value own) " of a group must begin with a slash and not end with one, or be empty; for a route, the "
          "method comes first: " (shown group)))
  (def path (string prefix own))
  (def next (get group 1))
  (cond
    (or (function? next) (cfunction? next))
    (fail "the middleware of the group " (show/value path) " must be in brackets; for a route, the method comes first: "
          (shown group))
    # A route begins with a method, and a group with a prefix.
    (and (indexed? next) (not (or (keyword? (get next 0)) (string? (get next 0)) (indexed? (get next 0)))))
    [path next (array/slice group 2)]
    [path [] (array/slice group 1)]))

(defn- read-routes
  "Adds routes and those of groups to `out`."
  [routes prefix stages key out]
  (each item routes
    (cond
      (or (not (indexed? item)) (empty? item))
      (fail "a route must be like [:get \"/\" handler], and a group like [\"/admin\" [middleware] route], got "
            (shown item)
            (if (keyword? item) "; each route has brackets of its own inside those of all routes" ""))
      (and (indexed? (in item 0)) (not (string? (get item 1))))
      (fail "an array of routes among routes needs a ; in front of it, as in [;these ;those], got " (shown item))
      # A prefix has a slash or is empty, so it is not a method.
      (and (string? (in item 0)) (not (and (peg/match token (in item 0)) (string? (get item 1)))))
      (let [[path middleware below] (parts-of-group item prefix)]
        (read-routes below path
                     (if (empty? middleware) stages [;stages (wrapped path middleware key (length stages))])
                     key out))
      (read-route item prefix stages out)))
  out)

# Answering.

(def- no-values [])

(def- no-params {})

(defn- with-values
  "Returns a struct of the parameters that the request has, `outer`, and of these names and values."
  [outer names values]
  (table/to-struct (merge (if (dictionary? outer) outer {}) (zipcoll names values))))

(defn- enter
  "Calls the handler of an endpoint."
  [key endpoint values req]
  (def stages (in endpoint 0))
  (def names (in endpoint 2))
  (def outer (in req :params))
  (put req :params
       (if (nil? outer)
         (case (length names)
           0 no-params
           1 (struct (in names 0) (in values 0))
           (table/to-struct (zipcoll names values)))
         (with-values outer names values)))
  (put req :pattern (in endpoint 1))
  (when (> (length stages) 1) (put req key stages))
  ((in stages 0) req))

(defn- allowed
  "Returns the methods of these leaves as the value of an Allow header."
  [leaves]
  (def methods @{"OPTIONS" true})
  (each [endpoints] leaves
    (eachk method endpoints
      (put methods method true)
      (when (= method "GET") (put methods "HEAD" true))))
  (string/join (sort (filter string? (keys methods))) ", "))

(defn- tell-methods
  "Answers OPTIONS. The answer passes through the middleware of the route that was given first, which may add headers."
  [key others req]
  (def allow (allowed (map first others)))
  (def [[_ [stages path names]] values] (first others))
  (defn options [_] {:status 204 :headers {"Allow" allow}})
  (enter key [[;(tuple/slice stages 0 -2) options] path names] values req))

(defn- refuse
  [status text & headers]
  {:status status :headers (struct "Content-Type" "text/plain; charset=utf-8" ;headers) :body text})

(defn- arguments
  "Returns the routes and the next handler, or nil. They may be in either order, since a handler is never an array."
  [x y]
  (def swapped? (and (not (indexed? x)) (indexed? y)))
  (def [routes nextmw] (if swapped? [y x] [x y]))
  (cond
    (dictionary? routes)
    (fail "the routes must be an array such as [[:get \"/\" handler]], got " (show/value routes)
          "; for a table of paths there is http/router")
    (not (indexed? routes))
    (fail "the routes must be an array such as [[:get \"/\" handler]], got " (show/value routes)))
  [routes (if (or swapped? (not (nil? nextmw))) (handler/check who nextmw))])

(var- tables
  "How many tables of routes were made."
  0)

(defn routes
  ``Creates a handler from `routes`, an array or tuple of routes and groups. As middleware, it takes `nextmw`, a handler
  for the paths that no route matches. Without it they get 404. The two may also be in the other order, as `->` needs it.

  A route is `[method pattern handler]`:

  * `method` - :get, :head, :post, :put, :patch, :delete, :options or :trace, a string for any other method, or an array of
    these. :any is for every method that has no route of its own with the same pattern.
  * `pattern` - a path. A segment ":id" is a parameter, which matches one segment that is not empty. A last segment "*path"
    is a wildcard, which matches the rest of the path, and also an empty one behind the slash. The name may be missing: it
    is then "*".
  * `handler` - anything that `middleware` takes.

  A group is `[prefix [middleware …] route …]`, where `[middleware …]` may be left out. The prefix goes in front
  of the patterns of the routes and groups in it, and "/" in a group is the prefix itself. It may be "". A middleware is a
  function from a handler to a handler. It is called once, when the table is made. The first one is the outermost. It
  sees the requests that match a route of its group, and no others.

  The handler finds in its request:

  * :params - a struct from keywords to strings, the values of the parameters: percent-decoded, and otherwise the bytes
    that the client sent. A "+" stays, and "%2F" is a slash within a parameter. Empty if there are none.
  * :pattern - the pattern of the route with the prefixes of its groups, a string. It suits labels of logs and metrics.
  * :route - the whole path, as always.

  Of several routes that match, the one is taken whose first segment that differs is literal, or else a parameter. A
  route counts as matching only if it has the method. A GET route also answers HEAD. A path whose routes have other
  methods gets 405 with Allow. OPTIONS is answered with Allow too, unless a route has it, and passes through the middleware
  of the path's groups. "OPTIONS *", which is about the server, is answered with the methods of all routes, also if there is
  a next handler.

  Slashes count: "/users" and "/users/" are two paths. Nothing matches a path with a malformed escape, or with an encoded
  control byte, a segment "." or "..", or an empty segment where a parameter is, nor, where a wildcard is, one with an
  encoded slash.

  Raises an error that names the route for anything else in `routes`, and for two routes with the same method whose
  patterns match the same paths.``
  [routes &opt nextmw]
  (def [routes nextmw] (arguments routes nextmw))
  # Another table may be the handler of a route, so the key is this table's own.
  (def key (keyword "kqnet/routes-" (++ tables)))
  (def all-routes (read-routes routes "" [] key @[]))
  (def [exact root depth]
    (tree/build all-routes
                (fn [[method a] [_ b]]
                  (fail "two routes match the same requests: " (name-of method a) " and " (name-of method b)))))
  (def server-allow (allowed (map |[{(first $) true}] all-routes)))
  (defn look-up [req method route]
    (def values @[])
    (def others @[])
    (def endpoint (tree/find-endpoint root depth method route values others))
    (cond
      endpoint (enter key endpoint values req)
      (not (empty? others))
      (if (= method "OPTIONS")
        (tell-methods key others req)
        (refuse 405 "Method Not Allowed" "Allow" (allowed (map first others))))
      # It is about the server, and no more than a ping (RFC 9110, 9.3.7), so the next handler is not asked.
      (and (= method "OPTIONS") (= route "*")) {:status 204 :headers {"Allow" server-allow}}
      nextmw (nextmw req)
      (refuse 404 "Not Found")))
  (defn routes-mw [req]
    (def method (in req :method))
    (def route (in req :route))
    (def endpoints (in exact route))
    (def endpoint (if endpoints (in endpoints method)))
    (if endpoint
      (enter key endpoint no-values req)
      (look-up req method route)))
  (if nextmw (log/wrap routes-mw nextmw) routes-mw))
