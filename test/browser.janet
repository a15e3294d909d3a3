###
### The bug as it was reported: a page with a script and six images stalls when a real browser reloads it.
###
### It stalls on core's net/server of an affected Janet. On kqnet each load completes.
###

(import ./support :as t)
(import ./support/programs)

(def- from (t/need-spork))
(print "with " from)

(def- host programs/host)

# A browser takes a fifth of a second for each load, so this runs on few hosts.
(def- reloads
  (case host
    "native" 200
    "1.42.0-epoll" 200
    "1.42.0-kqueue-xnu" 30
    "1.37.1-kqueue-xnu" 30))

(def- affected? (= host "1.37.1-kqueue-xnu"))

(def- patience
  "How many seconds one load may take. A stalled one never completes."
  30)

(def- patience-for-a-stall
  "How many seconds one load may take if it is expected to stall."
  5)

(defn- path [& parts] (string t/project "/" ;parts))

(defn- pictures-folder
  "Returns the folder for the pictures, which exists then."
  []
  (each folder [(path "target") (path "target/browser")] (os/mkdir folder))
  (path "target/browser"))

(defn- reload
  "Reloads a page in a browser this many times. Returns what the browser's script printed."
  [url times patience name]
  (def [status output]
    (programs/run "python3" (path "test/browser/reload.py") url (string times) (string patience)
                  (string (pictures-folder) "/" name ".png")))
  (t/same 0 status output)
  (string/trim output))

(defn- url [port] (string "http://127.0.0.1:" port "/"))

(defn- backlog
  "How many connections wait to be accepted on a port of 127.0.0.1, from /proc/net/tcp."
  [port]
  # Columns: sl local_address rem_address st tx_queue:rx_queue …, in hexadecimal. The state of a listener is 0A.
  (def line (string/format ": 0100007F:%04X 00000000:0000 0A 00000000:" port))
  (def table (slurp "/proc/net/tcp"))
  (def at (+ (length line) (string/find line table)))
  (scan-number (string/slice table at (+ at 8)) 16))

(defmacro- browser-test
  [name & body]
  ~(t/test-within 280 ,name
     (,programs/need "chromium" "chromedriver" "python3")
     ,;body))

(unless reloads
  (t/test "a page is reloaded in a browser"
    (t/skip (string "takes long, so it runs on few hosts, not on " host)))
  (t/finish))

(browser-test "each reload completes"
  (with [server (t/start-janet (path "test/browser/server.janet") "kept")]
    (t/same (string "loaded " (inc reloads)) (reload (url (:port server)) reloads patience (string host "-kept")))))

(browser-test "each reload completes with a connection for each request"
  (with [server (t/start-janet (path "test/browser/server.janet") "closing")]
    (t/same "loaded 31" (reload (url (:port server)) 30 patience (string host "-closing")))))

(browser-test "a page with an event stream goes on from the last event when the server was restarted"
  (def port (string (t/free-port)))
  (defn start []
    (def server (t/start-janet (path "test/browser/events.janet") port))
    (:line server)
    server)
  (def server (start))
  (with [page (t/start "python3" (path "test/browser/events.py") (string "http://127.0.0.1:" port "/") (string patience)
                       (string (pictures-folder) "/" host "-events.png"))]
    (t/same "restart" (:line page))
    (:signal server :term)
    (t/same 0 (:wait server) (server :err))
    (with [_ (start)]
      (t/same "went on" (:line page)))))

(browser-test "a browser ends with the script that uses it, even if that is killed"
  (def folder (t/scratch "browser"))
  (os/mkdir folder)
  (defn running? [] (string/find folder (t/shell-says "ps -axww -o args=")))
  (with [server (t/start-janet (path "test/browser/events.janet") (string (t/free-port)))]
    (with [page (t/start {"TMPDIR" folder} "python3" (path "test/browser/events.py") (:line server) (string patience)
                         (string (pictures-folder) "/" host "-killed.png"))]
      (t/same "restart" (:line page))
      (t/check (running?) "a browser")
      (:signal page :kill)
      (:wait page)
      (t/wait-until "the end of the browser" |(not (running?)))
      (t/wait-until "the end of its files" |(empty? (os/dir folder)))
      (os/rmdir folder))))

(if affected?
  (browser-test "reloads stall on core's net/server of a Janet that has janet#1560, with connections left waiting"
    (with [server (t/start-janet (path "test/browser/server.janet") "core")]
      (def port (:port server))
      (def outcome (reload (url port) 30 patience-for-a-stall (string host "-core")))
      (def left (backlog port))
      (print "      " outcome "; " left " connections left waiting")
      (t/check (string/has-prefix? "stalled at load" outcome) outcome)
      (t/check (pos? left) "connections in the backlog")))
  # The same server again: it is Janet's loop that stalls above, not the server.
  (browser-test "each reload completes on core's net/server of another Janet"
    (with [server (t/start-janet (path "test/browser/server.janet") "core")]
      (t/same "loaded 31" (reload (url (:port server)) 30 patience (string host "-core"))))))

(t/finish)
