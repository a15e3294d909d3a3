###
### What a server must not do to the other parts of a program.
###
### Its descriptors do not reach child processes, and a client that resets does not kill the program.
###

(import ./support :as t)

# Children.

(def- listing
  "Forms that start children in each possible way. The children list their descriptors, and the forms print the lists."
  '[(import kqnet)
    (defn output [& args]
      (def child (os/spawn args :p {:out :pipe}))
      (def text (ev/read (child :out) :all))
      (os/proc-wait child)
      (os/proc-close child)
      (string/join (sort (string/split "\n" (string/trim text))) " "))
    (defn executed [command]
      (def path (string (os/getenv "TMPDIR" "/tmp") "/kqnet-children-" (string/join (map string (os/cryptorand 8)) "")))
      (os/execute ["sh" "-c" (string command " > " path)] :p)
      (defer (os/rm path)
        (string/join (sort (string/split "\n" (string/trim (slurp path)))) " ")))
    (defn lists [what]
      (print what "\t" (output "ls" "/dev/fd/") "\t" (executed "ls /dev/fd/"))
      (flush))])

(defn- lists-of
  "Runs such a program. Returns its lists by name."
  [& forms]
  (with [program (t/start-forms [;listing ;forms])]
    (t/same 0 (:wait program) (string (program :err)))
    (t/wait-until "the end of its output" |(program :out-ended))
    (tabseq [line :in (string/split "\n" (string/trim (program :out)))
             :let [[name & lists] (string/split "\t" line)]]
      name lists)))

(defn- none-more
  "Fails unless all lists are those from before there was a server. Lists of threads must only be as long."
  [lists expected]
  (t/same (sorted ["before" "in a thread before" "in a thread" ;expected]) (sorted (keys lists)) "what was listed")
  (each name expected
    (t/same (lists "before") (lists name) (string "descriptors of a child: " name)))
  # In a thread, the numbers may be others each time.
  (t/same ;(map |(map length (map |(string/split " " $) (lists $))) ["in a thread before" "in a thread"])
          "how many a child has"))

(t/test "no descriptor of a server reaches a child: listener, queue, connection or timer"
  (none-more
    (lists-of
      '(lists "before")
      '(ev/thread (fn [_] (lists "in a thread before")))
      '(def path (string (os/getenv "TMPDIR" "/tmp") "/kqnet-hygiene-" (string/join (map string (os/cryptorand 8)) "")))
      '(def listeners [(kqnet/listen "127.0.0.1" 0) (kqnet/listen "127.0.0.1" 0 :datagram) (kqnet/listen :unix path)])
      '(lists "listening")
      '(def handled (ev/chan 10))
      '(def go-on (ev/chan 10))
      '(defn handler [conn]
         (defer (:close conn)
           (lists "in a handler")
           (ev/give handled true)
           (ev/take go-on)))
      '(def server (kqnet/server "127.0.0.1" 0 handler :max-connections 1))
      '(lists "serving")
      '(def port (last (net/localname server)))
      '(def clients (seq [_ :range [0 2]] (net/connect "127.0.0.1" port)))
      '(ev/take handled)
      # A client waits, so a timer runs.
      '(while (zero? (get-in (kqnet/stats server) [:pauses :full])) (ev/sleep 0.001))
      '(lists "full")
      '(ev/give go-on true)
      '(ev/take handled)
      '(ev/give go-on true)
      '(def slow (kqnet/server "127.0.0.1" 0 (fn [conn] conn) :max-accept-rate 0.001))
      '(def kept (seq [_ :range [0 2]] (net/connect "127.0.0.1" (last (net/localname slow)))))
      '(while (zero? (get-in (kqnet/stats slow) [:pauses :rate] 0)) (ev/sleep 0.001))
      '(lists "after the rate")
      '(def [tcp _ unix] listeners)
      '(def one (net/connect "127.0.0.1" (last (net/localname tcp))))
      '(def two (net/connect :unix path))
      '(def conns [(kqnet/accept tcp) (:accept unix)])
      '(lists "accepted")
      '(ev/thread (fn [_] (def l (kqnet/server "127.0.0.1" 0 (fn [conn] conn))) (ev/sleep 0) (lists "in a thread") (:close l)))
      '(each stream [;conns ;listeners ;clients ;kept one two server slow] (:close stream))
      '(lists "closed"))
    ["listening" "in a handler" "serving" "full" "after the rate" "accepted" "closed"]))

(t/test "inherited sockets reach no child once they were taken over"
  (each [variables take] [[{} '(kqnet/from-fd 3)] [{"LISTEN_FDS" "1"} '(first (in (kqnet/activated) "unknown"))]]
    (with [l (net/listen "127.0.0.1" 0)]
      (with [program (t/start (merge {:in l} variables)
                              "sh" "-c" `export LISTEN_PID=$$; exec 3<&0 </dev/null; exec "$0" "$@"`
                              (dyn *executable*) "-e"
                              (t/source [;listing
                                         '(lists "inherited")
                                         ~(def l ,take)
                                         '(lists "taken over")
                                         '(ev/go (fn [] (kqnet/accept-loop l (fn [conn] (lists "in a handler") (:close conn) (:close l)))))]))]
        (t/check (string/has-prefix? "inherited\t" (:line program)) "a list")
        (def client (t/connect l))
        (t/same "" (t/receive client))
        (t/same 0 (:wait program))
        (t/wait-until "the end of its output" |(program :out-ended))
        (def [inherited taken handled] (map |(drop 1 (string/split "\t" $)) (string/split "\n" (string/trim (program :out)))))
        (each [before after during] (map tuple inherited taken handled)
          (t/same (dec (length (string/split " " before))) (length (string/split " " after)) "one descriptor less")
          (t/same after during))))))

# Clients that reset.

(def- writer
  "Forms of a server that writes to each client until writing fails, and prints the error."
  '[(import kqnet)
    (def piece (string/repeat "x" 100000))
    (def how (os/getenv "WAY"))
    (defn handler [conn]
      (defer (:close conn)
        (:read conn 100)
        (def [ok err]
          (protect (forever (case how
                              "write" (:write conn piece)
                              "net/write" (net/write conn piece)
                              "pieces" (repeat 100 (:write conn "x"))))))
        (print (if ok "went on" "failed"))
        (flush)))
    (def path (os/getenv "SOCKET"))
    (def l (if path (kqnet/server :unix path handler) (kqnet/server "127.0.0.1" 0 handler)))
    (print (last (net/localname l)))
    (flush)])

(each kind ["tcp" "unix"]
  (each way ["write" "net/write" "pieces"]
    (t/test (string "a client that resets while it is written to does not kill the server: " way ", " kind)
      (def path (if (= kind "unix") (t/scratch "socket")))
      (with [server (t/start (merge {"WAY" way} (if path {"SOCKET" path} {}))
                             # The signal is handled as after a login shell.
                             "sh" "-c" `trap - PIPE; exec "$0" "$@"`
                             (dyn *executable*) "-e" (t/source writer))]
        (def where (:line server))
        (defn connect [] (if path (net/connect :unix path) (t/connect (scan-number where))))
        (repeat 5
          (def conn (connect))
          (:write conn "go")
          (:read conn 1000)
          # Bytes were not read, so this is a reset.
          (:close conn)
          (t/same "failed" (:line server)))
        # This client has closed one half of the connection, and then all of it.
        (def conn (connect))
        (:write conn "go")
        (net/shutdown conn :w)
        (:read conn 1000)
        (:close conn)
        (t/same "failed" (:line server))
        (t/same nil (server :status)))
      (when path (os/rm path)))))

(t/finish)
