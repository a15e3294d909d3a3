###
### Clients that send several requests at once get all responses in order, and none is held back.
###

(import ./support :as t)
(import ./support/http :as h)
(t/need-spork)
(import kqnet)
(import kqnet/http)

(defn- serve [handler & options] (http/server handler "127.0.0.1" 0 ;options))

(defn- path-of [req] {:body (req :path)})

(defn- send-all
  "Sends requests in one write, each a path or the arguments of `h/request`."
  [c & requests]
  (:write (c :conn) (string ;(map |(if (string? $) (h/request "GET" $) (h/request ;$)) requests))))

(defn- bodies [c count] (seq [_ :range [0 count]] ((:receive c "GET") :body)))

(t/test "responses come in the order of the requests, however many there are"
  (def paths (seq [i :range [0 1000]] (string "/" i)))
  (with [server (serve path-of)]
    (with [c (h/client server)]
      (def sender (ev/go (fn [] (send-all c ;paths))))
      (t/same paths (bodies c 1000)))))

(t/test "a handler that waits does not hold back the responses before its own"
  (def go-on (ev/chan))
  (defn handler [req]
    (when (= "/wait" (req :path)) (ev/take go-on))
    (path-of req))
  (with [server (serve handler)]
    (with [c (h/client server)]
      (send-all c "/a" "/b" "/wait" "/c")
      # Were they held back, this would wait for ever, since nobody gives yet.
      (t/same ["/a" "/b"] (tuple ;(bodies c 2)))
      (ev/give go-on true)
      (t/same ["/wait" "/c"] (tuple ;(bodies c 2))))))

(t/test "several connections with handlers that wait get their earlier responses at once"
  (def go-on (ev/chan))
  (defn handler [req]
    (when (= "/wait" (req :path)) (ev/take go-on))
    (path-of req))
  (with [server (serve handler)]
    (def clients (seq [_ :range [0 20]] (h/client server)))
    (each c clients (send-all c "/a" "/wait" "/b"))
    (each c clients (t/same ["/a"] (tuple ;(bodies c 1))))
    (each _ clients (ev/give go-on true))
    (each c clients (t/same ["/wait" "/b"] (tuple ;(bodies c 2))) (:close c))))

(t/test "responses of all kinds keep their order"
  (def large (string/repeat "x" 100000))
  (defn handler [req]
    (case (req :path)
      "/large" {:body large}
      "/pieces" {:body ["a" "b"]}
      "/none" {:status 204}
      "/echo" {:body (http/read-body req)}
      (path-of req)))
  (with [server (serve handler)]
    (with [c (h/client server)]
      (send-all c "/1" "/pieces" "/2" "/large" "/3" "/none" ["POST" "/echo" [] "text"] "/4")
      (t/same ["/1" "ab" "/2" large "/3" "" "text" "/4"] (tuple ;(bodies c 8))))))

(t/test "the responses before a request that fails, is refused or ends the connection arrive"
  (defn handler [req]
    (case (req :path)
      "/error" (error "meant")
      "/nil" nil
      "/detached" {:body "d" :headers {"Content-Length" "1"} :detached (fn [conn buf] (:write conn "tail"))}
      "/taken" (do (:write (req :connection) "taken") {:detached true})
      (path-of req)))
  (with [server (with-dyns [:err @""] (serve handler :on-error (fn [&] {:status 500 :body "on-error"})))]
    (each [request status body]
      [["/error" 500 "on-error"]
       ["/nil" 500 "on-error"]
       [["BAD METHOD" "/" []] 400 nil]
       [["POST" "/" ["Content-Length: 99999999"]] 413 nil]
       [["GET" "/last" ["Connection: close"]] 200 "/last"]]
      (with [c (h/client server)]
        (send-all c "/a" "/b" request "/never")
        (t/same ["/a" "/b"] (tuple ;(bodies c 2)) request)
        (def response (:receive c "GET"))
        (t/same status (response :status) request)
        (when body (t/same body (response :body) request))
        (t/same "" (:rest c) request)))
    (with [c (h/client server)]
      (send-all c "/a" "/b" "/detached")
      (t/same ["/a" "/b" "d"] (tuple ;(bodies c 3)))
      (t/same "tail" (:rest c)))
    (with [c (h/client server)]
      (send-all c "/a" "/b" "/taken")
      (t/same ["/a" "/b"] (tuple ;(bodies c 2)))
      (t/same "taken" (:take c 5)))))

(t/test "a client that reads nothing while it sends gets all responses later"
  (def text (string/repeat "y" 20000))
  (with [server (serve (fn [req] {:body text}))]
    (with [c (h/client server)]
      # The requests fit into the system's buffers, and their responses do not.
      (repeat 500 (send-all c "/"))
      (repeat 500 (t/check (= text ((:receive c "GET") :body)) "a whole response")))))

(t/test "clients that read nothing at the same time get their own responses later, also those of other kinds"
  (defn handler [req]
    (def text (string/repeat (string (req :path) " ") 4000))
    # Pieces after a head that was written before them, and a refusal at the end.
    (if (= 0 (% (req :request-number) 50)) {:body [text text]} {:body text}))
  (with [server (serve handler)]
    (def clients (seq [i :range [0 8]] (h/client server)))
    # The requests fit into the system's buffers, and their responses do not.
    (repeat 200 (eachp [i c] clients (send-all c (string "/" i))))
    (each c clients (:write (c :conn) "no request\r\n\r\n"))
    (eachp [i c] clients
      (for number 1 201
        (def text (string/repeat (string "/" i " ") 4000))
        (def expected (if (= 0 (% number 50)) (string text text) text))
        (t/check (= expected (string ((:receive c "GET") :body))) (string "response " number " of client " i)))
      (t/same 400 ((:receive c "GET") :status))
      (:close c))))

(t/test "a client that leaves in the middle of its requests disturbs nobody"
  (with [server (serve path-of)]
    (repeat 20
      (def c (h/client server))
      (send-all c ;(seq [i :range [0 50]] "/"))
      (:close c))
    (t/same "/after" ((h/fetch server "GET" "/after") :body))
    (t/wait-until "no connection is left" |(= 0 ((kqnet/stats server) :active)))))

(t/test "a log has a line for each pipelined request, with what was sent"
  (def lines @[])
  (def handler (http/logger path-of :format (fn [answer] (array/push lines [(answer :path) (answer :bytes)]) "") :out @""))
  (with [server (serve handler)]
    (with [c (h/client server)]
      (send-all c "/a" "/bb" "/ccc")
      (bodies c 3))
    (t/wait-until "three lines" |(= 3 (length lines)))
    (t/same [["/a" 2] ["/bb" 3] ["/ccc" 4]] (tuple ;lines))))

(t/test "a request is over when its response was sent, even if the next one has arrived"
  (def results @[])
  (def kept @[])
  (defn handler [req]
    (when (= "/second" (req :path))
      (array/push results (first (protect (http/read-body (first kept)))))
      (array/push results (get (first kept) :buffer)))
    (array/push kept req)
    (path-of req))
  (with [server (serve handler)]
    (with [c (h/client server)]
      (send-all c ["POST" "/first" [] "one"] "/second")
      (t/same ["/first" "/second"] (tuple ;(bodies c 2)))
      (t/same [false nil] (tuple ;results)))))

(t/test "a server in a thread answers pipelined requests, and threads end"
  (def done (ev/thread-chan 2))
  (ev/thread
    (fn [&]
      (def server (http/server (fn [req] {:body (req :path)}) "127.0.0.1" 0))
      (def c (net/connect ;(net/localname server)))
      (:write c (string/repeat "GET /t HTTP/1.1\r\nHost: h\r\n\r\n" 10))
      (def text @"")
      (while (< (length (string/find-all "/t" text)) 10) (:read c 4096 text))
      (:close c)
      (:close server)
      (ev/give done (length (string/find-all "HTTP/1.1 200 OK" text)))))
  (t/same 10 (ev/take done)))

(defn- with-program
  "Runs test/support/pipelined.janet, calls a function with a client of it, and waits for its end."
  [f & args]
  (with [program (t/start-janet (t/program "pipelined") ;args)]
    (def port (:port program))
    (with [c (h/client port)] (f c))
    (protect (t/ask port (h/request "GET" "/exit")))
    (t/same 0 (:wait program) (string (program :err)))))

(t/test "a handler that blocks the loop does not hold back the responses before its own for ever"
  (def file (t/scratch "go-on"))
  (with-program
    (fn [c]
      (defer (t/remove file)
        (send-all c "/a" "/b" "/c" "/block" "/d")
        (t/same ["/a" "/b" "/c"] (tuple ;(bodies c 3)))
        (spit file "")
        (t/same ["block" "/d"] (tuple ;(bodies c 2)))))
    file))

(t/test "a handler that was quick often, and then blocks or waits, does not hold back the first response for ever"
  (each path ["/block" "/wait"]
    (def file (t/scratch "go-on"))
    (def body (string/slice path 1))
    (with-program
      (fn [c]
        (defer (t/remove file)
          (spit file "")
          (repeat 30
            (send-all c "/a" path)
            (t/same ["/a" body] (tuple ;(bodies c 2))))
          (t/remove file)
          (send-all c "/a" path "/b")
          (t/same ["/a"] (tuple ;(bodies c 1)) path)
          (spit file "")
          (t/same [body "/b"] (tuple ;(bodies c 2)) path)))
      file)))

(t/test "a program that ends in a handler has sent the responses before"
  (repeat 20
    (with-program
      (fn [c]
        (send-all c "/a" "/b" "/c" "/exit" "/never")
        (t/same ["/a" "/b" "/c"] (tuple ;(bodies c 3)))
        (t/same "" (:rest c))))))

(t/test "a handler that closes the connection does not lose the responses before its own"
  (each path ["/close" "/ev-close" "/shutdown"]
    (with-program
      (fn [c]
        (send-all c "/a" "/b" "/c" path)
        (t/same ["/a" "/b" "/c"] (tuple ;(bodies c 3)) path)
        (t/same "" (:rest c) path)))))

(t/test "what a handler writes to its connection comes after the responses before"
  (each path ["/write" "/net-write"]
    (with-program
      (fn [c]
        (send-all c "/a" "/b" "/c" path)
        (t/same ["/a" "/b" "/c" "written"] (tuple ;(bodies c 4)) path)))))

(t/test "handlers that fork do not send the responses before again"
  (when (= :kqueue (kqnet/backend)) (t/skip "Janet's own loop does not survive a fork here"))
  (when (= :poll (t/event-loop)) (t/skip "on poll(2), parent and child read from the same connections"))
  (with-program
    (fn [c]
      (send-all c "/a" "/b" "/fork" "/c" "/forked" "/d" "/e" ["GET" "/f" ["Connection: close"]])
      (t/same ["/a" "/b" "fork" "/c" "forked" "/d" "/e" "/f"] (tuple ;(bodies c 8)))
      (t/same "" (:rest c)))))

(t/test "a client that ends its side after many requests gets all responses"
  (with [server (serve path-of)]
    (with [c (h/client server)]
      (def paths (seq [i :range [0 200]] (string "/" i)))
      (send-all c ;paths)
      (net/shutdown (c :conn) :w)
      (t/same paths (bodies c 200))
      (t/same "" (:rest c)))))

(t/test "a drain that cancels a handler does not lose the responses before"
  (def server (serve (fn [req] (when (= "/wait" (req :path)) (ev/take (ev/chan))) (path-of req))))
  (with [c (h/client server)]
    (send-all c "/a" "/b" "/c" "/wait" "/never")
    (t/same ["/a" "/b" "/c"] (tuple ;(bodies c 3)))
    (def drained (t/background |(kqnet/drain server 0 :cancel true)))
    (t/same 503 ((:receive c "GET") :status))
    (t/same "" (:rest c))
    (t/check (first (ev/take drained)) "a drain")))

(t/test "cancelling the tasks that have not begun loses no response"
  # Among them is the one that pushes what is held.
  (with-program
    (fn [c]
      (repeat 3
        (send-all c "/a" "/b" "/c" "/cancel" "/d" "/e" "/turn")
        (t/same ["/a" "/b" "/c" "cancel" "/d" "/e" "turn"] (tuple ;(bodies c 7)))))))

(t/finish)
