###
### A client that sends or takes everything at once does not keep the others waiting.
###

(import ./support :as t)
(import ./support/http :as h)
(import ./support/websocket :as w)
(t/need-spork)

(defn- start-server
  "A server in its own process, which is slower than a client that does nothing with the bytes."
  []
  (t/start-forms
    '[(import kqnet/http)
      (import kqnet/websocket)
      (def large (string/repeat "x" 4000000))
      (var pieces 0)
      (defn slowly [piece]
        (repeat 20000 (length piece)))
      (def server
        (http/server
          (http/router {"/" (fn [_] {:body "hello"})
                        "/large" (fn [_] {:body large})
                        "/endless" (fn [_] {:body (coro (forever (++ pieces) (yield "piece")))})
                        "/events" (fn [req] (http/events req (fn [send] (forever (++ pieces) (send "event")))))
                        "/pieces" (fn [_] {:body (string pieces)})
                        "/websocket" (fn [req] (websocket/upgrade req (fn [ws] (while (:read ws)))))
                        "/over" (fn [req] (websocket/upgrade req (fn [ws]) :close-timeout 1000))
                        "/upload" (fn [req]
                                    (each piece (http/body-chunks req) (slowly piece))
                                    {:body "all"})
                        "/form" (fn [req]
                                  (each part (http/parts req) (each piece (part :body) (slowly piece)))
                                  {:body "all"})})
          "127.0.0.1" 0 :max-body 1e15))
      (print (last (net/localname server)))
      (flush)]))

(defn- write-on
  "Writes a text again and again until the connection ends."
  [conn text]
  (def text (string/repeat text (math/ceil (/ 65536 (length text)))))
  (ev/go (fn [] (protect (forever (:write conn text))))))

(defn- read-on
  "Reads until the connection ends. Returns a table with how many bytes there were, under :count."
  [conn]
  (def read @{:count 0})
  (ev/go (fn []
           (def buf @"")
           (protect (while (:read conn 1000000 (buffer/clear buf))
                      (update read :count + (length buf))))))
  read)

(defn- check-others
  "Checks that others are answered while a client is at work, and that the client goes on after that."
  [port read]
  (repeat 5
    (t/same "hello" ((h/fetch port "GET" "/") :body)))
  (def before (read :count))
  (t/wait-until "more of the responses" |(> (read :count) before)))

(t/test "a client that pipelines requests without end"
  (with [server (start-server)]
    (def port (:port server))
    (with [conn (t/connect port)]
      (def read (read-on conn))
      (write-on conn (h/request "GET" "/"))
      (t/wait-until "a megabyte of responses" |(> (read :count) 1000000))
      (check-others port read))))

(t/test "clients that fetch large responses without end"
  (with [server (start-server)]
    (def port (:port server))
    (def conns (seq [_ :range [0 4]] (t/connect port)))
    (def reads (map read-on conns))
    (each conn conns (write-on conn (h/request "GET" "/large")))
    (t/wait-until "a response" |(> (in (first reads) :count) 4000000))
    (check-others port (first reads))
    (each conn conns (:close conn))))

(each [what path] [["a body" "/endless"] ["events" "/events"]]
  (t/test (string "a client that takes " what " without end")
    (with [server (start-server)]
      (def port (:port server))
      (with [conn (t/connect port)]
        (def read (read-on conn))
        (:write conn (h/request "GET" path))
        (t/wait-until "a part of the response" |(> (read :count) 10000))
        (check-others port read)
        # Small pieces take longer than their bytes.
        (defn pieces [] (scan-number ((h/fetch port "GET" "/pieces") :body)))
        (def before (pieces))
        (def sent (- (pieces) before))
        (t/check (< sent 50000) (string sent " pieces between two answers to others"))))))

(each [what path headers start]
  [["of a known length" "/upload" ["Content-Length: 100000000000"] ""]
   ["in chunks" "/upload" ["Transfer-Encoding: chunked"] nil]
   ["with a form" "/form" ["Content-Type: multipart/form-data; boundary=b" "Content-Length: 100000000000"]
    "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n"]]
  (t/test (string "a client that sends a body " what " without end")
    (with [server (start-server)]
      (def port (:port server))
      (with [conn (t/connect port)]
        (:write conn (string (h/request "POST" path headers) (or start "")))
        (def piece (string/repeat "x" 65536))
        (var sent 0)
        (ev/go (fn []
                 (protect
                   (forever
                     (:write conn (if start piece (string "10000\r\n" piece "\r\n")))
                     (+= sent 65536)))))
        (t/wait-until "a part of the body" |(> sent 8000000))
        (repeat 5
          (t/same "hello" ((h/fetch port "GET" "/") :body)))
        (def before sent)
        (t/wait-until "more of the body" |(> sent before))))))

(each [what path bytes]
  [["messages" "/websocket" (w/frame :text "hello")]
   ["pings" "/websocket" (w/frame :ping "hello")]
   ["frames without a message" "/websocket" (w/frame :pong "hello")]
   ["messages to a handler that has ended" "/over" (w/frame :text "hello")]]
  (t/test (string "a client that sends WebSocket " what " without end")
    (with [server (start-server)]
      (def port (:port server))
      (with [c (w/connect port path)]
        (def conn (c :conn))
        (read-on conn)
        (def text (string/repeat bytes 6000))
        (var sent 0)
        (ev/go (fn [] (protect (forever (:write conn text) (+= sent (length text))))))
        (t/wait-until "much of it" |(> sent 4000000))
        (repeat 5
          (t/same "hello" ((h/fetch port "GET" "/") :body)))
        (def before sent)
        (t/wait-until "more of it" |(> sent before))))))

(t/finish)
