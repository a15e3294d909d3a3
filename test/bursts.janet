###
### Many clients connect at once while the server is stopped. When it continues, it answers all of them.
###

(import ./support :as t)

(def- rounds 20)

(defn- system-backlog
  "How many connections may wait for a listener."
  []
  (def file "/proc/sys/net/core/somaxconn")
  (def text
    (if (os/stat file)
      (slurp file)
      # The first is of macOS and FreeBSD, the second of NetBSD and OpenBSD.
      (t/shell-says "sysctl -n kern.ipc.somaxconn 2>/dev/null || sysctl -n kern.somaxconn 2>/dev/null")))
  (or (scan-number (string/trim text)) 128))

# Clients that the system refuses, or for which it has no descriptor, prove nothing. Connections whose handshake is not
# over yet take places in the backlog too.
(def- clients (min 400 (div (* 3 (system-backlog)) 4) (- (t/descriptor-limit) (t/descriptors) 20)))
(print rounds " rounds of " clients " clients"
       (if (< clients 400) ", since this system does not let more wait" ""))

(defn- stop
  "Stops a process, and waits until it is stopped."
  [process]
  (:signal process :stop)
  (t/wait-until "the server stopped" |(t/stopped? process)))

(defn- burst
  "Lets clients connect and write while the server is stopped. Returns how many were not answered."
  [server port]
  (def conns (array/new clients))
  (var unanswered 0)
  (stop server)
  (defer (each conn conns (:close conn))
    (t/together clients
                (fn [_]
                  (def conn (t/send port "GET / HTTP/1.1\r\n\r\n"))
                  (array/push conns conn)))
    (:signal server :cont)
    (t/together clients
                (fn [i]
                  (def reply (try (ev/with-deadline 20 (:read (conns i) 1024)) ([_] nil)))
                  (unless (and reply (string/has-suffix? "hello" reply)) (++ unanswered)))))
  unanswered)

(each way ["server" "accept-loop" "accept"]
  (t/test (string "kqnet/" way " answers each client of each burst")
    (with [server (t/start-janet (t/program "server") "kqnet" way)]
      (def port (:port server))
      (t/same (seq [_ :range [0 rounds]] 0)
              (seq [_ :range [0 rounds]] (burst server port))
              "unanswered clients by round")
      # A single client that comes afterwards is answered, too.
      (t/check (string/has-suffix? "hello" (t/ask port)) "an answer after the bursts"))))

(t/finish)
