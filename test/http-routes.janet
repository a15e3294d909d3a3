###
### Routes: which handler gets which request, what it finds in it, and which tables of routes are refused.
###

(import ./support :as t)
(import ./support/http :as h)
(t/need-spork)
(import kqnet)
(import kqnet/http)

(def- host "127.0.0.1")

(defn- shows
  "A handler that shows its name and the parameters."
  [name]
  (fn [req] {:body (string/format "%s %j" name (req :params))}))

(defn- ask
  "The response of a handler to a request that has not come through a server."
  [handler method path]
  (handler @{:method method :route path :headers @{}}))

(defn- body-of [handler method path] ((ask handler method path) :body))

(defn- allow-of
  "The status and the Allow header of a response."
  [handler method path]
  (def response (ask handler method path))
  [(response :status) (get-in response [:headers "Allow"])])

(def- table
  (http/routes
    [[:get "/" (shows "root")]
     [:get "/users" (shows "list")]
     [:post "/users" (shows "create")]
     [:get "/users/new" (shows "new")]
     [:get "/users/:id" (shows "show")]
     [[:put :patch] "/users/:id" (shows "change")]
     [:get "/users/:id/edit" (shows "edit")]
     [:get "/users/:user/posts/:post" (shows "post")]
     [:any "/any" (shows "any")]
     [:get "/any" (shows "get")]
     ["PROPFIND" "/dav" (shows "dav")]
     [:get "/files/*path" (shows "file")]
     [:get "/files/readme" (shows "readme")]
     [:get "/café/b%20c" (shows "café")]
     [:get "/%3Aliteral" (shows "literal")]]))

(def- not-found [404 "Not Found"])

# Which route.

(t/test "a route is found by its method and its path"
  (each [method path expected]
    [["GET" "/" "root {}"]
     ["GET" "/users" "list {}"]
     ["POST" "/users" "create {}"]
     ["GET" "/users/7" `show {:id "7"}`]
     ["PUT" "/users/7" `change {:id "7"}`]
     ["PATCH" "/users/7" `change {:id "7"}`]
     ["GET" "/users/7/edit" `edit {:id "7"}`]
     ["PROPFIND" "/dav" "dav {}"]]
    (t/same expected (body-of table method path) path)))

(t/test "several parameters have their own values"
  (t/same {:user "a" :post "b"}
          (do
            (var seen nil)
            (ask (http/routes [[:get "/users/:user/posts/:post" (fn [req] (set seen (req :params)) {:status 200})]])
                 "GET" "/users/a/posts/b")
            seen)))

(t/test "a literal segment is preferred to a parameter, and a parameter to a wildcard"
  (t/same "new {}" (body-of table "GET" "/users/new"))
  (t/same `edit {:id "new"}` (body-of table "GET" "/users/new/edit"))
  (t/same "readme {}" (body-of table "GET" "/files/readme"))
  (t/same `file {:path "readme/x"}` (body-of table "GET" "/files/readme/x"))
  (def all (http/routes [[:get "/*" (shows "rest")] [:get "/:a/b" (shows "parameter")] [:get "/a/c" (shows "literal")]]))
  (each [path expected] [["/a/c" "literal {}"] ["/a/b" `parameter {:a "a"}`] ["/a/d" `rest {:* "a/d"}`]
                         ["/a" `rest {:* "a"}`] ["/" `rest {:* ""}`] ["/x/b/c" `rest {:* "x/b/c"}`]]
    (t/same expected (body-of all "GET" path) path)))

(t/test "the order of the routes makes no difference"
  (def routes [[:get "/a/:x" (shows "1")] [:get "/:y/b" (shows "2")] [:get "/*" (shows "3")] [:get "/a/b" (shows "4")]])
  (each path ["/a/b" "/a/c" "/c/b" "/c/c"]
    (t/same (body-of (http/routes routes) "GET" path) (body-of (http/routes (reverse routes)) "GET" path) path))
  (t/same `1 {:x "c"}` (body-of (http/routes routes) "GET" "/a/c"))
  (t/same `2 {:y "c"}` (body-of (http/routes routes) "GET" "/c/b")))

(t/test "a preferred route without the method does not hide one that has it"
  (t/same `change {:id "new"}` (body-of table "PUT" "/users/new")))

(t/test "values of branches that were tried in vain are gone"
  (def routes (http/routes [[:get "/:a/:b/x" (shows "x")] [:get "/*rest" (shows "rest")]]))
  (t/same `rest {:rest "1/2/3"}` (body-of routes "GET" "/1/2/3")))

(t/test "slashes count"
  (each path ["/users/" "//users" "/users//" "/users/7/" "/users//edit" "" "*" "users" "/any/"]
    (t/same not-found (h/brief (ask table "GET" path)) path))
  (def both (http/routes [[:get "/a" (shows "a")] [:get "/a/" (shows "a/")] [:get "/:x/" (shows "x/")]]))
  (each [path expected] [["/a" "a {}"] ["/a/" "a/ {}"] ["/b/" `x/ {:x "b"}`]]
    (t/same expected (body-of both "GET" path) path)))

(t/test "a wildcard matches an empty rest behind the slash, and keeps empty segments"
  (t/same `file {:path ""}` (body-of table "GET" "/files/"))
  (t/same `file {:path "a//b/"}` (body-of table "GET" "/files/a//b/"))
  (t/same not-found (h/brief (ask table "GET" "/files"))))

# A second way to find a route: try all of them, and take the best.

(defn- rank [segment] (cond (string/has-prefix? ":" segment) 1 (string/has-prefix? "*" segment) 2 0))

(defn- matches?
  "Whether a pattern matches a path, both of which are split at the slashes."
  [pattern path]
  (var fits true)
  (eachp [i segment] pattern
    (def sent (get path i))
    (set fits
         (and fits
              (case (rank segment)
                0 (= segment sent)
                1 (and sent (not (empty? sent)))
                (not (nil? sent))))))
  (and fits (or (= 2 (rank (last pattern))) (= (length pattern) (length path)))))

(defn- best
  "The answer of a table of [method pattern] that should be given to a request: a pattern, 405 or 404."
  [routes method path]
  (defn split [text] (array/slice (string/split "/" text) 1))
  (def all (filter |(matches? (split ($ 1)) (split path)) routes))
  (def [found] (sort-by |(tuple ;(map rank (split ($ 1)))) (filter |(= method ($ 0)) all)))
  (cond found (found 1) (empty? all) 404 405))

(t/test "random tables answer random requests as trying all routes would"
  (def rng (math/rng 15))
  (defn pick [xs] (in xs (math/rng-int rng (length xs))))
  (for round 0 300
    (def routes
      (values
        (tabseq [_ :range [0 (inc (math/rng-int rng 12))]
                 :let [method (pick ["GET" "POST"])
                       segments (seq [i :range [0 (math/rng-int rng 4)]] (pick ["a" "b" "c" (string ":p" i)]))
                       end (pick [[] [] [""] ["*rest"]])
                       path (string "/" (string/join [;segments ;end] "/"))]]
          [method path] [method path])))
    (def handler (http/routes (map (fn [[method path]] [method path (fn [req] {:body (req :pattern)})]) routes)))
    (repeat 30
      (def path (string "/" (string/join (seq [_ :range [0 (math/rng-int rng 5)]] (pick ["a" "b" "c" "d" ""])) "/")))
      (def method (pick ["GET" "POST"]))
      (def {:status status :body body} (ask handler method path))
      (t/same (best routes method path) (or status body) (string/format "%s %s of %q" method path routes)))))

# Decoding.

(defn- parameter-of
  "The parameter that a segment of a path gives, or the status of an error."
  [segment &opt pattern]
  (var seen nil)
  (def handler (http/routes [[:get (or pattern "/x/:p") (fn [req] (set seen (get-in req [:params :p])) {:status 200})]]))
  (def {:status status} (ask handler "GET" (string "/x/" segment)))
  (if (= 200 status) seen status))

(t/test "parameters are percent-decoded once"
  (each [sent expected]
    [["a%20b" "a b"] ["a+b" "a+b"] ["a%2Bb" "a+b"] ["%C3%BC" "ü"] ["ü" "ü"] ["%FC" "\xFC"] ["%2541" "%41"]
     ["a%2Fb" "a/b"] ["a%2fb" "a/b"] ["%3A" ":"] [":p" ":p"] ["*" "*"] ["%5C" `\`] ["..." "..."] [".a" ".a"]
     ["%2F..%2F" "/../"] ["a;b=c" "a;b=c"]]
    (t/same expected (parameter-of sent) sent)))

(t/test "a wildcard's value is decoded, and its slashes are those of the path"
  (each [sent expected]
    [["a/b" "a/b"] ["a%20b/c" "a b/c"] ["%C3%BC" "ü"] ["a%2Fb" 404] ["a%2fb" 404] ["..." "..."] ["a/.b" "a/.b"] ["a./b" "a./b"]]
    (t/same expected (parameter-of sent "/x/*p") sent)))

(t/test "malformed escapes, control bytes and dot segments match nothing"
  (each segment ["%" "%4" "%zz" "a%4" "%-1" "%00" "a%00b" "%0A" "%0d%0a" "%7F" "." ".." "%2e" "%2E%2e" ".%2e"]
    (t/same 404 (parameter-of segment) segment)
    (t/same 404 (parameter-of segment "/x/*p") segment))
  (each rest ["../a" "a/.." "a/../b" "a/./b" "%2e%2e/a" "a/%2e%2e/b" "a/%2e%2e" "a/%zz"]
    (t/same 404 (parameter-of rest "/x/*p") rest)))

(t/test "literal segments match however they are encoded"
  (each path ["/café/b%20c" "/caf%C3%A9/b%20c" "/caf%c3%a9/%62%20c"]
    (t/same "café {}" (body-of table "GET" path) path))
  (t/same "new {}" (body-of table "GET" "/users/%6Eew"))
  (t/same "literal {}" (body-of table "GET" "/:literal"))
  (t/same "literal {}" (body-of table "GET" "/%3aliteral"))
  (t/same not-found (h/brief (ask table "GET" "/users%2Fnew"))))

# Methods.

(t/test "another method gets 405 with the methods of all routes of the path"
  (t/same [405 "GET, HEAD, OPTIONS, POST"] (allow-of table "DELETE" "/users"))
  (t/same [405 "GET, HEAD, OPTIONS, PATCH, PUT"] (allow-of table "DELETE" "/users/new"))
  (t/same [405 "OPTIONS, PROPFIND"] (allow-of table "GET" "/dav"))
  (t/same [405 "GET, HEAD, OPTIONS"] (allow-of table "get" "/users/7/edit")))

(t/test "OPTIONS is answered with the methods, and for the server with those of all routes"
  (t/same [204 "GET, HEAD, OPTIONS, POST"] (allow-of table "OPTIONS" "/users"))
  (t/same [204 "GET, HEAD, OPTIONS, PATCH, POST, PROPFIND, PUT"] (allow-of table "OPTIONS" "*"))
  (t/same 404 (first (allow-of table "OPTIONS" "/none")))
  (t/same "any {}" (body-of table "OPTIONS" "/any"))
  (t/same "own {}" (body-of (http/routes [[:options "/" (shows "own")] [:get "/" (shows "get")]]) "OPTIONS" "/")))

(t/test "HEAD is answered by GET, unless it has a route"
  (t/same "list {}" (body-of table "HEAD" "/users"))
  (t/same "get {}" (body-of table "HEAD" "/any"))
  (t/same "head {}" (body-of (http/routes [[:head "/" (shows "head")] [:get "/" (shows "get")]]) "HEAD" "/"))
  (t/same [405 "OPTIONS, PROPFIND"] (allow-of table "HEAD" "/dav")))

(t/test ":any is for the methods without a route of their own"
  (t/same "get {}" (body-of table "GET" "/any"))
  (each method ["POST" "DELETE" "X-OWN"]
    (t/same "any {}" (body-of table method "/any") method)))

# The next handler.

(t/test "the next handler gets the paths that no route matches, unchanged"
  (var seen nil)
  (def handler (http/routes [[:get "/a/:x" (shows "a")]] (fn [req] (set seen req) {:body "next"})))
  (each path ["/" "/b" "/a" "/a/b/c" "/a/%zz" "*"]
    (t/same "next" (body-of handler "GET" path) path)
    (t/same @{:method "GET" :route path :headers @{}} seen))
  (t/same `a {:x "b"}` (body-of handler "GET" "/a/b"))
  (t/same [405 "GET, HEAD, OPTIONS"] (allow-of handler "POST" "/a/b"))
  (set seen nil)
  (t/same [204 "GET, HEAD, OPTIONS"] (allow-of handler "OPTIONS" "*"))
  (t/same nil seen "what is about the server is not about a path of the next handler"))

(t/test "the routes and the next handler may be in either order, and the next may be all that can be a handler"
  (def routes [[:get "/a" "a"]])
  (each handler [(http/routes routes 403) (http/routes 403 routes) (-> 403 (http/routes routes))]
    (t/same 403 ((ask handler "GET" "/b") :status))
    (t/same "a" (body-of handler "GET" "/a")))
  (t/same "own" (body-of (http/routes routes {:status 404 :body "own"}) "GET" "/b")))

(t/test "an array of routes and one without routes are fine"
  (t/same "a" (body-of (http/routes @[@[:get "/" "a"]]) "GET" "/"))
  (t/same 404 ((ask (http/routes []) "GET" "/") :status)))

(t/test "later changes of the array change nothing"
  (def routes @[[:get "/" "a"]])
  (def handler (http/routes routes))
  (array/push routes [:get "/b" "b"])
  (t/same 404 ((ask handler "GET" "/b") :status)))

# Groups.

(defn- marks
  "A middleware that puts its mark in front of the body."
  [mark]
  (fn [nextmw]
    (fn [req]
      (def response (nextmw req))
      (merge response {:body (string mark " " (response :body))}))))

(def- grouped
  (http/routes
    [[:get "/" (shows "root")]
     ["/admin" [(marks "1") (marks "2")]
      [:get "/" (shows "admin")]
      [:get "/stats" (shows "stats")]
      ["/:tenant" [(marks "3")]
       [:get "/" (shows "tenant")]
       [:get "/users/:id" (shows "user")]]
      ["/plain"
       [:get "/" (shows "plain")]]]
     ["" [(marks "0")]
      [:get "/marked" (shows "marked")]
      [[:get :post] "/both" (shows "both")]]
     ["/none" []
      [:get "/x" (shows "x")]]]))

(t/test "a group gives its routes a prefix and middleware, the first one outermost"
  (each [path expected]
    [["/" "root {}"]
     ["/admin" "1 2 admin {}"]
     ["/admin/stats" "1 2 stats {}"]
     ["/admin/acme" `1 2 3 tenant {:tenant "acme"}`]
     ["/admin/acme/users/7" `1 2 3 user {:id "7" :tenant "acme"}`]
     ["/admin/plain" "1 2 plain {}"]
     ["/marked" "0 marked {}"]
     ["/none/x" "x {}"]]
    (def response (ask grouped "GET" path))
    (t/same expected
            (if-let [[name params] (peg/match '(* '(to "{") '(any 1)) (response :body))]
              (string name (string/format "%j" (table/to-struct (merge (parse params)))))) path)))

(t/test "middleware sees only what a route of its group matches"
  (each [method path] [["GET" "/admin/"] ["GET" "/admin/acme/none"] ["GET" "/nowhere"]]
    (t/same "Not Found" (body-of grouped method path) path))
  (t/same "Method Not Allowed" (body-of grouped "POST" "/admin/stats")))

(t/test "an answer to OPTIONS passes through the middleware of the group, which may add headers"
  (defn cors [nextmw]
    (fn [req]
      (def response (nextmw req))
      (merge response {:headers (merge (response :headers) {"Access-Control-Allow-Origin" "*"})})))
  (def handler (http/routes [["/api/:v" [cors] [:get "/x" "x"] [:post "/x" "y"]]]))
  (def {:status status :headers headers} (ask handler "OPTIONS" "/api/1/x"))
  (t/same [204 {"Allow" "GET, HEAD, OPTIONS, POST" "Access-Control-Allow-Origin" "*"}]
          [status (table/to-struct headers)]))

(t/test "if the routes of a path are in several groups, its answer to OPTIONS passes through that of the first"
  (def handler
    (http/routes [["" [(marks "first")] [:get "/a" "x"]]
                  ["" [(marks "second")] [:post "/a" "x"]]]))
  (t/same "first " (body-of handler "OPTIONS" "/a"))
  (t/same [204 "GET, HEAD, OPTIONS, POST"] (allow-of handler "OPTIONS" "/a")))

(t/test "middleware is called once for its group, and may keep what all its routes share"
  (var made 0)
  (defn counting [nextmw]
    (++ made)
    (var count 0)
    (fn [req] (nextmw req) {:body (string (++ count))}))
  (def handler (http/routes [["/a" [counting] [:get "/1" "x"] [:get "/2" "x"]]]))
  (t/same 1 made)
  (t/same ["1" "2"] [(body-of handler "GET" "/a/1") (body-of handler "GET" "/a/2")]))

(t/test "middleware finds the parameters and the pattern, may answer itself, and may call the handler again"
  (var seen nil)
  (defn guard [nextmw]
    (fn [req]
      (set seen [(req :params) (req :pattern)])
      (if (= "no" (get-in req [:params :who]))
        {:status 403}
        (do (nextmw req) (nextmw (merge req))))))
  (def handler (http/routes [["/of/:who" [guard] [:get "/x" (shows "x")]]]))
  (t/same `x {:who "me"}` (body-of handler "GET" "/of/me/x"))
  (t/same [{:who "me"} "/of/:who/x"] seen)
  (t/same 403 ((ask handler "GET" "/of/no/x") :status)))

(t/test "middleware that passes on something else than the request is told"
  (def handler (http/routes [["/a" [(fn [nextmw] (fn [req] (nextmw @{})))] [:get "/" "x"]]]))
  (t/same `kqnet/http/routes: the middleware of the group "/a" has passed on a table that is not the request, nor made from it`
          (t/raised |(ask handler "GET" "/a"))))

(t/test "a table of routes may be the handler of a route: it adds its parameters, and its own groups"
  (def inner
    (http/routes [["/api/:version" [(marks "inner")]
                   [:get "/users/:id" (fn [req] {:body (string/format "%s %j" (req :pattern) (map (req :params) [:version :id :rest]))})]]]))
  (defn twice [nextmw] (fn [req] (nextmw req) (nextmw req)))
  (def handler (http/routes [["/api" [(marks "outer") twice] [:any "/*rest" inner]]]))
  (t/same `outer inner /api/:version/users/:id @["2" "7" "2/users/7"]` (body-of handler "GET" "/api/2/users/7")))

(t/test "the handler finds the pattern with all prefixes, and the whole path"
  (var seen nil)
  (def handler (http/routes [["/a" [] ["/:b" [] [:get "/c/*d" (fn [req] (set seen req) {:status 200})]]]]))
  (ask handler "GET" "/a/1/c/2/3")
  (t/same ["/a/:b/c/*d" "/a/1/c/2/3"] [(seen :pattern) (seen :route)]))

(t/test "nothing of a request is left for another"
  (def seen @[])
  (def handler (http/routes [[:get "/a/:x" (fn [req] (array/push seen (req :params)) (ev/sleep 0) {:body ((req :params) :x)})]
                             [:get "/b" (fn [req] (array/push seen (req :params)) {:status 200})]]))
  (t/same (map string (range 20)) (t/together 20 |(body-of handler "GET" (string "/a/" $))))
  (ask handler "GET" "/b")
  (t/same {} (last seen))
  (t/check (all struct? seen) "parameters that cannot be changed"))

# Tables that are refused.

(defn- refusal [& args] (string/replace "kqnet/http/routes: " "" (t/raised |(http/routes ;args))))

(t/test "two routes for the same requests are refused, and both are named"
  (each [expected & routes]
    [["GET /a and GET /a" [:get "/a" 200] [:get "/a" 200]]
     ["GET /users/:id and GET /users/:name" [:get "/users/:id" 200] [:get "/users/:name" 200]]
     ["GET /a and GET /a" [[:get :post] "/a" 200] [[:put :get] "/a" 200]]
     [":any /*a and :any /*b" [:any "/*a" 200] [:any "/*b" 200]]
     ["GET /café and GET /caf%C3%A9" [:get "/café" 200] [:get "/caf%C3%A9" 200]]
     ["GET /a/b and GET /a/b" [:get "/a/b" 200] ["/a" [] [:get "/b" 200]]]
     ["GET /a and GET /a" ["/a" [] [:get "/" 200]] [:get "/a" 200]]]
    (t/same (string "two routes match the same requests: " expected) (refusal routes))))

(t/test "wrong routes are refused, and named"
  (def f (fn [req] {:status 200}))
  (each [expected routes]
    [[`the method of [:gte "/" 200] must be one of ` [[:gte "/" 200]]]
     [`the method of ["get" "/" 200] must be one of ` [["get" "/" 200]]]
     [`the method of [:GET "/" 200] must be one of ` [[:GET "/" 200]]]
     [`the method of [() "/" 200] must be one of ` [[[] "/" 200]]]
     [`the method of [nil "/" 200] must be one of ` [[nil "/" 200]]]
     [`[:get "a"]: the pattern must begin with a slash` [[:get "a" f]]]
     [`[:get ""]: the pattern must begin with a slash` [[:get "" f]]]
     [`[:get "b"] in the group "/a": the pattern must begin with a slash` [["/a" [] [:get "b" f]]]]
     [`[:get 5]: the pattern must be a string, got 5` [[:get 5 f]]]
     [`[:get "/:"]: the parameter ":" has no name` [[:get "/:" f]]]
     [`[:get "/:a.b"]: the name of the parameter ":a.b" may have letters, digits, - and _` [[:get "/:a.b" f]]]
     [`[:get "/:a/:a"]: the parameter :a is there twice` [[:get "/:a/:a" f]]]
     [`[:get "/:a/*a"]: the parameter :a is there twice` [[:get "/:a/*a" f]]]
     [`[:get "/:a"] in the group "/:a": the parameter :a is there twice` [["/:a" [] [:get "/:a" f]]]]
     [`[:get "/*a/b"]: the wildcard "*a" must be at the end` [[:get "/*a/b" f]]]
     [`[:get "/a//b"]: the pattern has an empty segment` [[:get "/a//b" f]]]
     [`[:get "/a?b"]: the pattern has the character "?"` [[:get "/a?b" f]]]
     [`[:get "/a b"]: the pattern has the character " "` [[:get "/a b" f]]]
     [`[:get "/a%zz"]: "a%zz" has a malformed escape` [[:get "/a%zz" f]]]
     [`[:get "/../a"]: no client sends a path with a segment . or ..` [[:get "/../a" f]]]
     [`GET /a: the handler is nil` [[:get "/a" nil]]]
     [`GET /a/b: the handler must take one argument` [["/a" [] [:get "/b" (fn [] 1)]]]]
     [`POST /a: the handler is a table of routes` [[:post "/a" {"/" 200}]]]
     [`POST /a: no HTTP status has the number 7` [[[:post :get] "/a" 7]]]
     [`a route has a method, a pattern and a handler, got [:get "/a"]` [[:get "/a"]]]
     [`a route has a method, a pattern and a handler, got [:get "/a" 200 1]` [[:get "/a" 200 1]]]
     [`a route must be like [:get "/" handler], and a group like` [5]]
     [`a route must be like [:get "/" handler], and a group like` [[]]]
     [`a route must be like [:get "/" handler], and a group like ["/admin" [middleware] route], got :get; each route has` [:get "/" f]]
     [`an array of routes among routes needs a ; in front of it` [[[:get "/" f] [:get "/a" f]]]]
     [`the routes must be an array` {"/" f}]
     [`the routes must be an array` nil]
     [`the prefix "a/b" of a group must begin with a slash` [["a/b" [] [:get "/" f]]]]
     [`the prefix "/a/" of a group must begin with a slash and not end with one` [["/a/" [] [:get "/" f]]]]
     [`the method of a route comes first, and then its pattern: got ["/a" :get <function` [["/a" :get f]]]
     [`the method of a route comes first, and then its pattern: got ["/a" "GET" <function` [["/a" "GET" f]]]
     [`the middleware of the group "/a" must return a handler, a function; <function` [["/a" [(fn [req] {:body "x"})] [:get "/" f]]]]
     [`the middleware of the group "/a" must be in brackets` [["/a" identity [:get "/" f]]]]
     [`the middleware of the group "/a" must be in brackets; for a route, the method comes first: ["/a" ` [["/a" f]]]
     [`the prefix "/" of a group must begin with a slash and not end with one, or be empty; for a route, the method comes first` [["/" f]]]
     [`the middleware of the group "/a/b" must be a function, got nil` [["/a" ["/b" [nil] [:get "/" f]]]]]
     [`the middleware of the group "/a" must take one argument, the next handler` [["/a" [(fn [] 1)] [:get "/" f]]]]
     [`the middleware of the group "/a": the handler is nil` [["/a" [(fn [nextmw] nil)] [:get "/" f]]]]]
    (def got (refusal routes))
    (t/check (string/has-prefix? expected got) (string expected " in " got))
    (t/check (not (string/find "\n" got)) "one line"))
  (t/same "the handler must be a function of the request, or a response, got :next" (refusal [] :next)))

# Paths from patterns.

(t/test "a path is made from a pattern and values, which are encoded"
  (each [expected pattern params]
    [["/" "/" {}]
     ["/users" "/users" {:id 7}]
     ["/users/7" "/users/:id" {:id 7}]
     ["/users/3000000000" "/users/:id" {:id 3000000000}]
     ["/users/a%2Fb%20%3F%25%2B/edit" "/users/:id/edit" @{:id "a/b ?%+"}]
     ["/users/%C3%BC/" "/users/:id/" {:id "ü"}]
     ["/files/a/b%20c" "/files/*path" {:path "a/b c"}]
     ["/files/" "/files/*" {:* ""}]
     ["/caf%C3%A9/%3Ax" "/café/%3Ax" {}]]
    (t/same expected (http/path-for pattern params))))

(t/test "a path that was made leads to its route, with the same values"
  (def pattern "/a/:x/b/:y/*z")
  (var seen nil)
  (def handler (http/routes [[:get pattern (fn [req] (set seen (req :params)) {:status 200})]]))
  (for byte 0 256
    (def text (string/from-bytes byte))
    (def params {:x text :y (string "." text) :z (string text "x/" text text "y")})
    (def [fits path] (protect (http/path-for pattern params)))
    (t/same (not (or (< byte 32) (= byte 127) (= byte (chr ".")))) fits byte)
    (when fits
      (ask handler "GET" path)
      (t/same params seen byte))))

(t/test "a path without a value, or with one that no request has, is refused"
  (each [expected pattern params]
    [[`the value of :id must be a string or an integer, got nil` "/a/:id" {}]
     [`the value of :id must be a string or an integer, got 1.5` "/a/:id" {:id 1.5}]
     [`the value of :id must be a string or an integer, got inf` "/a/:id" {:id math/inf}]
     [`the value of :id must be a string or an integer, got 1e+300` "/a/:id" {:id 1e300}]
     [`no request's path can have the value "" for :id` "/a/:id" {:id ""}]
     [`no request's path can have the value ".." for :id` "/a/:id" {:id ".."}]
     [`no request's path can have the value "../b" for :p` "/a/*p" {:p "../b"}]
     [`no request's path can have the value "a\0" for :id` "/a/:id" {:id "a\0"}]
     [`the parameters must be a table or a struct, got "7"` "/a/:id" "7"]
     [`the parameter ":" has no name` "/a/:" {}]]
    (t/same (string/format "kqnet/http/path-for: %q: %s" pattern expected) (t/raised |(http/path-for pattern params)))))

# Hostile paths, and cost.

(def- search
  "The function that visits one node of the tree."
  (((require "kqnet/http/route-tree") 'search) :value))

(defn- visits
  "How many nodes of the tree the handler visits for a request: how often a breakpoint at the start of `search` is reached."
  [handler method path]
  (def fib (fiber/new |(ask handler method path) :d))
  (debug/fbreak search 0)
  (defer (debug/unfbreak search 0)
    (resume fib)
    (var count 0)
    (while (= :debug (fiber/status fib))
      (++ count)
      (resume fib))
    (t/same :dead (fiber/status fib))
    count))

(defn- many
  "A table with `count` groups of routes."
  [count]
  (http/routes
    (seq [i :range [0 count]
          route :in [[:get (string "/r" i) (fn [_] {:status 200})]
                     [:get (string "/r" i "/:id") (fn [_] {:status 200})]
                     [:post (string "/r" i "/:id/items/*rest") (fn [_] {:status 200})]]]
      route)))

(t/test "with 1,000 routes, as many nodes are visited as with 10"
  (def few (many 4))
  (def lots (many 334))
  (each [method path expected] [["GET" "/r3" 0] ["GET" "/r3/7" 3] ["POST" "/r3/7/items/a/b" 4] ["DELETE" "/r3/7" 3]
                                ["GET" "/none" 1] ["GET" "/r3/a%20b" 3]]
    (t/same [expected expected] [(visits few method path) (visits lots method path)] path)))

(t/test "a path of thousands of segments visits no more nodes than a short one"
  (def handler (http/routes [[:get "/:a/:b/:c/x" (shows "x")] [:get "/:a/:b/y" (shows "y")] [:get "/z/*rest" (shows "z")]]))
  (t/same 4 (visits handler "GET" "/a/b/c/d/e"))
  (t/same 4 (visits handler "GET" (string/repeat "/a" 100000)))
  (each piece ["/" "/a" "/%41" "/.." "/%00" "/%"]
    (t/same 404 ((ask handler "GET" (string/repeat piece 100000)) :status) piece))
  (def rest (string/slice (string/repeat "/a" 100000) 1))
  (t/same (string/format "z %j" {:rest rest}) (body-of handler "GET" (string "/z/" rest)))
  (t/same 404 ((ask handler "GET" (string "/z/" rest "/..")) :status)))

(t/test "branches that look alike are each visited once"
  # Each level has a literal and a parameter, and every route ends differently from the path.
  (def depth 8)
  (defn pattern [bits]
    (string (string/join (seq [i :range [0 depth]] (if (zero? (band bits (blshift 1 i))) "/a" (string "/:p" i))))
            "/end"))
  (def handler (http/routes (seq [bits :range [0 (blshift 1 depth)]] [:get (pattern bits) 200])))
  # All nodes of a binary tree.
  (t/same (dec (blshift 1 (inc depth))) (visits handler "GET" (string (string/repeat "/a" depth) "/other"))))

(t/test "a route with many parameters gives all of them"
  (def names (map |(string "p" $) (range 200)))
  (var seen nil)
  (def handler (http/routes [[:get (string "/:" (string/join names "/:")) (fn [req] (set seen (req :params)) {:status 200})]]))
  (ask handler "GET" (string "/" (string/join (map string (range 200)) "/")))
  (t/same 200 (length seen))
  (t/same ["0" "199"] [(seen :p0) (seen :p199)]))

# Through a server.

(t/test "routes work in a server, with HEAD, a body, and a log around them"
  (def lines @[])
  (def handler
    (http/logger
      (http/routes
        [[:get "/users/:id" (fn [req] {:body (string "user " (get-in req [:params :id]))})]
         [:post "/users" (fn [req] {:status 201 :body (string (http/read-body req))})]
         ["/in" [|(http/logger $ :format (fn [a] (string "inner " (get-in a [:request :pattern]))) :out |(array/push lines $))]
          [:get "/:x" (fn [req] {:body ((req :params) :x)})]]])
      :format (fn [answer] (string (answer :method) " " (get-in answer [:request :pattern] "-") " " (answer :status)))
      :out |(array/push lines $)))
  (with [server (http/server handler host 0 :max-headers 5)]
    (t/same [200 "user a/b"] (h/brief (h/fetch server "GET" "/users/a%2Fb?q=1")))
    (def {:status status :headers headers :body body} (h/fetch server "HEAD" "/users/7"))
    (t/same [200 "6" ""] [status (headers "content-length") body])
    (t/same [201 "text"] (h/brief (h/fetch server "POST" "/users" [] "text")))
    (def {:status status :headers headers :body body} (h/fetch server "PUT" "/users/7" [] "unread"))
    (t/same [405 "GET, HEAD, OPTIONS" "Method Not Allowed"] [status (headers "allow") body])
    (t/same 404 ((h/fetch server "GET" "/users/%00") :status))
    (t/same 404 ((h/fetch server "GET" (string/repeat "/" 5000)) :status))
    (t/same 204 ((h/fetch server "OPTIONS" "*") :status))
    (t/same [200 "y"] (h/brief (h/fetch server "GET" "/in/y")))
    # The server refuses this itself.
    (t/same 431 ((h/fetch server "GET" "/users/7" (map |(string "X-" $ ": 1") (range 9))) :status))
    (t/wait-until "the log" |(>= (length lines) 10))
    (t/same ["GET - 404" "GET - 404" "GET - 431" "GET /in/:x 200" "GET /users/:id 200" "HEAD /users/:id 200"
             "OPTIONS - 204" "POST /users 201" "PUT - 405" "inner /in/:x"]
            (sort (map |(string/trimr $ "\n") lines)))))

(t/test "routes in front of a folder of files leave it what they do not match"
  (def folder (t/scratch "routes"))
  (os/mkdir folder)
  (spit (string folder "/a.txt") "file")
  (defer (t/remove folder)
    (def handler
      (http/routes [[:get "/api" "api"]
                    ["/assets" [] [:get "/*" (http/static folder :prefix "/assets")]]]
                   (http/static folder)))
    (with [server (http/server handler host 0)]
      (t/same [200 "api"] (h/brief (h/fetch server "GET" "/api")))
      (t/same [200 "file"] (h/brief (h/fetch server "GET" "/a.txt")))
      (t/same [200 "file"] (h/brief (h/fetch server "GET" "/assets/a.txt")))
      (t/same 404 ((h/fetch server "GET" "/assets/../a.txt") :status)))))

(t/test "a logger behind the routes gets what the server refuses"
  (def lines @[])
  (def handler (http/routes [[:get "/" "x"]] (http/logger 404 :format |(string ($ :status)) :out |(array/push lines $))))
  (with [server (http/server handler host 0 :max-headers 5)]
    (t/same 431 ((h/fetch server "GET" "/" (map |(string "X-" $ ": 1") (range 9))) :status))
    (t/wait-until "the log" |(not (empty? lines)))
    (t/same ["431"] (map |(string/trimr $ "\n") lines))))

(t/finish)
