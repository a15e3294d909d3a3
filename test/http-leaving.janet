###
### Slow clients, clients that leave, and how handlers learn about them and about a drain.
###

(import ./support :as t)
(import ./support/http :as h)
(import ./support/programs)
(t/need-spork)
(import kqnet)
(import kqnet/http)

(def- host "127.0.0.1")

(def- patience 20)

(defn- serve [handler & options] (http/server handler host 0 ;options))

(defn- active [server] ((kqnet/stats server) :active))

(defn- all-ended
  [server]
  (t/wait-until "the ends of all connections" |(zero? (active server))))

(defn- python
  "Starts a Python program with these arguments."
  [program & args]
  (def [python] (programs/need "python3"))
  (t/start python "-c" program ;(map string args)))

(defn- output
  "The output of a process, which must end with status 0."
  [process]
  (t/same 0 (:wait process) (process :err))
  (t/wait-until "its output" |(process :out-ended))
  (string/trim (process :out)))

# Slow clients.

(def- slow-reader
  ``Reads this many bytes at a time, with a pause after each read, and prints how many came in all. Its
  receive buffer is small, so that the server learns how much it has read.``
  ```
import socket, sys, time
port, size, pause = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
s.connect(("127.0.0.1", port))
s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
total, left = 0, size
try:
    while True:
        data = s.recv(min(left, 16384))
        if not data:
            break
        total, left = total + len(data), left - len(data)
        if left == 0:
            time.sleep(pause)
            left = size
except ConnectionError:
    pass
print(total)
```)

(def- large (string/repeat "0123456789abcdef" 393216))

(defn- large-answer [_] {:body large})

(defn- got-all
  [text]
  (def size (scan-number text))
  (t/check (and (> size (length large)) (< size (+ 1000 (length large)))) (string "all of it, not " size " bytes")))

(t/test "a client that reads 64 KiB in every :write-timeout is never cut off"
  (with [server (serve large-answer :write-timeout 0.4)]
    (got-all (output (python slow-reader (t/port server) 65536 0.02)))
    (all-ended server)))

(t/test "a client that reads in time is not cut off when the body is in pieces, or behind HAProxy"
  (def [program] (programs/need "haproxy"))
  (def config (t/scratch "haproxy.cfg"))
  (defn pieces [_]
    {:headers {"Content-Length" (string (length large))}
     :body (seq [i :range-to [1 6]] (string/slice large (* (dec i) 1048576) (* i 1048576)))})
  (with [server (serve pieces :write-timeout 0.4)]
    (defer (os/rm config)
      (def port (t/free-port))
      (spit config
            (string "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
                    "listen l\n bind 127.0.0.1:" port "\n server s 127.0.0.1:" (t/port server) "\n"))
      (t/start program "-db" "-f" config)
      (t/wait-until "HAProxy" |(first (protect (:close (t/connect port)))))
      (got-all (output (python slow-reader port 65536 0.02))))))

(t/test "a client that reads next to nothing is cut off, and so is one that reads nothing"
  (with [server (serve large-answer :write-timeout 0.1)]
    (def reader (python slow-reader (t/port server) 100 0.05))
    (:line (python ```
import socket, sys, time
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
print("sent", flush=True)
time.sleep(1000)
``` (t/port server)))
    (t/wait-until "both" |(= 2 ((kqnet/stats server) :accepted)))
    (all-ended server)
    (:close reader)))

# Answers that are sent early.

(def- upload
  ```
import http.client, sys
c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
c.request("POST", "/", b"x" * int(sys.argv[2]))
r = c.getresponse()
print(r.status, r.read().decode().strip())
```)

(def- fetch
  ```
const [port, size] = process.argv.slice(1).map(Number);
fetch(`http://127.0.0.1:${port}/`, { method: "POST", body: "x".repeat(size) })
  .then(async (r) => console.log(r.status, (await r.text()).trim()))
  .catch((e) => console.log("failed", e.cause || e));
```)

(def- uploads
  {"python3" (fn [port size] (python upload port size))
   "node" (fn [port size] (t/start (first (programs/need "node")) "-e" fetch (string port) (string size)))
   "curl" (fn [port size]
            (def [curl] (programs/need "curl"))
            (t/start "sh" "-c" (string "head -c " size " /dev/zero | " curl " -sS -w '%{stderr}%{http_code}' -H 'Content-Type: x' "
                                       "-X POST --data-binary @- http://127.0.0.1:" port "/; echo")))})

(each [name client] (sorted (pairs uploads))
  (t/test (string "an answer that is sent before an upload of 10 MB was read arrives at " name)
    (programs/need name)
    (defn handler [{:path path}] {:status 403 :body "no"})
    (with [refusing (serve handler :max-body 1000)]
      (with [ignoring (serve handler :max-body 100000000)]
        (repeat 5
          (t/check (string/find "request body is too large" (output (client (t/port refusing) 10000000))) "413")
          (t/check (string/find "no" (output (client (t/port ignoring) 10000000))) "403"))
        (all-ended refusing)
        (all-ended ignoring)))))

(t/test "a client that neither sends nor closes after its last answer does not delay a drain"
  (with [server (serve (fn [_] {:body "hello"}) :max-body 10)]
    (with [c (h/client server)]
      (:send c "POST" "/" ["Content-Length: 100"])
      (t/same 413 ((:receive c) :status))
      (t/same "" (:rest c))
      (t/same 0 (kqnet/drain server 0.05))
      (all-ended server))))

# Clients that leave.

(defn- vanish
  "Sends a request whose answer is left unread, and then another one, so that closing resets the connection."
  [server text]
  (def conn (t/send server (h/request "GET" "/hello")))
  # The answer has come when there is something to read.
  (:read conn 1)
  (:write conn text)
  conn)

(t/test "a client that resets is reported nowhere, whatever the server is doing with it"
  (def told @[])
  (def gate (ev/chan))
  (var entered 0)
  (defn handler [req]
    (if (= "/hello" (req :path))
      {:body "hello"}
      (do
        (++ entered)
        (ev/take gate)
        (case (req :path)
          "/read" {:body (http/read-body req)}
          "/large" {:body large}
          "/stream" {:body (coro (forever (yield "tick")))}
          {:body "small"}))))
  (with [server (serve handler :on-error (fn [_ err _] (array/push told err) nil))]
    (each [text ends-first] (mapcat |[[$ false] [$ true]]
               [(h/request "POST" "/read" ["Content-Length: 5" "Expect: 100-continue"])
                (h/request "POST" "/read" ["Content-Length: 5"])
                (string (h/request "POST" "/read" ["Transfer-Encoding: chunked"]) "5\r\nhel")
                (h/request "GET" "/large") (h/request "GET" "/stream") (h/request "GET" "/small")])
      (set entered 0)
      (def conn (vanish server text))
      (t/wait-until "the handler" |(= 1 entered))
      # A reset after the client's end is EPIPE, and ECONNRESET otherwise.
      (when ends-first (net/shutdown conn :w))
      (:close conn)
      (ev/give gate true)
      (all-ended server))
    (t/same [] told)))

(t/test "a connection does not stay open after a client that ends its side together with a request"
  (with [server (serve (fn [req]
                         (when (= "/slow" (req :path)) (repeat 3 (ev/sleep 0)))
                         {:body (if (= :post (keyword (string/ascii-lower (req :method)))) (http/read-body req) "hello")})
                       :idle-timeout math/inf)]
    (each text [(h/request "GET" "/")
                (h/request "GET" "/slow")
                (string (h/request "GET" "/") (h/request "GET" "/slow"))
                (string (h/request "POST" "/" ["Content-Length: 5"]) "hello")
                (string (h/request "GET" "/") "\r\n")]
      (def c (h/client server))
      (t/same "hello" ((:ask c "GET" "/") :body))
      # The server does not run before both are there.
      (:write (c :conn) text)
      (net/shutdown (c :conn) :w)
      (t/check (string/has-suffix? "hello" (t/receive (c :conn))) "a response, and then the end")
      (:close c))
    (all-ended server)))

(t/test "requests behind urgent data are answered"
  (def program ```
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.settimeout(60)
get = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
for i in range(3):
    s.sendall(get)
    s.send(b"!", socket.MSG_OOB)
    s.sendall(get)
    got = b""
    while got.count(b"hello") < 2:
        more = s.recv(4096)
        if not more:
            raise SystemExit("the connection ended after %r" % got)
        got += more
```)
  (with [server (serve (fn [_] {:body "hello"}) :idle-timeout math/inf)]
    (output (python program (t/port server)))))

(t/test "a client that resets after a request that the server refuses is not reported"
  (def traces @"")
  # Nothing is accepted before all clients have reset, so each is gone when it is answered.
  (def listener (kqnet/listen host 0))
  (def program ```
import socket, struct, sys
for text in [b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\r\n"]:
    for ends_first in [False, True]:
        s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        s.sendall(text)
        if ends_first:
            s.shutdown(socket.SHUT_WR)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
```)
  (output (python program (t/port listener)))
  (with [server (with-dyns [:err traces]
                  (http/server (fn [_] {:body "hello"}) :max-body 10 :listener listener))]
    # This client is served after those before it.
    (with [c (h/client server)]
      (t/same "hello" ((:ask c "GET" "/") :body)))
    (all-ended server))
  (t/same "" (string traces)))

# Handlers that learn about it.

(t/test "ending: a stream with nothing to send ends when the server drains"
  (def events {"/0" (ev/chan) "/1" (ev/chan) "/2" (ev/chan)})
  (defn handler [req]
    {:body (coro
             (forever
               (match (ev/select (events (req :path)) (http/ending req))
                 [:take _ event] (yield event)
                 _ (break)))
             (yield (if (http/draining? req) "drains" "does not drain")))})
  (def server (serve handler))
  (def clients (seq [_ :range [0 3]] (h/client server)))
  (eachp [i c] clients
    (def path (string "/" i))
    (:send c "GET" path)
    (:head c)
    (ev/give (events path) "tick")
    (t/same "4\r\ntick\r\n" (:take c 9)))
  (t/same 0 (kqnet/drain server 1000))
  (each c clients
    (t/same "6\r\ndrains\r\n0\r\n\r\n" (:rest c))
    (:close c)))

(t/test "ending: it may be asked for while the server drains"
  (def gate (ev/chan))
  (var entered false)
  (def server (serve (fn [req]
                       (set entered true)
                       (ev/take gate)
                       {:body (string (nil? (ev/take (http/ending req))) (http/draining? req))})))
  (with [c (h/client server)]
    (:send c "GET" "/")
    (t/wait-until "the handler" |(do entered))
    (def drained (t/background |(kqnet/drain server)))
    (ev/sleep 0)
    (ev/give gate true)
    (t/same "truetrue" ((:receive c) :body))
    (t/same [true 0] (ev/take drained))))

(defn- watching
  "A server whose handler waits for its end, and a table of what the handlers found."
  [options & more]
  (def seen @{:entered 0 :ended 0})
  (def server
    (serve (fn [req]
             (if (= "/hello" (req :path))
               {:body "hello"}
               (do
                 (when (= "POST" (req :method)) (http/read-body req))
                 # One call is enough, whichever it is.
                 (t/same (http/ending req) (http/ending req ;options))
                 (def ending (http/ending req))
                 (update seen :entered inc)
                 (ev/take ending)
                 (update seen :ended inc)
                 (put seen :gone (http/gone? req ;options))
                 {:body "ended"})))
           ;more))
  [server seen])

(t/test "ending: a client that resets is noticed, with and without unread bytes behind its request"
  (def [server seen] (watching []))
  (with [server server]
    # On systems other than Linux, unread bytes hide a reset.
    (each [text times] [[(h/request "GET" "/") 1]
                        ;(if (= :kqueue (kqnet/backend))
                           []
                           [[(string (h/request "GET" "/") (h/request "GET" "/")) 2]
                            [(string (h/request "GET" "/") (string/repeat "x" 100000)) 3]
                            [(h/request "POST" "/" [] "hello") 4]])]
      (def conn (vanish server text))
      (t/wait-until "the handler" |(= times (seen :entered)))
      (:close conn)
      (t/wait-until "its end" |(= times (seen :ended)))
      (t/same true (seen :gone))
      (all-ended server))))

(t/test "ending: a client that ends its side is answered, and counts as gone only with :or-ended"
  (def gate (ev/chan))
  (defn handler [req]
    (def told (ev/chan 1))
    (def ending (http/ending req))
    (ev/go (fn [] (ev/take ending) (ev/give told true)))
    (ev/take gate)
    {:body (string/format "%q %q %d" (http/gone? req) (http/gone? req :or-ended true) (ev/count told))})
  (with [server (serve handler)]
    (with [conn (t/send server (h/request "GET" "/"))]
      (net/shutdown conn :w)
      (repeat 5 (ev/sleep 0))
      (ev/give gate true)
      (t/check (string/has-suffix? "\r\n\r\nfalse true 0" (t/receive conn)) "an answer")))
  (def [server seen] (watching [:or-ended true]))
  (with [server server]
    (with [conn (t/send server (h/request "GET" "/"))]
      (t/wait-until "the handler" |(= 1 (seen :entered)))
      (net/shutdown conn :w)
      (t/wait-until "its end" |(= 1 (seen :ended)))
      (t/check (string/has-suffix? "ended" (t/receive conn)) "an answer"))
    # The client may have ended its side before the handler asked.
    (with [conn (t/send server (h/request "GET" "/hello"))]
      (:write conn (h/request "GET" "/"))
      (net/shutdown conn :w)
      (t/check (string/has-suffix? "ended" (t/receive conn)) "an answer"))))

(t/test "ending: the body can be read while the client is watched, and no byte of it is lost"
  (defn handler [req]
    (def ending (http/ending req))
    (ev/sleep 0)
    (def body (http/read-body req))
    (def told (ev/chan 1))
    (ev/go (fn [] (ev/take ending) (ev/give told true)))
    (ev/sleep 0)
    {:body (string body " " (ev/count told))})
  (with [server (serve handler)]
    (with [c (h/client server)]
      (repeat 3
        (:send c "POST" "/" ["Content-Length: 10"])
        (repeat 5 (ev/sleep 0))
        (:write (c :conn) "hello")
        (repeat 5 (ev/sleep 0))
        (:write (c :conn) "world")
        (t/same "helloworld 0" ((:receive c) :body))))))

(t/test "ending: a request has one channel, its end closes the channel, and no task is left"
  (def before (t/tasks))
  (var channel nil)
  (with [server (serve (fn [req]
                         (set channel (http/ending req))
                         {:body (string (= channel (http/ending req)))}))]
    (with [c (h/client server)]
      (repeat 3
        (t/same "true" ((:ask c "GET" "/") :body))
        (t/same nil (ev/take channel))))
    (all-ended server))
  (t/wait-until "no more tasks than before" |(<= (t/tasks) before)))

(t/test "ending: a task that selected from the channel and waits for something else is not woken when the channel is closed"
  (def news (ev/chan 1))
  (def asked @[])
  (def place @[nil])
  (defn select [req]
    (ev/go (fn [] (ev/give news "news")))
    (in (ev/select news (http/ending req)) 2))
  (defn handler [req]
    (array/push asked (get req :path req))
    (case (get req :path)
      "/wait" (do
                (select req)
                (def wait (ev/chan))
                (ev/go (fn []
                         (kqnet/drain (in place 0) 0)
                         (repeat 5 (ev/sleep 0))
                         (ev/give wait "waited")))
                {:body (ev/take wait)})
      {:body (select req)}))
  (with [server (serve handler)]
    (put place 0 server)
    (with [c (h/client server)]
      (repeat 3
        (t/same "news" ((:ask c "GET" "/") :body))
        # The task that watches closes the channel, while the connection waits for its next request.
        (repeat 5 (ev/sleep 0)))
      (t/same "waited" ((:ask c "GET" "/wait") :body)))
    (all-ended server))
  (t/same ["/" "/" "/" "/wait"] asked))

(t/test "ending: all tasks that still wait for the channel are told of its end"
  (var told 0)
  (def waiting (ev/chan 100))
  (with [server (serve (fn [req]
                         (def ending (http/ending req))
                         (defn select-from [news]
                           (ev/give news true)
                           (ev/select news ending))
                         (repeat 20
                           (select-from (ev/chan 1))
                           (ev/go (fn []
                                    (def news (ev/chan 1))
                                    (repeat 3 (select-from news))
                                    (ev/go (fn [] (ev/give news true)))
                                    (ev/select news ending)
                                    (ev/give waiting true)
                                    (when (= :close (first (ev/select news ending))) (++ told)))))
                         (repeat 20 (ev/take waiting))
                         {:body "over"}))]
    (with [c (h/client server)]
      (t/same "over" ((:ask c "GET" "/") :body)))
    (t/wait-until "all of them" |(= 20 told))))

(t/test "ending: a detached connection's channel is closed when the server is done with the connection"
  (each detached [true (fn [_ _] nil)]
    (each turns [0 5]
      (def ended (ev/chan 1))
      (defn handler [req]
        (def ending (http/ending req))
        (ev/go (fn [] (ev/take ending) (ev/give ended true)))
        # The task that watches the client may have begun, or not.
        (repeat turns (ev/sleep 0))
        {:detached detached})
      (with [server (serve handler)]
        (with [conn (t/send server (h/request "GET" "/"))]
          (t/same true (ev/with-deadline patience (ev/take ended))))))))

(t/test "ending: after :detached with a function, a drain closes the channel, and reading from the connection does not"
  (var channel nil)
  (var ended false)
  (defn talk [req]
    (fn [conn _]
      (set channel (http/ending req))
      (net/write conn "ready")
      (net/write conn (string "got " (net/read conn 100)))
      (ev/take channel)
      (set ended true)))
  (def server (serve (fn [req]
                       (http/ending req)
                       {:status 101 :headers {"Upgrade" "x"} :detached (talk req)})))
  (with [conn (t/send server (h/request "GET" "/" ["Upgrade: x"]))]
    (def got @"")
    (while (not (string/has-suffix? "ready" got)) (:read conn 100 got patience))
    (:write conn "ping")
    (t/same "got ping" (string (:chunk conn 8 @"" patience)))
    (t/same false ended)
    (t/same 0 (kqnet/drain server 1000))
    (t/same true ended)))

# Ctrl-C.

(t/test "serve-forever says on stderr how many requests it waits for, and how to stop at once"
  (defn start [& command]
    (def server
      (t/start-janet "-e" (t/source '[(import kqnet/http)
                                      (defn handler [_] {:body (coro (yield "a") (ev/take (ev/chan)))})
                                      (print "left " (http/serve-forever handler "127.0.0.1" 0 :drain-timeout 1000))
                                      (flush)
                                      (os/exit 0)])
                     ;command))
    [server (scan-number (first (peg/match '(* "http://127.0.0.1:" ':d+) (:line server))))])
  (def [server port] (start))
  (with [c (h/client port)]
    (:send c "GET" "/")
    (:head c)
    (:signal server :int)
    (t/wait-until "a line" |(string/has-suffix? "\n" (server :err)))
    (t/same "draining, 1 still running; send the signal again to stop now\n" (string (server :err)))
    # The same signal, which some programs send twice, does not count as a second one before that.
    (ev/sleep 0.3)
    (:signal server :int)
    (t/same "left 1" (:line server))
    (t/same 0 (:wait server))))

(t/test "serve-forever drains even if stderr is full"
  (unless (os/stat "/dev/full") (t/skip "this system has no /dev/full"))
  (with [full (file/open "/dev/full" :w)]
    (def server
      (t/start {:err full} (dyn *executable*) "-e"
               (t/source '[(import kqnet/http)
                           (var go (ev/chan))
                           (defn handler [_] (ev/take go) {:body "hello"})
                           (ev/go (fn [] (forever (ev/sleep 0.01) (when (pos? (ev/count go)) nil))))
                           (print "left " (http/serve-forever handler "127.0.0.1" 0 :drain-timeout 0.2))
                           (flush)
                           (os/exit 0)])))
    (def [port] (peg/match '(* "http://127.0.0.1:" (number :d+)) (:line server)))
    (with [c (:send (h/client port) "GET" "/")]
      (repeat 5 (ev/sleep 0))
      (:signal server :term)
      (t/check (string/has-prefix? "left " (:line server)) "its end")
      (t/same 0 (:wait server)))))

(t/test "serve-forever drains even if the reader of its stderr has ended, as with Ctrl-C in a shell"
  (def program
    (t/source '[(import kqnet/http)
                (defn handler [_] {:body (coro (yield "a") (ev/take (ev/chan)))})
                (print "left " (http/serve-forever handler "127.0.0.1" 0 :drain-timeout 0.1))
                (flush)
                (os/exit 0)]))
  (def server (t/start "sh" "-c" `exec 3>&1; sh -c 'echo $$; exec "$0" -e "$1"' "$0" "$1" 2>&1 >&3 | true`
                       (dyn *executable*) program))
  (def pid (:line server))
  (def [port] (peg/match '(* "http://127.0.0.1:" (number :d+)) (:line server)))
  (with [c (:send (h/client port) "GET" "/")]
    (:head c)
    (os/execute ["kill" "-TERM" pid] :p)
    (t/same "left 1" (:line server))))

(t/test "the error for what is not a request shows it"
  (each [name call] [["ending" http/ending] ["draining?" http/draining?] ["gone?" http/gone?]]
    (each [shown value] [["nil" nil] ["5" 5] [`"GET"` "GET"]]
      (t/same (string "kqnet/http/" name ": expected a request, got " shown) (t/raised |(call value))))))

(t/finish)
