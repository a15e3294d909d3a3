###
### kqnet/websocket with clients of other projects: Python's websockets, Chromium, and both through nginx.
###

(import ./support :as t)
(import ./support/markdown)
(import ./support/programs)
(import ./support/python :as py)
(import ./support/websocket :as w)
(t/need-spork)
(import kqnet)
(import kqnet/http)
(import kqnet/websocket)

(def- host "127.0.0.1")

(defn- echo [ws]
  (while (def message (:read ws))
    (:write ws message)))

(def- page {:status 200 :headers {"Content-Type" "text/html"} :body "<!doctype html><title>Echo</title>"})

(defn- serve [& options]
  (http/server (http/router {"/" page
                             "/echo" (fn [req] (websocket/upgrade req echo :protocols ["chat"] ;options))
                             "/push" (fn [req] (websocket/upgrade req (fn [ws] (for i 0 1000 (:write ws (string i))))))
                             "/raise" (fn [req] (websocket/upgrade req (fn [ws] (error "meant to be raised"))))})
               host 0 :on-error (fn [&] nil)))

(defn- all-ended [server]
  (t/wait-until "the ends of all handlers" |(zero? ((kqnet/stats server) :active))))

(defn- python
  "Runs a Python program that needs the package websockets. Returns its exit status and output."
  [program & args]
  (def [python env] (py/with-packages "websockets==15.0.1"))
  (defn run [& args]
    (with [process (t/start env python ;args)]
      (def status (:wait process))
      (t/wait-until "the end of its output" |(and (process :out-ended) (process :err-ended)))
      [status (string (process :out) (process :err))]))
  (run "-c" (string "import asyncio, random, sys\nimport websockets\nfrom websockets.asyncio.client import connect\n"
                    "url = sys.argv[1]\n" program "\nasyncio.run(main())\nprint('done')\n")
       ;args))

(defn- done
  "Fails unless a Python program succeeds."
  [& args]
  (t/same [0 "done\n"] (python ;args)))

(defn- url [where] (string "ws://127.0.0.1:" (if (number? where) where (t/port where))))

(def- conversation
  ```
  async def refused(connection, code, reason):
      try:
          while True:
              await connection.recv()
      except websockets.ConnectionClosed as error:
          assert (error.rcvd.code, error.rcvd.reason) == (code, reason), error

  async def main():
      # The compression that is offered by default is not accepted.
      async with connect(url + "/echo", subprotocols=["other", "chat"], max_size=None) as ws:
          assert ws.subprotocol == "chat"
          for message in ["text", "", b"", b"\0\xff", "é€😀" * 50000, bytes(range(256)) * 4000]:
              await ws.send(message)
              answer = await ws.recv()
              assert answer == message and type(answer) == type(message), type(answer)
          # Fragments.
          await ws.send(["a", "", "é", "b" * 70000, "c"])
          assert await ws.recv() == "aé" + "b" * 70000 + "c"
          await ws.send([b"a", b"\xff"])
          assert await ws.recv() == b"a\xff"
          for payload in [b"", b"p" * 125]:
              await asyncio.wait_for(await ws.ping(payload), 20)
      assert (ws.close_code, ws.close_reason) == (1000, "")
      async with connect(url + "/echo") as ws:
          await ws.close(4321, "with a reason: é")
      assert (ws.close_code, ws.close_reason) == (4321, "with a reason: é")
      async with connect(url + "/push") as ws:
          assert [message async for message in ws] == [str(i) for i in range(1000)]
      async with connect(url + "/raise") as ws:
          await refused(ws, 1011, "")
      async with connect(url + "/echo") as ws:
          await ws.send("x" * 1048577)
          await refused(ws, 1009, "message is too large")
      for origin, status in [("https://evil.example", 403), ("null", 403)]:
          try:
              await connect(url + "/echo", origin=origin)
              assert False, "no error"
          except websockets.InvalidStatus as error:
              assert error.response.status_code == status, error
      async with connect(url + "/echo", origin=url.replace("ws:", "http:")) as ws:
          await ws.send("same origin")
          assert await ws.recv() == "same origin"
  ```)

(t/test "Python's websockets: a conversation about everything"
  (with [server (serve)]
    (done conversation (url server))
    (all-ended server)))

(def- crowd
  ```
  async def client(number):
      choice = random.Random(number)
      async with connect(url + "/echo", open_timeout=60) as ws:
          for turn in range(10):
              size = choice.choice([0, 1, 100, 125, 126, 1000, 20000])
              message = f"{number} {turn} " + "x" * size
              await ws.send(message if turn % 2 else message.encode())
              answer = await ws.recv()
              assert answer == (message if turn % 2 else message.encode())

  async def main():
      for start in range(0, 1000, 250):
          await asyncio.gather(*[client(start + number) for number in range(250)])
      clients = await asyncio.gather(*[connect(url + "/echo", open_timeout=60) for _ in range(1000)])
      await asyncio.gather(*[ws.send("hello") for ws in clients])
      assert await asyncio.gather(*[ws.recv() for ws in clients]) == ["hello"] * 1000
      await asyncio.gather(*[ws.close() for ws in clients])
  ```)

(t/test "Python's websockets: a thousand clients are echoed"
  (with [server (serve)]
    (done crowd (url server))
    (all-ended server)
    (t/check (>= ((kqnet/stats server) :peak) 1000) "a thousand at once")))

(t/test "Python's websockets: a client that reads slowly gets everything"
  (with [server (http/server (fn [req]
                               (websocket/upgrade req (fn [ws]
                                                        (repeat 100 (:write ws (buffer/new-filled 100000 1))))
                                                  :max-queued 200000))
                             host 0)]
    (done
      ```
      async def main():
          async with connect(url, max_queue=1) as ws:
              count = 0
              async for message in ws:
                  assert message == b"\1" * 100000
                  count += 1
                  if count % 10 == 0:
                      await asyncio.sleep(0.01)
              assert count == 100, count
      ```
      (url server))
    (all-ended server)))

(t/test "Python's websockets: a drain ends all clients with 1001"
  (with [server (serve)]
    (def outcome
      (t/background
        |(python
           ```
           async def main():
               clients = [await connect(url + "/echo") for _ in range(20)]
               for ws in clients:
                   await ws.wait_closed()
                   assert ws.close_code == 1001, ws.close_code
           ```
           (url server))))
    (t/wait-until "the clients" |(or (pos? (ev/count outcome)) (= 20 ((kqnet/stats server) :active))))
    (if (= 20 ((kqnet/stats server) :active))
      (t/same 0 (kqnet/drain server 20)))
    (match (ev/take outcome)
      [true result] (t/same [0 "done\n"] result)
      [false err] (error err))))

# nginx.

(defn- with-nginx
  "Calls a function with the process of an nginx in front of a server, and its port."
  [server f]
  (def [program] (programs/need "nginx"))
  (def folder (t/scratch "nginx"))
  (os/mkdir folder)
  (def config (string folder "/config"))
  (defer (t/remove folder)
    (def port (t/free-port))
    (spit config
          (string "daemon off; pid " folder "/pid; error_log stderr;\nevents {}\nhttp {\naccess_log off;\n"
                  ;(map |(string $ "_temp_path " folder ";\n") ["client_body" "proxy" "fastcgi" "uwsgi" "scgi"])
                  (markdown/replaced (markdown/named "nginx-websocket.conf" "docs/http.md")
                                     "listen 80;" (string "listen 127.0.0.1:" port ";")
                                     "location /echo {" "location / {"
                                     "127.0.0.1:8000" (string "127.0.0.1:" (t/port server)))
                  "}\n"))
    (with [proxy (t/start program "-e" "stderr" "-c" config)]
      (t/wait-until "nginx listens" |(or (first (protect (with [_ (t/connect port)]))) (proxy :status)))
      (t/same nil (proxy :status) (string (proxy :err)))
      (defer (do
               (:signal proxy :term)
               (:wait proxy))
        (f proxy port)))))

(t/test "Python's websockets through nginx: the same conversation, and the same origin"
  (with [server (serve)]
    (with-nginx server (fn [_ port] (done conversation (url port))))
    (all-ended server)))

(t/test "a WebSocket through nginx goes on while nginx is reloaded, and ends with the server"
  (with [server (serve)]
    (with-nginx server
      (fn [proxy port]
        (with [c (w/connect port "/echo")]
          (:send c (w/frame :text "before"))
          (t/same [:text "before"] (:receive c))
          (:signal proxy :hup)
          (t/wait-until "new workers" |(with [new (w/connect port "/echo")]
                                         (:send new (w/frame :text "new"))
                                         (= [:text "new"] (:receive new))))
          (:send c (w/frame :text "after"))
          (t/same [:text "after"] (:receive c))
          (def left (t/background |(kqnet/drain server 20)))
          (t/same [:close (w/close-payload 1001 "the server is ending")] (:receive c))
          (:send c (w/frame :close (w/close-payload 1001)))
          (t/same [true 0] (ev/take left)))))))

# Chromium.

(t/test-within 120 "Chromium: a page echoes text and binary, and sees the codes"
  (programs/need "chromium" "chromedriver" "python3")
  (unless (has-value? ["native" "1.42.0-epoll" "1.42.0-kqueue-xnu" "1.37.1-kqueue-xnu"] programs/host)
    (t/skip (string "a browser takes long, so it runs on few hosts, not on " programs/host)))
  (with [server (serve)]
    (def [status output]
      (programs/run "python3" (string t/project "/test/browser/websocket.py")
                    (string "http://127.0.0.1:" (t/port server) "/")))
    (t/same [0 "open chat\ntext ok\nbinary ok\nlarge ok\nclosed 4000 bye\nrefused 1006\nraised 1011\n"] [status output])
    (all-ended server)))

(t/finish)
