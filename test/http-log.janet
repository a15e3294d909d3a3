###
### What kqnet/http reports about its answers: the log and the metrics.
###
### Every answer is in both, once, with the status that was sent.
###

(import ./support :as t)
(import ./support/http :as h)
(t/need-spork)
(import kqnet)
(import kqnet/http)

(def- host "127.0.0.1")

(defn- serve [handler & options] (http/server handler host 0 ;options))

(defn- quiet [& _])

(defn- show
  "A line of the log without what differs from run to run."
  [{:method method :path path :line line :status status :bytes bytes :seconds seconds :remote remote}]
  (t/check (and (number? seconds) (>= seconds 0)) "a time")
  (t/check (has-value? [host "-"] remote) "an address")
  # The length of a refusal's text is not tested here.
  (if line
    (string/format "%q %d" line status)
    (string method " " path " " (or status "-") (if (has-value? [400 408 413 503] status) "" (string " " bytes)))))

(defn- logging
  "A logger around `handler`, and the array of the lines that it writes."
  [handler]
  (def lines @[])
  [(http/logger handler :format show :out (fn [line] (array/push lines (string/trimr line "\n")))) lines])

(defn- awaited
  "Waits for `count` lines and until no request is active, and returns all lines."
  [server count lines]
  (t/wait-until (string count " lines") |(>= (length lines) count))
  (t/wait-until "the end of the connections" |(zero? ((kqnet/stats server) :active)))
  lines)

(defn- ask
  "Sends bytes, and reads until the end."
  [server & parts]
  (with [conn (t/connect server)]
    (:write conn (string ;parts))
    (t/receive conn)))

(defn- get-bytes [path & headers] (h/request "GET" path ["Connection: close" ;headers]))

(defn- handler
  [req]
  (case (req :route)
    "/raise" (error "meant")
    "/nil" nil
    "/value" {:headers {"X-A" "a\nb"}}
    "/body" {:body 5}
    "/pieces-of-5" {:body [5]}
    "/piece" {:body (coro (yield 5))}
    "/cut" {:body (coro (yield "abc") (yield "defg") (error "meant"))}
    "/long" {:headers {"Content-Length" "7"} :body ["abc"]}
    "/pieces" {:body ["abc" "" "defg"]}
    "/large" {:body (string/repeat "x" 300000)}
    "/204" {:status 204}
    "/read" {:body (or (http/read-body req) "none")}
    "/chunks" {:body (http/body-chunks req)}
    "/101" {:status 101 :headers {"Connection" "Upgrade" "Upgrade" "x"} :detached (fn [conn buf] (net/write conn "more"))}
    "/detached" {:detached true}
    {:body "hello"}))

(t/test "log: every answer is one line, with the status and the bytes that were sent"
  (def [logged lines] (logging handler))
  (with [server (serve logged :on-error quiet :max-body 100 :max-head 300 :max-headers 5)]
    (var count 0)
    (each [expected & sent]
      [["GET / 200 5" (get-bytes "/")]
       ["HEAD / 200 0" (h/request "HEAD" "/" ["Connection: close"])]
       ["GET /204 204 0" (get-bytes "/204")]
       ["GET /pieces 200 7" (get-bytes "/pieces")]
       ["GET /pieces 200 7" "GET /pieces HTTP/1.0\r\n\r\n"]
       ["GET /large 200 300000" (get-bytes "/large")]
       ["POST /read 200 3" (h/request "POST" "/read" ["Connection: close"] "abc")]
       ["GET /101 101 0" (h/request "GET" "/101" ["Connection: Upgrade" "Upgrade: x"])]
       ["CONNECT h:443 501 25" (h/request "CONNECT" "h:443")]
       # Handlers that fail.
       ["GET /raise 500 22" (get-bytes "/raise")]
       ["GET /nil 500 22" (get-bytes "/nil")]
       ["GET /value 500 22" (get-bytes "/value")]
       ["GET /body 500 22" (get-bytes "/body")]
       ["GET /pieces-of-5 500 22" (get-bytes "/pieces-of-5")]
       ["GET /piece 200 0" (get-bytes "/piece")]
       ["GET /cut 200 7" (get-bytes "/cut")]
       ["GET /long 200 3" (get-bytes "/long")]
       # Requests that the server refuses.
       [`"GET /" 400` "GET /\r\n\r\n"]
       [`"\x16\x03\x01" 400` "\x16\x03\x01\r\n\r\n"]
       [`"GET / HTTP/1.1" 400` "GET / HTTP/1.1\r\n\r\n"]
       [`"GET / HTTP/1.1" 417` "GET / HTTP/1.1\r\nHost: h\r\nExpect: x\r\n\r\n"]
       [`"GET / HTTP/1.1" 431` "GET / HTTP/1.1\r\nHost: h\r\n" ;(seq [i :range [0 6]] "A: b\r\n") "\r\n"]
       [`"GET / HTTP/1.1" 501` "GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"]
       [`"GET / HTTP/2.0" 505` "GET / HTTP/2.0\r\n\r\n"]
       [(string/format "%q 414" (string "GET /" (string/repeat "a" 300))) "GET /" (string/repeat "a" 300)]
       ["POST /read 413" "POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n"]
       ["POST /read 413" "POST /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n"]
       ["POST /read 400" "POST /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n"]]
      (ask server ;sent)
      (++ count)
      (awaited server count lines)
      (t/same count (length lines) (string "one line each, after " expected))
      (t/same expected (last lines)))))

(t/test "log: kept, pipelined and late answers are logged in order, and once"
  (def [logged lines] (logging handler))
  (with [server (serve logged)]
    (with [c (h/client server)]
      (:ask c "GET" "/a")
      (:ask c "GET" "/b")
      (:write (c :conn) (string (h/request "GET" "/c") (h/request "GET" "/pieces") (h/request "GET" "/d")))
      (repeat 3 (:receive c "GET"))
      (t/same ["GET /a 200 5" "GET /b 200 5" "GET /c 200 5" "GET /pieces 200 7" "GET /d 200 5"] lines))
    (t/same 5 (length (awaited server 5 lines)) "none for the end of the connection")))

(t/test "log: timeouts of the head and of the body have a line"
  (def [logged lines] (logging handler))
  (with [server (serve logged :head-timeout 0.05 :body-timeout 0.05)]
    (t/check (string/find " 408 " (ask server "GET /slow HTT")) "408")
    (t/check (string/find " 408 " (ask server "POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab")) "408")
    (t/same [`"GET /slow HTT" 408` "POST /read 408"] (awaited server 2 lines))))

(t/test "log: a request that a drain cancels is answered with 503"
  (def [logged lines] (logging (fn [_] (ev/sleep 60))))
  (def server (serve logged))
  (def answer (t/background |(ask server (h/request "GET" "/"))))
  (t/wait-until "the handler" |(pos? ((kqnet/stats server) :active)))
  (kqnet/drain server 0 :cancel true)
  (t/check (string/find "503" (last (ev/take answer))) "503")
  (t/same ["GET / 503"] (awaited server 1 lines)))

(t/test "log: the answer of :on-error has a line"
  (def [logged lines] (logging handler))
  (with [server (serve logged :on-error (fn [& _] {:status 503 :body "later"}))]
    (ask server (get-bytes "/raise"))
    (ask server (get-bytes "/nil"))
    (t/same ["GET /raise 503" "GET /nil 503"] (awaited server 2 lines))))

(t/test "log: a client that leaves in the middle of its request or its answer has a line"
  (def [logged lines] (logging handler))
  (with [server (serve logged)]
    (:close (t/send server "POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab"))
    (awaited server 1 lines)
    # Without a whole head there is no request, and no answer.
    (:close (t/send server "GET /he"))
    (awaited server 1 lines)
    (t/same ["POST /read - 0"] lines))
  (def [logged lines] (logging (fn [_] {:body (string/repeat "x" 50000000)})))
  (with [server (serve logged :write-timeout 0.2)]
    (with [conn (t/send server (get-bytes "/"))]
      (:read conn 1000)
      (awaited server 1 lines))
    (def bytes (scan-number (last (string/split " " (first lines)))))
    (t/check (< 1000 bytes 50000000) (string "a part of the bytes, not " bytes))))

(t/test "log: a connection that the handler answers itself has a line without a status"
  (def [logged lines] (logging (fn [req] (net/write (req :connection) "HTTP/1.1 200 OK\r\n\r\nraw") (:close (req :connection)) {:detached true})))
  (with [server (serve logged)]
    (t/check (string/has-suffix? "raw" (ask server (get-bytes "/"))) "its answer")
    (t/same ["GET / - 0"] (awaited server 1 lines))))

(t/test "log: two loggers write one line each, and so does one that is met twice"
  (def [inner inner-lines] (logging handler))
  (def [outer outer-lines] (logging (fn [req] (inner req) (inner req))))
  (def [both both-lines] (logging inner))
  (with [server (serve outer)]
    (ask server (get-bytes "/"))
    (ask server "GET /\r\n\r\n")
    (t/same 2 (length (awaited server 2 outer-lines)) "the outer one")
    (t/same ["GET / 200 5"] inner-lines "the inner one, which the server does not know"))
  (with [server (serve both)]
    (ask server "GET /\r\n\r\n")
    (awaited server 1 both-lines)
    (t/same 2 (length inner-lines) "both know about the refused request"))
  # Each server reports only to its own loggers.
  (def [other other-lines] (logging handler))
  (with [server (serve other)]
    (ask server "GET /\r\n\r\n")
    (awaited server 1 other-lines)
    (t/same [2 1] [(length inner-lines) (length both-lines)])))

(t/test "log: a logger inside kqnet's other middleware still learns about refused requests"
  (def [logged lines] (logging handler))
  (with [server (serve (http/metrics (http/static t/project logged)))]
    (ask server (get-bytes "/nowhere"))
    (ask server "GET /\r\n\r\n")
    (ask server (get-bytes "/metrics"))
    (t/same 2 (length (awaited server 2 lines)) "only what it sees")))

(t/test "log: the line shows the request as it was sent, though middleware changes it"
  (def [logged lines] (logging (fn [req] (put req :path "/changed") {:body "hello"})))
  (with [server (serve (fn [req] (logged (merge req {:user "alice"}))))]
    (ask server (get-bytes "/as-sent"))
    (t/same ["GET /as-sent 200 5"] (awaited server 1 lines))))

(t/test "log: the formats show refused requests"
  (defn line-of [format bytes]
    (def out @"")
    (with [server (serve (http/logger handler ;(if format [:format format] []) :out out))]
      (ask server bytes)
      (t/wait-until "a line" |(string/has-suffix? "\n" out))
      (string/trimr out "\n")))
  (t/check (peg/match '(* "GET 400 /a elapsed " :d+ "." :d+ "ms" -1) (line-of nil "GET /a\r\n\r\n")) "spork's")
  (t/check (peg/match '(* "- 400 - elapsed " :d+ "." :d+ "ms" -1) (line-of nil "\x16\x03\r\n\r\n")) "spork's, unreadable")
  (def common '(* "127.0.0.1 - - [" (thru "] ")))
  (t/check (peg/match ~(* ,common `"\x16\x03\"x" 400 ` :d+ -1) (line-of :common "\x16\x03\"x\r\n\r\n")) "common")
  (t/check (peg/match ~(* ,common `"GET /caf\xC3\xA9 HTTP/1.1" 200 5 "-" "\x80" ` :d+ "." (3 :d) -1)
                      (line-of :timed (h/request "GET" "/caf\xC3\xA9" ["Connection: close" "User-Agent: \x80"]))) "timed"))

(t/test "log: if a line cannot be written, the client is still answered, and the handler is called once"
  (def path (t/scratch "log"))
  (def closed (file/open path :w))
  (:close closed)
  (os/rm path)
  (defer (protect (os/rm path))
    (each out [closed (fn [_] (error "meant")) ;(if (os/stat "/dev/full") [(file/open "/dev/full" :w)] [])]
      (def counted @[])
      (def logged (http/logger (fn [req] (array/push counted 1) {:body "hello"}) :out out))
      (with [server (serve logged)]
        (with [c (h/client server)]
          (repeat 3 (t/same 200 ((:ask c "GET" "/") :status)))
          (t/check (string/find " 400 " (ask server "GET /\r\n\r\n")) "a refusal"))
        (t/same 3 (length counted))))))

(t/test "log: a program whose standard output and error are full still answers"
  (unless (os/stat "/dev/full") (t/skip "this system has no /dev/full"))
  (def program
    '[(import kqnet/http)
      (def server (http/server (http/logger (fn [req]
                                                 (case (req :path)
                                                   "/raise" (error "meant")
                                                   "/end" (os/exit 0)
                                                   {:body "hello"})))
                                  "127.0.0.1" 0))
      (spit (os/getenv "PORT_FILE") (string (last (net/localname server)) "\n"))])
  (each redirect [">/dev/full 2>/dev/full" "| true" ">&-" "2>&-"]
    (def file (t/scratch "port"))
    (def shell (string `exec "$0" -e "$1" ` redirect))
    (with [process (t/start {"PORT_FILE" file} "sh" "-c" shell (dyn *executable*) (t/source program))]
      (t/wait-until "the port" |(and (os/stat file) (string/has-suffix? "\n" (slurp file))))
      (def port (scan-number (string/trim (slurp file))))
      (os/rm file)
      (each [status path] [[200 "/"] [500 "/raise"] [200 "/"] [500 "/raise"] [200 "/"]]
        (t/same status ((h/fetch port "GET" path) :status) (string path " with " redirect)))
      # In a pipeline, the process that was started is not the one that could be killed.
      (protect (h/fetch port "GET" "/end")))))

(t/finish)
