###
### Servers that run out of descriptors go on without losing a client.
###
### The process uses no processor time, one warning is printed, and accepting goes on by itself.
###

(import ./support :as t)
(import kqnet)

(def- back-off "Seconds between two attempts." 0.03)
(def- few "A limit of descriptors." 40)
(def- many "So many clients, where this process may have as many descriptors." (min 300 (- (t/descriptor-limit) 50)))

(def- idle
  "The share of a processor that a process with a shortage may use. A sanitizer or an emulator multiplies it."
  (if t/slow? 0.1 0.02))

(defn- start
  "Starts test/support/holding.janet with few descriptors."
  [limit & words]
  (t/start-limited limit (t/program "holding") ;words))

(defn- control
  "A connection through which to ask a server, made before its descriptors run out."
  [port]
  (def conn (t/connect port))
  (fn [line]
    (:write conn (string line "\n"))
    (def answer @"")
    (while (not (string/has-suffix? "\n" answer))
      (t/check (:read conn 4096 answer) "an answer to the test"))
    (parse answer)))

(defn- holders
  "Clients that stay connected: each is a table whose :answer comes once it was accepted."
  [port count]
  (seq [_ :range [0 count]]
    (def holder @{:conn (t/send port "hold\n")})
    (ev/go (fn [] (put holder :answer (string (try (:read (holder :conn) 100) ([err] err))))))
    holder))

(defn- answered [clients] (filter |(= "held\n" ($ :answer)) clients))

(defn- release [clients] (each client clients (:close (client :conn))))

(defn- hold-on
  "A client that stays for a while. Returns its answer."
  [address]
  (def conn (if (number? address) (t/connect address) (net/connect :unix address)))
  (with [conn conn]
    (:write conn "hold\n")
    (def answer (string (:read conn 100)))
    (ev/sleep 0.02)
    answer))

(defn- all-held
  "Fails unless all of these clients, which come at once and stay for a while, are answered."
  [address count]
  (t/same {"held\n" count}
          (table/to-struct (frequencies (t/together count (fn [_] (hold-on address)))))
          "answers"))

(defn- warnings
  [server]
  (string/find-all "pauses: " (server :err)))

(defn- starved
  "Waits until a server is out of descriptors. Returns its statistics."
  [ask]
  (t/wait-until "a server without descriptors"
                (fn []
                  (def statistics (ask "statistics"))
                  (if (pos? (get-in statistics [:stats :errors :EMFILE] 0)) statistics))))

(each way ["server" "accept-loop" "accept"]
  (t/test (string way ": " many " clients that stay connected are all answered with 40 descriptors")
    (with [server (start few way)]
      (def port (:port server))
      (def ask (control port))
      (all-held port many)
      (def {:stats stats} (ask "statistics"))
      (def {:accepted accepted :errors errors :pauses pauses :paused paused :peak peak} stats)
      (t/same (inc many) accepted)
      (t/same [:EMFILE] (keys errors) "what the shortage was")
      (t/same (errors :EMFILE) (pauses :error) "pauses, one for each failure")
      # By another clock, a timer may be a little early.
      (t/check (>= (paused :error) (* 0.95 back-off (pauses :error))) "a pause after each failure")
      (unless (= way "accept")
        (t/check (< 1 peak few) "a peak below the limit of descriptors"))
      (t/same 1 (length (warnings server)) "warnings")
      (t/same (string "kqnet: accepting on 127.0.0.1:" port " pauses: too many open files\n")
              (string (server :err)))
      (t/same nil (server :status)))))

# If a listener's backlog is full, a unix socket refuses the next client. On macOS it holds 128.
(def- many-local (min many 100))

(t/test (string "a unix socket's " many-local " clients that stay connected are all answered with 40 descriptors")
  (def path (t/scratch "socket"))
  (with [server (start few "server" ":unix" (string/format "%j" path))]
    (t/same path (:line server))
    (all-held path many-local)
    (t/same 1 (length (warnings server)) "warnings")
    (:signal server :term)
    (:wait server))
  (os/rm path))

(each way ["server" "accept"]
  (t/test (string way ": during a shortage the process is idle, and it goes on by itself when descriptors are free")
    (with [server (start few way)]
      (def port (:port server))
      (def ask (control port))
      (def clients (holders port 60))
      (def before (starved ask))
      (ev/sleep 1)
      (def after (ask "statistics"))
      (def seconds (- (after :clock) (before :clock)))
      (def share (/ (- (after :cpu) (before :cpu)) seconds))
      (def attempts (- (get-in after [:stats :errors :EMFILE]) (get-in before [:stats :errors :EMFILE])))
      (print "      " (string/format "%.2f %% of a processor, %.1f attempts in a second"
                                     (* 100 share) (/ attempts seconds)))
      (t/check (< share idle) "an idle process")
      (t/check (<= 1 attempts (inc (/ seconds (* 0.95 back-off)))) "one attempt for each pause")
      # No new client arrives: only those that wait are accepted.
      (def first-ones (answered clients))
      (t/check (< 0 (length first-ones) few) "clients with a descriptor")
      (def later (filter |(not (has-value? first-ones $)) clients))
      (release first-ones)
      (t/wait-until "answers for those who waited"
                    (fn []
                      # These, too, are more than there are descriptors.
                      (def held (answered later))
                      (release held)
                      (= (length held) (length later))))
      (t/same 61 (get-in (ask "statistics") [:stats :accepted]))
      (t/same 1 (length (warnings server)) "warnings"))))

(t/test ":on-error is called once per episode, with the listener and the message"
  (with [server (start few "server" ":on-error" "note")]
    (def port (:port server))
    (def ask (control port))
    (def call [true (string "accepting on 127.0.0.1:" port " pauses: too many open files")])
    (all-held port many)
    (def {:calls calls :clock ended} (ask "statistics"))
    (t/same [call] calls "one episode")
    # An episode is over when there was no shortage for a second.
    (t/wait-until "a quiet second" |(> ((ask "statistics") :clock) (+ ended 1.1)))
    (t/same [call] ((ask "statistics") :calls))
    (all-held port many)
    (t/same [call call] ((ask "statistics") :calls) "two episodes")
    (t/same "" (string (server :err)))))

(t/test "with few free descriptors below many used ones, no client is lost"
  # On systems where accepting without a free descriptor kills a connection, low numbers must not be taken for room.
  (with [server (start 128 "server")]
    (def port (:port server))
    (def ask (control port))
    (t/same 'filled (ask "fill"))
    (def clients (holders port 8))
    (starved ask)
    (t/wait-until "two answers" |(= 2 (length (answered clients))))
    (t/same 'freed (ask "free"))
    (t/wait-until "all answers" |(= 8 (length (answered clients))))
    (release clients)))

(t/test "while another thread opens and closes files, no client is lost"
  (each limit [64 200]
    (with [server (t/start-limited
                    limit "-e"
                    (t/source
                      '[(import kqnet)
                        (defn come-and-go [_]
                          (forever
                            (def files (seq [_ :range [0 8] :let [file (file/open "/dev/null")] :when file] file))
                            (each file files (:close file))))
                        (ev/thread come-and-go nil :n)
                        (def listener
                          (kqnet/server "127.0.0.1" 0 (fn [conn]
                                                        (defer (:close conn)
                                                          (:write conn "held\n")
                                                          (while (:read conn 100))))))
                        (print (last (net/localname listener)))
                        (flush)]))]
      (all-held (:port server) many))))

(t/test "a limit of connections below the limit of descriptors prevents a shortage"
  (with [server (start few "server" ":max-connections" "10")]
    (def port (:port server))
    (def ask (control port))
    (all-held port many)
    (def {:stats {:errors errors :peak peak}} (ask "statistics"))
    (t/same {} errors)
    (t/same 10 peak)
    (t/same "" (string (server :err)))))

(t/test "a server that cannot open its queue is an error, and leaves no listener behind"
  (with [program (t/start-limited
                   few "-e"
                   (t/source
                     '[(import kqnet)
                       (defn start []
                         (kqnet/server "127.0.0.1" 0 (fn [conn] (defer (:close conn) (:write conn "hello")))))
                       (def files @[])
                       (while (def [ok file] (protect (os/open "/dev/null" :r)))
                         (if ok (array/push files file) (break)))
                       (:close (array/pop files))
                       (def [ok why] (protect (start)))
                       (print (if ok "a listener" why))
                       (each file files (:close file))
                       (def listener (start))
                       (with [conn (net/connect ;(net/localname listener))]
                         (print (:read conn 100)))
                       (:close listener)]))]
    (def why (:line program))
    (t/check (string/has-suffix? "too many open files" why) (string "an error, not " why))
    (t/same "hello" (:line program) "what it answers when descriptors are free")
    (t/same 0 (:wait program))
    (t/same "" (string (program :err)))))

# What the emulation does to a server that does not know its room.

(t/test "the emulated macOS kills a connection that is accepted without a free descriptor"
  (unless (and (= "xnu" (os/getenv "KQUEUE_EMU_KERNEL")) (= :kqueue (kqnet/backend)))
    (t/skip "only macOS does this"))
  (with [server (t/start-limited
                  few "-e"
                  (t/source
                    '[(def l (net/listen "127.0.0.1" 0))
                      (print (last (net/localname l)))
                      (flush)
                      (def files @[])
                      (while (def [ok file] (protect (os/open "/dev/null" :r)))
                        (if ok (array/push files file) (break)))
                      (protect (net/accept l))
                      (ev/sleep 60)]))]
    (def port (:port server))
    (with [conn (t/connect port)]
      (t/same "" (try (t/receive conn) ([_] "")) "what a killed connection gives"))))

# Other shortages, simulated by strace.

(def- strace
  "Whether strace can make a system call of a Janet process fail."
  (and t/linux?
       (= :epoll (kqnet/backend))
       (zero? (os/execute ["sh" "-c" "command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null"] :p))))

(each [name message] [["ENFILE" "too many open files in system"]
                      ["ENOBUFS" "no buffer space available"]
                      ["ENOMEM" "cannot allocate memory"]]
  (t/test (string name ": accepting pauses, reports it once, and goes on")
    (unless strace (t/skip "this needs strace, and accept4"))
    (with [server (t/start "strace" "-f" "-o" "/dev/null" "-e" "trace=accept4"
                           "-e" (string "inject=accept4:error=" name ":when=3..7")
                           (dyn *executable*) (t/program "holding") "server")]
      (def port (:port server))
      (def ask (control port))
      (all-held port 20)
      (def {:stats {:errors errors :pauses pauses}} (ask "statistics"))
      (t/same {(keyword name) 5} errors)
      (t/same 5 (pauses :error))
      (t/same (string "kqnet: accepting on 127.0.0.1:" port " pauses: " message "\n") (string (server :err))))))

(t/finish)
