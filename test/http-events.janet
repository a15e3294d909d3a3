###
### Server-sent events: what is sent, how a stream ends, and what becomes of a slow client.
###

(import ./support :as t)
(import ./support/http :as h)
(t/need-spork)
(import kqnet)
(import kqnet/http)

(defn- serve [handler & options] (http/server handler "127.0.0.1" 0 ;options))

(defn- serve-events
  "Serves one event stream."
  [f & options]
  (serve (fn [req] (http/events req f ;options))))

(defn- text
  "The body of an event stream that ends by itself."
  [f & options]
  (with [server (serve-events f ;options)]
    (def response (h/fetch server "GET" "/"))
    (t/same 200 (response :status))
    (response :body)))

(defn- silence
  "Waits until the stream of `req` ends."
  [req]
  (ev/take (http/ending req)))

(defn- open
  "Connects and asks. Returns a client that has taken the head of the response."
  [server &opt headers]
  (def c (h/client server))
  (:send c "GET" "/" headers)
  (t/same 200 ((:head c) :status))
  c)

(defn- chunk
  "Takes one chunk of a response."
  [c]
  (def line @"")
  (while (not (string/has-suffix? "\r\n" line)) (buffer/push line (:take c 1)))
  (def size (scan-number (string/trim line) 16))
  (def data (:take c size))
  (t/same "\r\n" (:take c 2))
  data)

(defn- ends
  "Fails unless all connections of a server end."
  [server]
  (t/wait-until "the end of all connections" |(zero? ((kqnet/stats server) :active))))

(t/test "each field of an event is sent as the specification says"
  (t/same "data: hello\n\n" (text (fn [send] (send "hello"))))
  (t/same "id: 1\nevent: tick\nretry: 1500\ndata: x\n\n"
          (text (fn [send] (send {:id "1" :event "tick" :data "x" :retry 1.5}))))
  (t/same "id: 7\n\n" (text (fn [send] (send {:id "7"}))) "an id alone")
  (t/same "event: tick\ndata: \n\n" (text (fn [send] (send {:event "tick"})))
          "a type alone has empty data, since a browser ignores an event without data")
  (t/same "data: \n\n" (text (fn [send] (send ""))))
  (t/same "retry: 3000\n\ndata: x\n\n" (text (fn [send] (send @"x")) :retry 3)))

(t/test "data of several lines arrives as several lines, whatever ends them"
  (t/same "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n" (text (fn [send] (send "a\nb\r\nc\rd\n"))))
  (t/same "data: a\ndata: \ndata: id: 9\n\n" (text (fn [send] (send "a\n\nid: 9")))
          "data cannot begin another event or field"))

(t/test "the head says that it is a stream that nobody stores"
  (with [server (serve-events (fn [send] (send "x")))]
    (def {:headers headers} (h/fetch server "GET" "/"))
    (t/same "text/event-stream" (headers "content-type"))
    (t/same "no-store" (headers "cache-control"))
    (t/same "no" (headers "x-accel-buffering"))
    (with [c (h/client server)]
      (:send c "HEAD" "/")
      (t/same "text/event-stream" (((:receive c) :headers) "content-type")))
    (ends server)))

(t/test "what is not an event raises an error in the task that sends it"
  (def errors @[])
  (text (fn [send]
          (each wrong [{:id "a\nb"} {:id "a\0b"} {:event "a\rb"} {:data 1} {:retry -1} {:dat "x"} 5 nil {:id "a" :event 1}]
            (array/push errors (t/raised (fn [] (send wrong)))))))
  (t/same 9 (length errors))
  (each err errors (t/check (string/has-prefix? "kqnet/http/events" err) err)))

(t/test "wrong arguments are refused at once"
  (def request @{:connection nil :request-number 1 :headers @{}})
  (each [part & args] [["a function of `send`" request 5]
                       ["one argument" request (fn [])]
                       ["expected a request" 5 (fn [send])]
                       [":queue must be" request (fn [send]) :queue 0]
                       [":heartbeat must be" request (fn [send]) :heartbeat 0]
                       [":when-full must be" request (fn [send]) :when-full :drop]
                       ["unknown option" request (fn [send]) :size 1]]
    (def err (t/raised (fn [] (http/events ;args))))
    (t/check (string/find part err) err)))

(t/test "an error in the stream's function cuts the stream off, and is the handler's error"
  (def seen @[])
  (with [server (serve (fn [req] (http/events req (fn [send] (send "one") (error "meant"))))
                       :on-error (fn [req err fib] (array/push seen err) nil))]
    (with [c (open server)]
      (t/same "data: one\n\n" (chunk c))
      (t/same "" (:rest c) "no last chunk"))
    (ends server)
    (t/same @["meant"] seen)))

(t/test "a silent stream sends comments, and one that speaks does not"
  (with [server (serve (fn [req] (http/events req (fn [send] (silence req)) :heartbeat 0.01)))]
    (with [c (open server)]
      (repeat 3 (t/same ":\n\n" (chunk c))))
    (ends server)))

(t/test "when the client leaves, the task of the stream is cancelled where it waits, and sending says so"
  (var send nil)
  (var cleaned 0)
  (with [server (serve (fn [req]
                         (http/events req (fn [s]
                                            (set send s)
                                            (defer (++ cleaned)
                                              (s "hello")
                                              (ev/sleep math/inf))))))]
    (with [c (open server)]
      (t/same "data: hello\n\n" (chunk c))
      (t/same true (send "from another task"))
      (t/same "data: from another task\n\n" (chunk c)))
    (ends server)
    (t/wait-until "the cleanup" |(= 1 cleaned))
    (t/same false (send "too late"))))

(t/test "a function that never waits for anything but its client ends with the client"
  (var cleaned 0)
  (def event (string/repeat "x" 1000))
  (with [server (serve-events (fn [send] (defer (++ cleaned) (forever (send event)))))]
    (with [c (open server)]
      (repeat 100 (chunk c)))
    (ends server)
    (t/wait-until "the cleanup" |(= 1 cleaned))))

(t/test "a drain ends the stream, after what was sent before it"
  (def sent (ev/chan 1))
  (var cleaned 0)
  (with [server (serve (fn [req]
                         (http/events req (fn [send]
                                            (send "last")
                                            (ev/give sent true)
                                            (defer (++ cleaned) (ev/sleep math/inf))))))]
    (with [c (open server)]
      (ev/take sent)
      (t/same 0 (kqnet/drain server 20))
      (t/same "c\r\ndata: last\n\n\r\n0\r\n\r\n" (:rest c))
      (t/same 1 cleaned))))

(t/test "with :wait, sending waits for a slow client, and only so many events are held"
  (var sent 0)
  (def event (string/repeat "x" 10000))
  (with [server (serve-events (fn [send] (forever (send event) (++ sent))) :queue 4)]
    (with [c (open server)]
      # Until two turns of the loop in a row have sent nothing.
      (var before -1)
      (while (not= before sent)
        (set before sent)
        (ev/sleep 0.05))
      (t/check (< before 5000) before)
      (repeat 50 (:take c 200000))
      (t/wait-until "more events" |(> sent before)))
    (ends server)))

(t/test "with :end, a slow client does not hold up a task that tells all, and may connect again from where it was"
  (def senders @{})
  (defn handler [req]
    (http/events req (fn [send]
                       (put senders send (or (http/last-event-id req) "none"))
                       (defer (put senders send nil) (silence req)))
                 :when-full :end :queue 3))
  (with [server (serve handler :write-timeout 0.5)]
    (def slow (open server))
    (def quick (open server))
    (t/wait-until "both" |(= 2 (length senders)))
    (def all (keys senders))
    (def event (string/repeat "y" 100000))
    (var rounds 0)
    (while (and (= 2 (length senders)) (< rounds 1000))
      (++ rounds)
      (each send all (send {:id (string rounds) :data event}))
      (while (< (length (quick :buf)) 100000) (:read (quick :conn) 65536 (quick :buf) 20))
      (buffer/clear (quick :buf))
      (ev/sleep 0))
    (t/same 1 (length senders) "the slow one has ended")
    (:close slow)
    (with [again (open server ["Last-Event-ID: 5"])]
      (t/wait-until "the new one" |(has-value? senders "5")))
    (:close quick)
    (ends server)))

(t/test "the streams of many clients leave nothing behind"
  (with [server (serve (fn [req] (http/events req (fn [send] (send "x") (silence req)))))]
    (defn round []
      (def clients (seq [_ :range [0 50]] (open server)))
      (each c clients (t/same "data: x\n\n" (chunk c)))
      (each c clients (:close c))
      (ends server))
    (def before (t/tasks))
    (round)
    (t/settles before t/tasks "how many tasks there are")))

(t/finish)
