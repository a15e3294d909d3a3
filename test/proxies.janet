###
### Servers behind nginx and HAProxy, configured as in docs/deployment.md.
###
### They are reached over TCP and over unix sockets. No request fails, though the server is replaced twice while wrk sends
### requests.
###

(import ./support :as t)
(import ./support/markdown)
(import ./support/programs)

(def- from (t/need-spork))
(print "with " from)

(def- seconds
  "For how long wrk runs: long, or short if a short run is asked for."
  (if (os/getenv "KQNET_TEST_QUICK") 4 10))

(def- here?
  "A run takes seconds by its nature, so this runs on few hosts."
  (has-value? ["native" "1.42.0-epoll" "1.42.0-kqueue-xnu" "1.37.1-kqueue-xnu"] programs/host))

(defn- get-page
  [port]
  (t/ask port "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n"))

(defn- start-proxy
  "Starts a proxy with the configuration that `config` makes for a port. Returns its process and the port."
  [config & command]
  (def folder (t/scratch "proxy"))
  (os/mkdir folder)
  (defer (t/remove folder)
    (var result nil)
    # nginx and HAProxy cannot choose a free port, and another process may have taken this one meanwhile.
    (repeat 5
      (when result (break))
      (def port (t/free-port))
      (spit (string folder "/config") (config port))
      (def proxy (t/start ;command (string folder "/config")))
      (def ready
        (t/wait-until (string (first command) " listens")
                      |(or (first (protect (get-page port))) (if (proxy :status) :ended))))
      (if (= ready :ended)
        (print (proxy :err))
        (set result [proxy port])))
    (t/check result (string (first command) " has started"))))

(defn- nginx
  "Starts nginx with a configuration of the docs."
  [& config]
  (def [program] (programs/need "nginx"))
  (start-proxy
    (fn [port]
      (string "daemon off; master_process off; pid /dev/null; error_log stderr;\n"
              "events {}\n"
              "http {\naccess_log off;\n"
              ;(map |(string $ "_temp_path /tmp;\n") ["client_body" "proxy" "fastcgi" "uwsgi" "scgi"])
              (markdown/replaced (string ;config) "listen 80;" (string "listen 127.0.0.1:" port ";"))
              "}\n"))
    program "-e" "stderr" "-c"))

(defn- haproxy
  "Starts HAProxy with a configuration of the docs."
  [config]
  (def [program] (programs/need "haproxy"))
  (start-proxy |(markdown/replaced config "bind :80\n" (string "bind 127.0.0.1:" $ "\n")) program "-db" "-f"))

(defn- server-block
  "What follows the upstream block in the docs' configuration of nginx."
  []
  (def text (markdown/named "nginx.conf"))
  (string/slice text (string/find "server {" text)))

(defn- proxied
  "Starts the proxy with this name in front of an address: a port or a path."
  [name address]
  (def tcp (string "127.0.0.1:" address))
  (case [name (number? address)]
    ["nginx" true] (nginx (markdown/replaced (markdown/named "nginx.conf") "127.0.0.1:8000" tcp))
    ["nginx" false] (nginx (markdown/replaced (markdown/named "nginx-unix.conf") "/run/app/app.sock" address)
                           (server-block))
    ["haproxy" true] (haproxy (markdown/replaced (markdown/named "haproxy.cfg") "127.0.0.1:8000" tcp))
    ["haproxy" false] (haproxy (markdown/replaced (markdown/named "haproxy.cfg") "    server app 127.0.0.1:8000 pool-max-conn 16\n"
                                 (markdown/replaced (markdown/named "haproxy-unix.cfg") "/run/app/app.sock" address)))))

(defn- restart
  "Has the server's worker replaced, and waits until the old worker has ended."
  [server worker]
  (:signal server :hup)
  (def lines @{})
  # The lines may come in either order.
  (repeat 3
    (def line (:line server))
    (put lines line true))
  (t/check (lines (string "worker " worker " serves")) lines)
  (t/check (lines "another worker ended with status 0") lines))

(defn- write-slow-example
  ``Writes examples/graceful-restart.janet with a handler that takes a while, so that there are requests
  in flight at any time. A worker that ended without draining would cut them off.``
  []
  (def file (t/scratch "graceful-restart.janet"))
  (spit file (markdown/replaced (slurp (string t/project "/examples/graceful-restart.janet"))
                                "(defn handler [_]\n" "(defn handler [_]\n    (ev/sleep 0.02)\n"))
  file)

(def- slow-example (write-slow-example))

(defn- start-server
  "Starts the example. Returns its process, and the port or path in the address that it prints."
  [where]
  (def server (t/start-janet slow-example where))
  (def address (:line server))
  (def [port] (or (peg/match '(* "http://127.0.0.1:" (number :d+) "/" -1) address) [where]))
  [server port])

(defn- last-line [text] (last (string/split "\n" (string/trimr text))))

(defn- no-request-fails
  "Runs wrk against a port, and has the server replaced twice meanwhile."
  [server port & options]
  (def [wrk] (programs/need "wrk"))
  (t/same "worker 1" (last-line (get-page port)) "who answers at first")
  # wrk is interrupted when the last worker has served for a while, however long it took until then.
  (def load (t/start wrk "-t1" "-c16" "-d1000" ;options (string "http://127.0.0.1:" port "/")))
  # The times define the experiment, and the result does not depend on them otherwise.
  (each worker [2 3]
    (ev/sleep (/ seconds 3))
    (restart server worker))
  (ev/sleep (/ seconds 3))
  (t/same nil (load :status) "wrk, which is still running")
  (:signal load :int)
  (t/same 0 (:wait load) (load :err))
  (t/wait-until "its output" |(load :out-ended))
  (def report (string (load :out)))
  (t/check (nil? (string/find "Socket errors" report)) report)
  (t/check (nil? (string/find "Non-2xx" report)) report)
  (def requests (string/trim (or (find |(string/find " requests in " $) (string/split "\n" report)) "0 requests")))
  (t/check (not (string/has-prefix? "0 " requests)) report)
  (print "      " requests)
  (t/same "worker 3" (last-line (get-page port)) "who answers in the end")
  (:signal server :term)
  (t/same 0 (:wait server) (server :err))
  (t/check (peg/match '(* (any (* "draining, " :d+ " still running; send the signal again to stop now\n")) -1) (server :err))
           (string "no more on stderr than how many it waits for, not " (server :err))))

(defmacro- replacing-test
  [name & body]
  ~(t/test-within 100 ,name
     (unless here? (t/skip (string "takes seconds, so it runs on few hosts, not on " programs/host)))
     ,;body))

(replacing-test "no request on a new connection fails while the server is replaced"
  (def [server port] (start-server "0"))
  (no-request-fails server port "-H" "Connection: close"))

(each name ["nginx" "haproxy"]
  (replacing-test (string "no request through " name " over TCP fails while the server is replaced")
    (programs/need name)
    (def [server port] (start-server "0"))
    (def [proxy proxy-port] (proxied name port))
    (no-request-fails server proxy-port))

  (replacing-test (string "no request through " name " over a unix socket fails while the server is replaced")
    (programs/need name)
    (def [server path] (start-server (t/scratch "app.sock")))
    (def [proxy proxy-port] (proxied name path))
    (no-request-fails server proxy-port)
    (t/same nil (os/stat path) "the socket's file")))

(os/rm slow-example)
(t/finish)
