###
### Sends the same burst of connections to two servers: core's net/server and kqnet/server, on the same Janet.
###
### On macOS's kernel, or the emulation of it, core's server of Janet 1.37.1 forgets all but one client of a burst
### (janet#1560, explained in docs/kqueue.md). The servers are processes of side-server.janet, which this file starts.
###

(def clients "How many clients connect to each server in a burst." 100)
(def most "How many clients each server gets before it has to be started again." 500)

(def- patience "How many seconds may pass without another answer before a burst is over." 1.5)
(def- longest-start "How many seconds a server may take to start or to obey." 10)

(def- request "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")

(def- waiting (chr "."))
(def- answered (chr "+"))
(def- failed (chr "x"))

(def- program
  (string (string/join (slice (string/split "/" (dyn :current-file)) 0 -2) "/") "/side-server.janet"))

(var- environment "What the servers' Janet is started with, or nil if there are none." nil)
(var- executable nil)
(var- why-not nil)
(var- servers [])
(var- running false)

# Processes.

(defn- ask
  "Writes a command to a server, unless it is nil. Returns the line that the server prints then."
  [{:process process} command]
  (def line @"")
  (ev/with-deadline longest-start
    (when command (ev/write (process :in) (string command "\n")))
    (while (not (string/has-suffix? "\n" line))
      (unless (ev/read (process :out) 64 line) (error "the server has ended"))))
  (string/trim line))

(defn- stop
  "Ends a server, and resets the connections of its clients."
  [server]
  (unless (server :ended) (protect (os/proc-kill (server :process) false :kill))))

(defn- start
  "Starts a server, and returns it."
  [kind]
  (def process (os/spawn [executable program kind] :pe environment))
  (def server @{:process process :ended false :clients @""})
  (ev/go (fn [] (os/proc-wait process) (put server :ended true)))
  (try
    (let [[port version kernel] (string/split " " (ask server nil))]
      (merge-into server {:port (scan-number port) :version version :kernel kernel}))
    ([err fiber]
      (stop server)
      (propagate err fiber))))

(defn close
  "Ends the servers."
  []
  (each server servers (stop server))
  (set servers []))

(defn- start-both
  "Starts the servers in the place of those before them. If one does not start, there are none."
  []
  # A page that is asked for in the meantime says that these have ended.
  (each server servers (stop server))
  (try
    (let [core (start "core")
          kqnet (try (start "kqnet") ([err fiber] (stop core) (propagate err fiber)))]
      (set servers [core kqnet]))
    ([err]
      (set servers [])
      (set why-not (string "they do not start: " err)))))

(defn open
  ``Starts the two servers with a Janet whose net/server may stall. `modules` is the folder with kqnet for it. Without them,
  `reason` says why, or is nil.``
  [janet modules &opt reason]
  (set why-not (or reason "it was started without the servers; `cargo xtask serve` starts them too"))
  (when (and janet modules)
    (set executable janet)
    (set environment (merge (os/environ) {"JANET_PATH" modules :in :pipe :out :pipe}))
    (put environment "JANET_PROFILE" nil)
    (start-both)))

(defn reason
  "Why there are no servers, or nil if there are."
  []
  (if (empty? servers) why-not))

# What there is to see.

(defn- number-of [mark server] (count |(= mark $) (server :clients)))

(defn- seconds [n] (string/format "%.2f s" n))

(defn- people
  "Some clients, in words."
  [n]
  (if (= n 1) "1 client" (string n " clients")))

(defn- words
  "What one server is doing."
  [server sent got left]
  (cond
    (server :ended) "It has ended. Start it again."
    (zero? sent) "No client yet."
    (and running (pos? left)) (string (people left) " " (if (= left 1) "waits." "wait."))
    (pos? left) (string "Stalled: " (people left) " " (if (= left 1) "waits" "wait") ", and the server sleeps.")
    (< got sent) (string (people (- sent got)) " got no answer.")
    (string "Everybody is answered, the last after " (seconds (server :took)) ".")))

(defn- state-of [server]
  (def [sent got left] [(length (server :clients)) (number-of answered server) (number-of waiting server)])
  {"sent" sent "answered" got "waiting" left
   "clients" (string (server :clients))
   "stalled" (and (not running) (pos? left))
   "port" (server :port) "version" (server :version) "kernel" (server :kernel)
   "words" (words server sent got left)
   "batches" (if-let [batches (server :batches)]
               (string/format "Accepted in %d batches, the largest of %d." batches (server :largest)))})

(defn- verdict
  "What came of the bursts, in a sentence or two."
  [core kqnet]
  (def sent (core "sent"))
  (cond
    running "The burst is on its way."
    (zero? sent) ""
    (string
      (string/format "Janet’s own net/server answered %d of %d clients" (core "answered") sent)
      (if (core "stalled") (string ", and " (core "waiting") " still wait") "")
      (string/format ". kqnet answered %d of %d." (kqnet "answered") sent)
      (if (core "stalled") "" " Here, neither of them stalls."))))

(defn state
  "What there is to see, as a struct for a page or for JSON, or nil if there are no servers."
  []
  (unless (empty? servers)
    (def [core kqnet] (map state-of servers))
    {"running" running
     "full" (<= most (core "sent"))
     "verdict" (verdict core kqnet)
     "core" core "kqnet" kqnet}))

# Bursts.

(defn- client
  "Connects, asks, and waits for the answer, for as long as it takes. Puts the outcome into the buffer at an index."
  [{:port port :clients clients} index told]
  (def outcome
    (try
      (with [conn (net/connect "127.0.0.1" (string port))]
        (:write conn request)
        (if (:read conn 1024) answered failed))
      ([_] failed)))
  (put clients index outcome)
  (told))

(defn- burst-to
  "Sends a burst to a server. `told` is called when a client's wait is over."
  [server told]
  (def before (length (server :clients)))
  (put server :began (os/clock :monotonic))
  (buffer/push (server :clients) (string/repeat (string/from-bytes waiting) clients))
  (for index before (+ before clients)
    (ev/go (fn [] (client server index
                          (fn []
                            (put server :took (- (os/clock :monotonic) (server :began)))
                            (told)))))))

(defn- count-batches
  "Notes in how many batches kqnet has accepted its clients."
  [server]
  (when-let [[batches largest] (peg/match '(* :d+ " " (number :d+) " " (number :d+)) (ask server "count"))]
    (merge-into server {:batches batches :largest largest})))

(defn- settle
  "Waits until each client is answered, or until there is no other answer for a while. Tells about the changes."
  [last-answer tell]
  (while (and (some |(pos? (number-of waiting $)) servers)
              (< (- (os/clock :monotonic) (last-answer)) patience))
    (tell)
    (ev/sleep 0.05)))

(defn send
  ``Keeps both servers busy for a moment, in which a burst of clients connects to each of them. Returns when the burst is
  over. `tell` is called whenever there may be something new to see. Returns false, and does nothing, while there is
  another burst, or when a server has ended or had enough clients.``
  [tell]
  (def ready (and (not running)
                  (not (empty? servers))
                  (all |(and (not ($ :ended)) (< (length ($ :clients)) most)) servers)))
  (when ready
    (set running true)
    (var latest (os/clock :monotonic))
    (defer (do
             (set running false)
             (tell))
      (each server servers (ask server "busy"))
      (each server servers
        (burst-to server (fn [] (set latest (os/clock :monotonic)))))
      (settle (fn [] latest) tell)
      (count-batches (last servers))))
  ready)

(defn restart
  "Ends both servers, and with them the clients that wait, and starts new ones. Returns false, and does nothing, during a burst."
  [tell]
  (def ready (and (not running) (not (empty? servers))))
  (when ready
    (set running true)
    (defer (do
             (set running false)
             (tell))
      (start-both)))
  ready)
