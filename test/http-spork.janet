###
### kqnet/http compared with spork/http: the same bytes for both, and the same handlers on both.
###
### Each difference has a name.
###

(import ./support :as t)
(import ./support/http :as h)

(def- from (t/need-spork))
(import spork/http :as spork)
(import kqnet/http)

(def- host "127.0.0.1")

(def- no-spork
  "Why there is nothing to compare with, or nil."
  (unless (string/has-prefix? "the real" from) (string "on " from)))

(defmacro- compared
  "A test that is skipped without the real spork/http."
  [name & body]
  ~(t/test ,name
     (when no-spork (t/skip no-spork))
     ,;body))

# The same bytes.

(def- requests-seen @[])

(defn- keep-request
  "Keeps the contents of a request table, and its body."
  [read-body]
  (fn [req]
    (def plain (table/clone req))
    (put plain :connection nil)
    (put plain :buffer nil)
    (put plain :request-number nil)
    (def body (read-body req))
    (array/push requests-seen [plain (if body (string body))])
    {:body "seen"}))

# spork's server closes each connection after one response, as these requests ask for.
(def- theirs (spork/server (keep-request spork/read-body) host 0))
(def- ours (http/server (keep-request http/read-body) host 0))

(defn- seen
  "What a server's handler gets for these bytes: the request table and the body, or nil if it gets nothing."
  [server parts]
  (array/clear requests-seen)
  (with [conn (t/connect server)]
    (protect
      (each part parts
        (:write conn part)
        # Both servers are in this process.
        (repeat 3 (ev/sleep 0)))
      (net/shutdown conn :w)
      (t/receive conn)))
  (first requests-seen))

(defn- mended
  ``A request table of spork's, with the differences that are intended: the lines of Cookie are joined,
  and a query string is read to its end. spork's grammar ends at an empty pair or key.``
  [[req body]]
  (def cookies (get-in req [:headers "cookie"]))
  (when (indexed? cookies) (put-in req [:headers "cookie"] (string/join cookies "; ")))
  (when-let [text (req :query-string)]
    (def pairs (filter |(not (or (empty? $) (string/has-prefix? "=" $)))
                       (peg/match '(any (+ (set "&;") '(some (if-not (set "&;") 1)))) text)))
    (put req :query (first (peg/match spork/query-string-grammar (string/join pairs "&")))))
  [req body])

(defn- without-empty-key
  "A request table of kqnet's without the value of a query that has no key."
  [[req body]]
  (when (req :query) (put (req :query) "" nil))
  [req body])

(defn- compare-requests
  "Compares what both servers make of the same bytes. Returns whether both accepted them."
  [parts]
  (def a (seen theirs parts))
  (def b (seen ours parts))
  (when (and a b)
    (t/same (mended a) (without-empty-key b) (string/format "%q" parts))
    true))

(defn- get-bytes
  [path & headers]
  (h/request "GET" path ["Connection: close" ;headers]))

(compared "request tables are the same"
  (def paths
    ["/" "/a" "/a/b/c.html" "/a?b" "/a?b=c" "/a?b=c&d=e" "/a?b=c;d=e" "/a?b=1&b=2&b=3" "/a?" "/a?=b" "/a?&&"
     "/a?b=c=d" "/a?b=%20x" "/a?b=+x+" "/a?b=%2" "/a?b=%zz" "/a?%41=%42" "/a?b&c" "/a?b=" "/a?b=?c"
     "/%41" "//" "/a//b" "/a/../b" "/a;b" "/a:b@c" "/~a_b-c.d!e$f'g(h)i*j,k" "/a?b=/c/d" "/a&b" "/a=b"])
  (each path paths
    (t/check (compare-requests [(get-bytes path)]) (string "both take " path)))
  (def heads
    [["A: b"] ["a: b" "A: c" "a: d"] ["X-Empty:"] ["X-Empty: "] ["X:y"] ["X: a:b"] ["X:    many spaces"]
     ["X:\ttab"] ["X: in\tside"] ["Cookie: a=b; c=d"] ["User-Agent: Mozilla/5.0 (X11; Linux) \"q\""]
     ["Accept: text/html;q=0.9, */*;q=0.8"] ["X-1_2.3~4: v"] [(string "X-Long: " (string/repeat "v" 4000))]
     (seq [i :range [0 90]] (string "X-" i ": " i))])
  (each headers heads
    (t/check (compare-requests [(get-bytes "/" ;headers)]) (string/format "both take %q" headers)))
  (each method ["GET" "POST" "PUT" "DELETE" "PATCH" "OPTIONS" "HEAD" "BREW"]
    (t/check (compare-requests [(h/request method "/" ["Connection: close"])]) method))
  # spork's table has no version; kqnet's has it only for 1.0.
  (def [old] (seen ours ["GET / HTTP/1.0\r\n\r\n"]))
  (t/same "1.0" (old :http-version))
  (t/same (first (seen theirs ["GET / HTTP/1.0\r\n\r\n"])) (put old :http-version nil)))

(def- rng (math/rng 1560))

(defn- pick [from] (in from (math/rng-int rng (length from))))

(defn- random-text
  [most letters]
  (string/from-bytes ;(seq [_ :range [0 (math/rng-int rng most)]] (pick letters))))

(compared "request tables of 400 random requests are the same where both take them"
  (var both 0)
  (for i 0 400
    (def path (string "/" (random-text 8 "ab/.~") (if (< 0.3 (math/rng-uniform rng)) "?" "")
                      (random-text 24 "ab=&;+%4120?/=&")))
    (def headers
      (seq [_ :range [0 (math/rng-int rng 6)]]
        (string (pick ["X" "x" "Accept" "accept" "X-A" "Cookie"]) ":" (pick ["" " " "  " "\t"])
                # No space at the end: spork would make it a part of the value.
                (random-text 20 "ab =;,\"\t\\:/") "z")))
    (def bytes (h/request (pick ["GET" "POST" "HEAD"]) path ["Connection: close" ;headers]))
    (def cut (math/rng-int rng (length bytes)))
    (when (compare-requests [(string/slice bytes 0 cut) (string/slice bytes cut)]) (++ both)))
  (print "      " both " of 400 were accepted by both")
  (t/check (> both 300) "most of them"))

(compared "bodies are the same"
  (def body (string/repeat "0123456789abcdef" 1000))
  (each size [0 1 10 1000 16000]
    (def text (string/slice body 0 size))
    (def bytes (h/request "POST" "/" ["Connection: close"] text))
    (each cut [0 1 (div (length bytes) 2) (dec (length bytes))]
      (t/check (compare-requests [(string/slice bytes 0 cut) (string/slice bytes cut)])
               (string "both take " size " bytes"))))
  (each chunks [["hello"] ["hello" " " "world"] [(string/slice body 0 5000) "x" (string/slice body 0 300)] []]
    (def bytes
      (string (h/request "POST" "/" ["Connection: close" "Transfer-Encoding: chunked"])
              ;(map |(string/format "%x\r\n%s\r\n" (length $) $) chunks)
              "0\r\n\r\n"))
    (each cut [0 1 (- (length bytes) 6)]
      (t/check (compare-requests [(string/slice bytes 0 cut) (string/slice bytes cut)])
               (string/format "both take chunks, cut at %d" cut)))))

(compared "what differs in request tables, by name"
  (defn values [key & parts] (map |(get-in (seen $ parts) [0 key]) [theirs ours]))
  (defn headers [name & parts] (map |(get-in (seen $ parts) [0 :headers name]) [theirs ours]))
  # A space at the end is not a part of a header's value (RFC 9110, 5.5).
  (t/same ["v  " "v"] (headers "x" (get-bytes "/" "X: v  ")))
  # If the target has a host, the route is only the path (RFC 9112, 3.2.2).
  (def absolute "GET http://h/a?b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
  (t/same ["http://h/a" "/a"] (values :route absolute))
  (t/same ["http://h/a?b" "http://h/a?b"] (values :path absolute)))

(compared "what spork loses of a query and of cookies is there"
  (defn query [path] (map |(get-in (seen $ [(get-bytes path)]) [0 :query]) [theirs ours]))
  (t/same [@{"a" "1"} @{"a" "1" "b" "2"}] (query "/?a=1&&b=2"))
  (t/same [@{} @{"" "b" "c" true}] (query "/?=b&c"))
  (t/same [@["a=1" "b=2"] "a=1; b=2"]
          (map |(get-in (seen $ [(get-bytes "/" "Cookie: a=1" "Cookie: b=2")]) [0 :headers "cookie"]) [theirs ours])))

(compared "what only one takes, by name"
  (defn taken [bytes] (map |(truthy? (seen $ [bytes])) [theirs ours]))
  (def rest " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n")
  # spork's grammar of targets and methods is narrower.
  (each start ["GET /caf\xC3\xA9" "GET /[a]" "GET /a|b" "GET /?q={\"a\":1}" "M-SEARCH /" "get /"]
    (t/same [false true] (taken (string start rest "\r\n")) start))
  # What can be understood in two ways is refused by kqnet.
  (each headers ["A : b\r\n" "Host: other\r\n" "Content-Length: 0\r\nContent-Length: 0\r\n"
                 "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"]
    (t/same false (last (taken (string "GET /" rest headers "\r\n"))) headers))
  (t/same [true false] (taken "GET / HTTP/1.1\r\n\r\n") "no Host"))

# The same handlers.

(defn- both-answers
  "The answers to the same handler on both servers."
  [handler bytes]
  (map
    (fn [serve]
      (with [server (serve handler host 0)]
        (with [conn (t/send server bytes)]
          (def text (t/receive conn))
          (def end (string/find "\r\n\r\n" text))
          (unless end (break :nothing))
          # For some statuses spork has no reason phrase, which kqnet's parser would not accept.
          (def [status & lines] (string/split "\r\n" (string/slice text 0 end)))
          [status
           (sorted (filter |(not (some (fn [name] (string/has-prefix? name (string/ascii-lower $)))
                                       ["date:" "connection:"]))
                           lines))
           (string/slice text (+ 4 end))])))
    [spork/server http/server]))

(defn- alike
  "Fails unless both servers answer the same, except for Date and Connection, which only one sends."
  [handler & requests]
  (each bytes requests
    (def [a b] (both-answers handler bytes))
    (t/check (not= a :nothing) "an answer of spork's")
    (t/same a b (string/format "%q" bytes))))

(compared "responses are the same"
  (each response
    [{:status 200 :body "hello"}
     {:status 201 :headers {"X-A" "b"} :body "made"}
     @{:status 404 :body @"not here"}
     {:body "no status"}
     {:status 200 :body ""}
     {:status 200 :headers {"Set-Cookie" ["a=1" "b=2"]} :body "x"}
     {:status 200 :headers {"Set-Cookie" @["a=1" "b=2"] "Content-Type" "text/html"} :body "x"}
     {:status 200 :headers {"X-Number" 5 "X-Big" 1000000 "X-Yes" true :x-key :value} :body "x"}
     {:status 200 :headers @{"x-lower" "Case Kept"} :body :keyword}
     {:status 500 :body "an error of the handler's own"}
     {:status 418 :body "x" :headers {}}
     {:status 200 :body (string/repeat "0123456789" 20000)}
     {:status 200 :body ["one" "two" "three"]}
     {:status 200 :body @["one"]}
     {:status 200 :body {:a "dictionary"}}
     {:status 200 :headers {"Content-Type" "text/plain"} :body [@"buffer" :keyword 'symbol]}]
    # spork has no reason phrase for 418.
    (unless (and (= 418 (response :status)) (nil? (spork/status-messages 418)))
      (alike (fn [_] response) (get-bytes "/") (h/request "POST" "/" ["Connection: close"] "body"))))
  (alike (fn [_] {:body (coro (yield "a") (ev/sleep 0) (yield "bc"))}) (get-bytes "/")))

(compared "middleware, routers and cookies of spork/http do the same on both servers"
  (def routes
    {"/" {:status 200 :body "root"}
     "/function" (fn [req] {:body (string (req :method) " " (req :path) " " (get-in req [:query "a"]))})
     "/number" 404
     "/string" "a string"
     "/buffer" @"a buffer"
     "/body" (fn [req] {:body (or (spork/read-body req) "none")})
     "/cookies" (spork/cookies (fn [req]
                                 {:body (string/join (sort (map |(string/join $ "=") (pairs (req :cookies)))) " ")}))})
  (each handler [(spork/router routes) (spork/router (merge routes {:default "default"}))]
    (alike handler
           (get-bytes "/") (get-bytes "/?a=b") (get-bytes "/function?a=b") (get-bytes "/number") (get-bytes "/string")
           (get-bytes "/buffer") (get-bytes "/nowhere") (get-bytes "/cookies" "Cookie: a=1; b=2")
           (get-bytes "/cookies") (get-bytes "/body")
           (h/request "POST" "/body" ["Connection: close"] "a body")))
  (alike "a string as the handler" (get-bytes "/"))
  (alike 404 (get-bytes "/"))
  (alike {:status 202 :body "a response as the handler"} (get-bytes "/")))

(compared "the logger of spork/http and the one here print the same on both servers"
  (def line (peg/compile '(* '(to " elapsed ") " elapsed " :d+ "." :d+ "ms\n" -1)))
  (def printed
    (seq [logger :in [spork/logger http/logger]
          serve :in [spork/server http/server]]
      (def out (file/temp))
      (with [server (serve (with-dyns [:out out] (logger (fn [_] {:status 201 :body "x"}))) host 0)]
        (t/ask server (get-bytes "/path?a=b")))
      (file/seek out :set 0)
      (def text (string (file/read out :all)))
      (file/close out)
      (first (t/check (peg/match line text) (string "a line of the logger, not " text)))))
  (t/same ["GET 201 /path?a=b"] (distinct printed)))

(compared "what differs in responses, by name"
  (defn answers [handler bytes] (both-answers handler bytes))
  # An empty body has a length, so the connection can be kept.
  (t/same [["HTTP/1.1 200 OK" [] ""] ["HTTP/1.1 200 OK" ["Content-Length: 0"] ""]]
          (answers (fn [_] {:status 200}) (get-bytes "/")))
  # HEAD gets no body.
  (def [[_ _ theirs] [_ lengths ours]] (answers (fn [_] {:body "hello"}) (h/request "HEAD" "/" ["Connection: close"])))
  (t/same ["hello" "" ["Content-Length: 5"]] [theirs ours lengths])
  # An empty piece does not end the body.
  (def [[_ _ theirs] [_ _ ours]] (answers (fn [_] {:body ["a" "" "b"]}) (get-bytes "/")))
  (t/same "1\r\na\r\n1\r\nb\r\n0\r\n\r\n" ours)
  (t/check (string/has-prefix? "1\r\na\r\n0\r\n\r\n" theirs) "spork's ends there")
  # HTTP/1.0 has no chunks.
  (def [[_ _ theirs] [_ _ ours]] (answers (fn [_] {:body ["a" "b"]}) "GET / HTTP/1.0\r\n\r\n"))
  (t/same ["1\r\na\r\n1\r\nb\r\n0\r\n\r\n" "ab"] [theirs ours])
  # A header's value cannot end the header.
  (def [[_ theirs] [status]] (answers (fn [_] {:headers {"X-A" "b\r\nX-C: d"} :body "x"}) (get-bytes "/")))
  (t/check (has-value? theirs "X-C: d") "an injected header with spork")
  (t/same "HTTP/1.1 500 Internal Server Error" status))

(compared "spork's own client, in each of its forms, on this server"
  (with [server (http/server
                  (http/router
                    {"/echo" (fn [req] {:headers {"X-Method" (req :method)} :body (or (http/read-body req) "none")})
                     "/stream" (fn [_] {:body (coro (yield "one ") (yield "two"))})})
                  host 0)]
    (def url (string "http://127.0.0.1:" (t/port server)))
    (def echoed (spork/request "PUT" (string url "/echo") :body "a body"))
    (t/same [200 "a body" "PUT"] [(echoed :status) (string (echoed :body)) ((echoed :headers) "x-method")])
    (t/same "none" (string ((spork/request "GET" (string url "/echo")) :body)))
    (t/same "one two" (string ((spork/request "GET" (string url "/stream")) :body)))
    (t/same "in pieces" (string ((spork/request "POST" (string url "/echo") :body ["in " "pieces"]) :body)))
    # spork's reading function is exported here, and understands kqnet's answers, too.
    (def response (http/request "GET" (string url "/echo")))
    (t/same "none" (string (http/read-body response)))))

(:close theirs)
(:close ours)
(t/finish)
