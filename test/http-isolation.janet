###
### Nothing of one request reaches another.
###
### This is about environments, bodies of earlier requests, and connections that a proxy would take for tunnels.
###

(import ./support :as t)
(import ./support/http :as h)
(import ./support/markdown)
(import ./support/programs)
(t/need-spork)
(import kqnet)
(import kqnet/http)

(def- host "127.0.0.1")

(defn- serve [handler & options] (http/server handler host 0 ;options))

(defn- show [x] {:body (string/format "%q" x)})

(defn- asks
  "The bodies of the answers to requests on one connection."
  [where & paths]
  (with [c (h/client where)]
    (seq [path :in paths] ((:ask c "GET" path) :body))))

# Environments.

(t/test "what a request sets with setdyn is not visible to other requests"
  (defn handler [{:path path}]
    (when (= path "/alice") (setdyn :user "alice"))
    (show (dyn :user)))
  (with [server (serve handler)]
    (t/same [`"alice"` "nil" `"alice"` "nil"] (asks server "/alice" "/" "/alice" "/"))
    (with [c (h/client server)]
      (:write (c :conn) (string (h/request "GET" "/alice") (h/request "GET" "/")))
      (t/same [`"alice"` "nil"] (seq [_ :range [0 2]] ((:receive c "GET") :body)) "in one packet"))
    (t/same nil (dyn :user))))

(t/test "a request that is kept does not show what the client sends next"
  (def kept @[])
  (with [server (serve (fn [req] (array/push kept req) {:body "hello"}))]
    (with [c (h/client server)]
      (:ask c "GET" "/first")
      (:ask c "POST" "/second" ["Authorization: secret"] "secret")
      (t/same 2 (length kept))
      (t/same nil ((first kept) :buffer)))))

(t/test "what a handler does to its request is not visible in the next one, although their headers are the same"
  (defn handler [req]
    (def {:path path :headers headers} req)
    (def seen (string/format "%q %q %q" (headers "accept") (headers "x") (req :route)))
    (put headers "accept" "changed")
    (put headers "host" nil)
    (put headers "x" "added")
    (put req :route "changed")
    (put req :more true)
    (when (= path "/clear") (table/clear headers) (table/clear req))
    {:body seen})
  (with [server (serve handler)]
    (with [c (h/client server)]
      (each path ["/a" "/a" "/clear" "/a" "/clear" "/a" "/a"]
        (t/same (string/format `"text/html" nil %q` path)
                ((:ask c "GET" path ["Accept: text/html"]) :body))))))

(t/test "a path and header lines that came before do not hide what differs"
  (with [server (serve (fn [{:path path :query query :headers headers}] (show [path (headers "host") query])))]
    (with [c (h/client server)]
      (each path ["/a" "/a" "/b" "/a" "/a?x=1" "/a" "http://other/a" "/a" "http://other/a" "/a?x=2"]
        (def body ((:ask c "GET" path) :body))
        (def is-other (string/has-prefix? "http://other" path))
        (t/check (= is-other (truthy? (string/find `"other"` body))) (string path ": " body))
        (t/check (string/find (string `("` path `"`) body) body)
        (t/check (= (truthy? (string/find "?" path)) (not (string/has-suffix? "nil)" body))) body)))))

(t/test "what a handler has set before it raises is visible to :on-error, and to no other request"
  (defn handler [{:path path}]
    (when (= path "/fail")
      (setdyn :user "alice")
      (error "meant"))
    (show (dyn :user)))
  (with [server (serve handler :on-error (fn [&] (show (dyn :user))))]
    (t/same [`"alice"`] (asks server "/fail"))
    (t/same ["nil"] (asks server "/"))))

(t/test "handlers see what the program has set, by with-dyns or later by setdyn"
  (with [server (with-dyns [:name "within"] (serve (fn [_] (show (dyn :name)))))]
    (t/same [`"within"` `"within"`] (asks server "/" "/")))
  (with [server (serve (fn [_] (show (dyn :name))))]
    (t/same ["nil"] (asks server "/"))
    (setdyn :name "later")
    (defer (setdyn :name nil)
      (t/same [`"later"`] (asks server "/")))))

(t/test "a task that a request has started keeps that request's environment"
  (def told (ev/chan 10))
  (def go (ev/chan))
  (defn handler [{:path path}]
    (setdyn :user path)
    (ev/go (fn []
             (ev/take go)
             (ev/give told (dyn :user))))
    {:body "started"})
  (with [server (serve handler)]
    (asks server "/a" "/b")
    (repeat 2 (ev/give go true))
    (t/same ["/a" "/b"] (sort (seq [_ :range [0 2]] (ev/take told))))))

(t/test "the body of a response and the function in :detached have the environment of their request"
  (defn handler [{:path path}]
    (setdyn :user path)
    (if (= path "/raw")
      {:status 101 :headers {"Upgrade" "raw"} :detached (fn [conn _] (net/write conn (dyn :user)))}
      {:body (coro (yield (dyn :user)) (setdyn :user "changed") (yield (dyn :user)))}))
  (with [server (serve handler)]
    (t/same ["/achanged" "/bchanged"] (asks server "/a" "/b"))
    (t/check (string/has-suffix? "\r\n\r\n/raw" (t/ask server (h/request "GET" "/raw" ["Upgrade: raw"]))) "raw")))

(defn- use-core
  "Code that needs the environment that core's functions look into."
  [_]
  (def found
    [(peg/match '(number (some :d)) "42")
     (eval '(+ 1 1))])
  {:body (string/format "%j" found)})

(t/test "grammars with :d, eval and require work in handlers"
  (with [server (serve use-core)]
    (t/same ["(@[42] 2)" "(@[42] 2)"] (asks server "/" "/")))
  (with [server (serve (fn [_] (show (table? (require "spork/http")))))]
    (t/same ["true" "true"] (asks server "/" "/"))))

(t/test "grammars, eval and require also work in a server on a thread whose first fiber has no environment"
  (def port (ev/thread-chan 1))
  (def ended (ev/chan 1))
  (defn main [port]
    (var server nil)
    (set server (http/server (fn [req]
                               (when (= "/end" (req :path)) (:close server))
                               (use-core req))
                             "127.0.0.1" 0))
    (ev/give port (last (net/localname server))))
  (ev/go (fn [] (ev/give ended (protect (ev/thread (fn [] (main port)))))))
  (def where (ev/take port))
  (t/same ["(@[42] 2)" "(@[42] 2)"] (asks where "/" "/end"))
  (t/same true (first (ev/take ended))))

(def- from-threads (ev/thread-chan 10))

(t/test "a function that a handler gives to a thread does not take the environment along"
  (defn handler [{:path path}]
    # A thread cannot use a channel of another thread, and giving it this one would raise an error.
    (setdyn :channel (ev/chan))
    (ev/thread (fn [] (ev/give from-threads path)))
    {:body "done"})
  (with [server (with-dyns [:channel (ev/chan)] (serve handler))]
    (t/same ["done" "done"] (asks server "/a" "/b"))
    (t/same ["/a" "/b"] [(ev/take from-threads) (ev/take from-threads)])))

(t/test "an environment is not kept while its connection is idle"
  (def seen (table/weak-keys 4))
  (defn handler [_]
    (def big @"big")
    (put seen big true)
    (setdyn :big big)
    {:body "hello"})
  (with [server (serve handler)]
    (with [c (h/client server)]
      (:ask c "GET" "/")
      (t/settles 0 |(length (keys seen)) "what the request had set")
      (t/same "hello" ((:ask c "GET" "/") :body)))))

(t/test "each connection of kqnet/server and kqnet/accept-loop has its own environment"
  (defn handler [conn]
    (defer (:close conn)
      (def text (string (:read conn 100)))
      (when (= text "alice") (setdyn :user text))
      (:write conn (string/format "%q %q %q" (dyn :user) (dyn :program) (peg/match '(some :d) "42")))))
  (defn check [listener]
    (with [listener listener]
      (t/same [`"alice" "set" @[]` `nil "set" @[]`] [(t/ask listener "alice") (t/ask listener "bob")])))
  (with-dyns [:program "set"]
    (check (kqnet/server host 0 handler))
    (def listener (kqnet/listen host 0))
    (ev/go (fn [] (kqnet/accept-loop listener handler)))
    (check listener)))

# Requests that are over.

(defn- over?
  "Whether a result of `protect` is the error for a request that is over."
  [[ok err]]
  (and (not ok) (string? err) (string/has-prefix? "this request is over" err)))

(defn- post [path body] (h/request "POST" path [] body))

(each [name read] [["read-body" http/read-body]
                   ["body-chunks" (fn [req] (string ;(seq [piece :in (http/body-chunks req)] piece)))]]
  (t/test (string name ": a task that outlives its handler gets an error instead of another request's body")
    (def late (ev/chan))
    (def results (ev/chan 10))
    (defn handler [req]
      (if (= "/late" (req :path))
        (do
          (ev/go (fn []
                   (ev/take late)
                   (ev/give results (protect (read req)))))
          {:status 202})
        (do
          (when (= "/meanwhile" (req :path))
            (ev/give late true)
            (t/check (over? (ev/take results)) "an error"))
          {:body (string (http/read-body req))})))
    (with [server (serve handler)]
      (with [c (h/client server)]
        (t/same 202 ((:ask c "POST" "/late" [] "early") :status))
        # While the next request runs; then between requests, and after the connection.
        (t/same "mine" ((:ask c "POST" "/meanwhile" [] "mine") :body))
        (t/same 202 ((:ask c "POST" "/late" [] "early") :status))
        (ev/give late true)
        (t/check (over? (ev/take results)) "an error between requests")
        (t/same "mine" ((:ask c "POST" "/" [] "mine") :body))
        (t/same 202 ((:ask c "POST" "/late" [] "early") :status)))
      (t/wait-until "the end of the connection" |(zero? ((kqnet/stats server) :active)))
      (ev/give late true)
      (t/check (over? (ev/take results)) "an error after the connection"))))

(t/test "a response that is sent in several turns stays whole when signals interrupt Janet's interpreter"
  # After an interrupt, other tasks run before the interrupted one goes on. Most interrupts come while a long head is written.
  (def long (string/repeat "x" 3000000))
  (def requests 6)
  (def results (ev/chan 8))
  (defn handler [{:path path}] {:headers {"X-Path" path "X-Long" long} :body (string "body of " path ";")})
  (defn ask [server path]
    (with [conn (net/connect ;(net/localname server))]
      (for _ 1 requests (ev/write conn (h/request "GET" path)))
      (ev/write conn (h/request "GET" path ["Connection: close"]))
      (def all (ev/read conn :all @""))
      (defn seen [what] (frequencies (peg/match ~(any (+ (* ,what (<- (to (set "\r;")))) 1)) all)))
      [path (seen "X-Path: ") (seen "body of ")]))
  (var interrupts 0)
  (os/sigaction :usr1 (fn [] (++ interrupts)) true)
  (def paths (map |(string "/" $) (range 8)))
  (with [server (serve handler)]
    (def sender (os/spawn ["sh" "-c" "while kill -USR1 $PPID; do sleep 0.003; done"] :p))
    (defer (do (protect (os/proc-kill sender true)) (os/sigaction :usr1))
      (each path paths (ev/go (fn [] (ev/give results (protect (ask server path))))))
      (def seen (sort (seq [_ :in paths] (ev/take results))))
      (t/same (seq [path :in paths] [true [path @{path requests} @{path requests}]]) seen)
      (t/check (pos? interrupts) "there were interrupts"))))

(t/test "a task that waits for a body when its handler returns gets an error, and the body's remaining bytes are not the next request"
  (def results (ev/chan 10))
  (defn handler [req]
    (if (= "/late" (req :path))
      (do
        (ev/go (fn [] (ev/give results (protect (http/read-body req)))))
        (repeat 3 (ev/sleep 0))
        {:status 202})
      {:body (string (http/read-body req))}))
  (with [server (serve handler :idle-timeout 0.2)]
    (with [c (h/client server)]
      (:send c "POST" "/late" ["Content-Length: 5"])
      (t/same 202 ((:receive c) :status))
      (t/check (over? (ev/take results)) "an error")
      (:write (c :conn) (string "early" (post "/" "mine")))
      (t/same "mine" ((:receive c "POST") :body))
      # The deadline of an idle connection does not move.
      (t/same "" (:rest c)))))

(t/test "a body that is sent back while the request is read goes on until the response was sent"
  (defn handler [req]
    {:body (coro
             (def pieces (ev/chan))
             (ev/go (fn []
                      (each piece (http/body-chunks req) (ev/give pieces (string piece)))
                      (ev/chan-close pieces)))
             (while (def piece (ev/take pieces)) (yield piece)))})
  (with [server (serve handler)]
    (with [c (h/client server)]
      (:send c "POST" "/" ["Transfer-Encoding: chunked"])
      (:head c)
      (each piece ["hello" "world"]
        (:write (c :conn) (string "5\r\n" piece "\r\n"))
        (t/same (string "5\r\n" piece "\r\n") (:take c 10)))
      (:write (c :conn) "0\r\n\r\n")
      (t/same "0\r\n\r\n" (:rest c)))))

(t/test "ending, draining? and gone? know that a request is over"
  (var kept nil)
  (with [server (serve (fn [req] (set kept req) {:body "hello"}))]
    (with [c (h/client server)]
      (:ask c "GET" "/")
      (t/wait-until "the end of the request" |(over? (protect (http/ending kept))))
      (t/same true (http/gone? kept))
      (t/same false (http/draining? kept)))))

# Tunnels.

(defn- behind-haproxy
  "Runs a function with the port of HAProxy, which denies /admin, in front of a server."
  [server f]
  (def [program] (programs/need "haproxy"))
  (def config (t/scratch "haproxy.cfg"))
  (defer (os/rm config)
    (var result nil)
    (repeat 5
      (when result (break))
      (def port (t/free-port))
      (spit config
            (string "defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n timeout tunnel 30s\n"
                    "frontend f\n bind 127.0.0.1:" port "\n http-request deny if { path_beg /admin }\n default_backend b\n"
                    "backend b\n server s 127.0.0.1:" (t/port server) "\n"))
      (def proxy (t/start program "-db" "-f" config))
      (def ready (t/wait-until "HAProxy" |(or (first (protect (:close (t/connect port)))) (if (proxy :status) :ended))))
      (unless (= ready :ended) (set result port)))
    (f (t/check result "HAProxy has started"))))

(t/test "nothing that HAProxy denies gets through it, by CONNECT or by a response that claims to switch protocols"
  (def seen @[])
  (defn handler [{:path path :method method}]
    (array/push seen path)
    (if (= path "/switch") {:status 101 :headers {"Connection" "Upgrade" "Upgrade" "x"}} {:body "secret"}))
  (with [server (serve handler :on-error (fn [&] nil))]
    (behind-haproxy server
                    (fn [port]
                      (each begin ["CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n"
                                   (h/request "GET" "/switch" ["Connection: Upgrade" "Upgrade: x"])
                                   (h/request "GET" "/switch")]
                        (with [conn (t/send port begin)]
                          # Only what comes after the first answer could be in a tunnel.
                          (:read conn 4096)
                          (protect (:write conn (h/request "GET" "/admin" ["Connection: close"])))
                          (t/same nil (string/find "secret" (last (protect (t/receive conn)))))))))
    (t/same nil (index-of "/admin" seen))))

# Tables.

(t/test "queries, and what identifies a user, are not kept when their request is over"
  (def seen (table/weak-values 8))
  (defn handler [req]
    (each name ["referer" "cookie" "authorization"]
      (put seen name (get-in req [:headers name])))
    (put seen :path (in req :path))
    {:body "hello"})
  (def secret ["Referer: http://h/?token=1" "Cookie: token=2" "Authorization: Bearer 3"])
  (with [server (serve handler)]
    (with [c (h/client server)]
      # The server knows headers from the second time on, unless it knows too many others: this test must come before those
      # with other headers.
      (repeat 3 (each line secret (:ask c "GET" "/?token=4" [line])))
      (repeat 3 (:ask c "GET" "/?token=4" secret))
      (t/settles 0 |(length (keys seen)) "what the requests had"))))

(def- names
  "Names of headers, common ones and others, that clients send in different orders."
  ["Accept" "User-Agent" "Cookie" "X-One" "Referer" "Authorization" "x-two" "Origin" "accept-language"])

(defn- varied-headers
  "The headers of the request with this number, as lines and as a table. Many requests have the same names."
  [number]
  (def count (% number (inc (length names))))
  (def turned (array/concat @[] (slice names (% (div number 7) 9)) names))
  (def lines @[])
  (def expected @{"host" "h"})
  (each name (take count turned)
    (def value (string name "-" (if (even? number) number "same")))
    (array/push lines (string name ": " value))
    (put expected (string/ascii-lower name) value))
  [lines expected])

(t/test "each request has its own headers, whichever requests came before it"
  (var seen nil)
  (defn handler [req]
    (set seen (table/clone (in req :headers)))
    # What a handler changes is not in the next request.
    (put (in req :headers) "accept" "changed")
    (put (in req :headers) "new" "added")
    (put req :path "changed")
    (put req :more 1)
    {:body (string (length req))})
  (with [server (serve handler)]
    (with [c (h/client server)]
      (for number 0 400
        (def [lines expected] (varied-headers number))
        (:ask c "GET" (string "/" number (if (zero? (% number 3)) "?q=1" "")) lines)
        (t/same expected seen number)))))

(t/test "headers that come twice, and cookies, are combined for each request alone"
  (defn handler [req] (show (map |(get-in req [:headers $]) ["x-list" "cookie" "accept"])))
  (with [server (serve handler)]
    (with [c (h/client server)]
      (each [lines expected]
        [[["X-List: 1" "X-List: 2" "Cookie: a=1" "Cookie: b=2"] `@[@["1" "2"] "a=1; b=2" nil]`]
         [["X-List: 3" "Cookie: c=3"] `@["3" "c=3" nil]`]
         [["Accept: 1" "Accept: 2"] `@[nil nil @["1" "2"]]`]
         [["Accept: 3"] `@[nil nil "3"]`]
         [["X-List: 4" "X-List: 5" "Cookie: d=4" "Cookie: e=5"] `@[@["4" "5"] "d=4; e=5" nil]`]]
        (repeat 2 (t/same expected ((:ask c "GET" "/" lines) :body) lines))))))

# Readers that lose their place.

(defn- steal-reader
  "A handler whose task reads the body, until core's net/read has taken the task's place. `then` makes the response."
  [reading ended then]
  (fn [req]
    (ev/go (fn reader [] (ev/give ended (protect (http/read-body req)))))
    # The task runs, and waits for the body.
    (ev/sleep 0)
    (ev/give reading true)
    (net/read (req :connection) 1)
    (then req)))

(defn- post-slowly
  "Sends a request, and the first byte of its body once a task reads the body. Returns the body of the response."
  [server reading]
  (with [c (h/client server)]
    (:write (c :conn) "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n")
    (ev/take reading)
    (:write (c :conn) "1")
    ((:receive c "POST") :body)))

(t/test "a task that reads a body is kept, and told of the end, when core's net/read takes its place"
  (def [reading ended] [(ev/chan 1) (ev/chan 1)])
  (defn then [_] (repeat 2 (gccollect)) {:body "ok"})
  (with [server (serve (steal-reader reading ended then))]
    (t/same "ok" (post-slowly server reading))
    (def [read? why] (ev/take ended))
    (t/same false read?)
    (t/check (string/find "this request is over" (string/format "%q" why)) why)))

(t/test "only one task reads a body, even if core's net/read has taken its place"
  (def [reading ended] [(ev/chan 1) (ev/chan 1)])
  (defn then [req]
    (def [read? why] (protect (http/read-body req)))
    {:body (if read? "read" why)})
  (with [server (serve (steal-reader reading ended then))]
    (t/same "another task reads from this connection already" (post-slowly server reading))
    (t/same false (first (ev/take ended)))))

(t/test "collecting while tasks wait in fibers that catch everything says nothing on stderr"
  (with [program (t/start-forms
                   '[(import kqnet/http)
                     (defn read-some [req] (resume (fiber/new (fn [] (http/read-body req)) :a)) nil)
                     (defn handler [req]
                       (http/ending req)
                       # Its error, when the request is over, goes to the channel.
                       (ev/go (fn reader [req] (read-some req) (ev/sleep 0.1)) req (ev/chan 1))
                       (ev/sleep 0)
                       (ev/sleep 0)
                       (repeat 3 (gccollect))
                       {:status 200 :body "ok"})
                     (def l (http/server handler "127.0.0.1" 0))
                     (def c (net/connect ;(net/localname l)))
                     (:write c "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
                     (print (first (string/split "\r\n" (:read c 1000))))
                     (os/exit 0)])]
    (t/same 0 (:wait program) (string (program :err)))
    (t/wait-until "the end of its output" |(and (program :out-ended) (program :err-ended)))
    (t/same ["HTTP/1.1 200 OK\n" ""] [(string (program :out)) (string (program :err))])))

(t/finish)
