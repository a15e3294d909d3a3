###
### Servers behind nginx and HAProxy, configured as in docs/deployment.md.
###
### They are reached over TCP and over unix sockets. No request fails, though kqnet-serve replaces its workers while wrk
### sends requests. KQNET_RELOADS says how often, for a long run.
###

(import ./support :as t)
(import ./support/markdown)
(import ./support/programs)
(import ./support/serve)

(def- from (t/need-spork))
(print "with " from)

(def- reloads
  "How often the workers are replaced in a test."
  (scan-number (os/getenv "KQNET_RELOADS" "2")))

(def- pause
  "How many seconds pass between two replacements: it is long, or short if a short run is asked for."
  (if (os/getenv "KQNET_TEST_QUICK") 0.5 1))

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

(def- program
  ``A program whose handler takes a while, so that there are requests in flight at any time. A worker that ended without
  draining would cut them off.``
  ``(import kqnet/http)
    (import kqnet/_native :as native)
    (http/serve-forever (fn [_] (ev/sleep 0.02) {:body (string (native/process-id))}))``)

(defn- reloading
  "Calls a function with kqnet-serve, running two workers at an address, and a function that has them replaced."
  [address f]
  (serve/with-program program
    (fn [file]
      (def server (serve/serve "-b" address "-w" "2" file))
      (serve/wait-for server "listening on ")
      (def supervisor (string ((server :proc) :pid)))
      (defn replace []
        (def before (serve/workers-of supervisor))
        (:signal server :hup)
        (t/wait-until "new workers, and the ends of the old ones"
                      (fn []
                        (def now (serve/workers-of supervisor))
                        (and (= 2 (length now)) (not (some |(has-value? before $) now))))))
      (f server replace)
      (:signal server :term)
      (t/same 0 (:wait server) (server :err)))))

(defn- no-request-fails
  "Runs wrk against a port, and has the workers replaced meanwhile."
  [port replace & options]
  (def [wrk] (programs/need "wrk"))
  # wrk is interrupted in the end, however long it took until then.
  (def load (t/start wrk "-t1" "-c16" "-d1000" ;options (string "http://127.0.0.1:" port "/")))
  # The pauses define the experiment, and the result does not depend on them otherwise.
  (repeat reloads
    (ev/sleep pause)
    (replace))
  (ev/sleep pause)
  (t/same nil (load :status) "wrk, which is still running")
  (:signal load :int)
  (t/same 0 (:wait load) (load :err))
  (t/wait-until "its output" |(load :out-ended))
  (def report (string (load :out)))
  (t/check (nil? (string/find "Socket errors" report)) report)
  (t/check (nil? (string/find "Non-2xx" report)) report)
  (def requests (string/trim (or (find |(string/find " requests in " $) (string/split "\n" report)) "0 requests")))
  (t/check (not (string/has-prefix? "0 " requests)) report)
  (print "      " reloads " reloads, " requests))

(defmacro- replacing-test
  [name & body]
  ~(t/test-within (+ 100 (* 10 reloads)) ,name
     (unless here? (t/skip (string "takes seconds, so it runs on few hosts, not on " programs/host)))
     (unless (t/exists? "/proc/self/stat" :file) (t/skip "it finds the workers by Linux's ps"))
     ,;body))

(defn- answer
  "Sends a request on a connection. Returns :answered, :closed if not a byte of an answer came, or :cut-off."
  [conn]
  (def buf @"")
  (def [ok]
    (protect
      (:write conn "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
      (while (not (peg/match '(* "HTTP/1.1 200 " (thru "\r\n\r\n") :d) buf))
        (unless (:read conn 4096 buf 20) (error "closed")))))
  (cond ok :answered (empty? buf) :closed :cut-off))

(defn- kept-connections
  ``Sends requests on kept connections, and has the workers replaced meanwhile. As browsers and proxies do, a client sends a request
  again only if the connection had been used before and was closed without a byte of an answer.``
  [connect replace]
  (var stopping false)
  (def counts @{:answered 0 :repeated 0})
  (defn count [name] (update counts name inc))
  (defn client []
    (var conn nil)
    (var used false)
    (while (not stopping)
      (unless conn (set conn (connect)) (set used false))
      (case (answer conn)
        :answered (do (set used true) (count :answered))
        :closed (do
                  (unless used (error "a new connection was closed without an answer"))
                  (count :repeated)
                  (:close conn)
                  (set conn nil))
        (error "an answer was cut off")))
    (when conn (:close conn)))
  (def ends (ev/chan))
  (repeat 16 (ev/go (fn [] (ev/give ends (protect (client))))))
  (repeat reloads
    (ev/sleep pause)
    (replace))
  (ev/sleep pause)
  (set stopping true)
  (repeat 16 (let [[ok err] (ev/take ends)] (t/check ok err)))
  (t/check (pos? (counts :answered)) counts)
  (printf "      %d reloads, %d requests, of which %d were sent twice" reloads (counts :answered) (counts :repeated)))

(replacing-test "no request on a new connection fails while the workers are replaced"
  (def port (t/free-port))
  (reloading port (fn [_ replace] (no-request-fails port replace "-H" "Connection: close"))))

(replacing-test "no request on a unix socket fails while the workers are replaced, if clients repeat it when a kept connection was closed"
  (def path (t/scratch "app.sock"))
  (reloading (string "unix:" path)
             (fn [_ replace] (kept-connections |(net/connect :unix path) replace))))

(replacing-test "nor on kept connections of a port"
  (def port (t/free-port))
  (reloading port (fn [_ replace] (kept-connections |(t/connect port) replace))))

(each name ["nginx" "haproxy"]
  (replacing-test (string "no request through " name " over TCP fails while the workers are replaced")
    (programs/need name)
    (def port (t/free-port))
    (reloading port
               (fn [_ replace]
                 (def [proxy proxy-port] (proxied name port))
                 (no-request-fails proxy-port replace))))

  (replacing-test (string "no request through " name " over a unix socket fails while the workers are replaced")
    (programs/need name)
    (def path (t/scratch "app.sock"))
    (reloading (string "unix:" path)
               (fn [_ replace]
                 (def [proxy proxy-port] (proxied name path))
                 (no-request-fails proxy-port replace)))
    (t/same nil (os/stat path) "the socket's file")))

(t/finish)
