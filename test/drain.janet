###
### Stopping gracefully: which clients are let in, which handlers are waited for, and what a signal does.
###
### The server that gets the signal follows the recipe in the docstring of kqnet/drain.
###

(import ./support :as t)
(import kqnet)

(def- host "127.0.0.1")

(defn- holding
  "A handler that echoes what it was sent, once `gate` gives it a value."
  [gate]
  (fn holding [conn]
    (defer (:close conn)
      (def text (:read conn 100))
      (ev/take gate)
      (:write conn text))))

(defn- clients
  "Clients that have sent their numbers. Each is a channel for the answer."
  [l numbers]
  (seq [i :in numbers]
    (def conn (t/send l (string i)))
    (t/background (fn [] (defer (:close conn) (try (t/receive conn) ([_] :reset)))))))

(defn- results [channels] (map |(last (ev/take $)) channels))

(defn- running
  "Waits until this many handlers are running."
  [l count]
  (t/wait-until (string count " handlers") |(= count (get (kqnet/stats l) :active))))

(defn- refuses?
  "Whether nobody can connect to a port any more."
  [port]
  (not= :nothing (t/raised |(:close (t/connect port)))))

# The queue is made when it is first needed, and stays open.
(:close (kqnet/server host 0 (fn [conn] conn)))

# Which clients are let in.

(t/test "the listener is closed at once and its loop ends, while handlers still run"
  (def gate (ev/chan 10))
  (def l (kqnet/listen host 0))
  (def looped (t/background |(kqnet/accept-loop l (holding gate))))
  (def port (t/port l))
  (def waiting (clients l (range 3)))
  (running l 3)
  (def drained (t/background |(kqnet/drain l)))
  (ev/sleep 0)
  (t/check (refuses? port) "a closed port")
  (t/same [true l] (ev/take looped))
  (t/same 0 (ev/count drained) "drains that have returned")
  (repeat 3 (ev/give gate true))
  (t/same [true 0] (ev/take drained))
  (t/same ["0" "1" "2"] (results waiting)))

(t/test "a unix socket's file is removed at once, while a handler still runs"
  (def path (t/scratch "socket"))
  (def gate (ev/chan 10))
  (def l (kqnet/server :unix path (holding gate)))
  (def waiting (clients l [1]))
  (running l 1)
  (def drained (t/background |(kqnet/drain l)))
  (ev/sleep 0)
  (t/same nil (os/stat path))
  (ev/give gate true)
  (t/same [true 0] (ev/take drained))
  (t/same ["1"] (results waiting)))

(t/test "clients in the backlog are let in before the listener closes"
  (def l (kqnet/listen host 0))
  (def waiting (clients l (range 100)))
  (def drained (ev/chan 1))
  (ev/go (fn []
           (kqnet/accept-loop
             l
             (fn [conn]
               (defer (:close conn)
                 (def text (:read conn 100))
                 # The drain is called by a handler of the first batch, so the others are still waiting.
                 (when (= "0" (string text)) (ev/give drained (kqnet/drain l)))
                 (:write conn text)))
             :batch 3)))
  (t/same (map string (range 100)) (results waiting))
  (t/same 0 (ev/take drained))
  (t/same 100 ((kqnet/stats l) :accepted)))

(t/test "limits hold for clients in the backlog: those beyond them are reset"
  (each [options count] [[[:max-connections 5] 5] [[:max-accept-rate 0.001] 1]]
    (def gate (ev/chan 100))
    (def l (kqnet/listen host 0))
    (def waiting (clients l (range 10)))
    (def looped (t/background |(kqnet/accept-loop l (holding gate) ;options)))
    (running l count)
    (def drained (t/background |(kqnet/drain l)))
    (repeat count (ev/give gate true))
    (t/same [true 0] (ev/take drained))
    (t/same [true l] (ev/take looped))
    (t/same (seq [i :range [0 10]] (if (< i count) (string i) :reset)) (results waiting))
    (t/same count ((kqnet/stats l) :accepted))))

(t/test "a fiber that waits in accept learns that the listener was closed"
  (def l (kqnet/listen host 0))
  (def accepted (t/background |(kqnet/accept l)))
  (ev/sleep 0)
  (t/same 0 (kqnet/drain l))
  (t/same [true nil] (ev/take accepted)))

# Which handlers are waited for.

(t/test "drain returns how many handlers were still running at the deadline, and they go on"
  (def gate (ev/chan 10))
  (def l (kqnet/server host 0 (holding gate)))
  (def waiting (clients l (range 3)))
  (running l 3)
  (t/same 3 (kqnet/drain l 0))
  (t/same 3 (kqnet/drain l 0.03))
  (ev/give gate true)
  (running l 2)
  (t/same 2 (kqnet/drain l 0.03))
  (repeat 2 (ev/give gate true))
  (t/same 0 (kqnet/drain l 3600))
  (t/same 0 (kqnet/drain l))
  (t/same ["0" "1" "2"] (results waiting)))

(t/test "handlers that have not begun yet are waited for"
  (def l (kqnet/listen host 0))
  (def waiting (clients l (range 10)))
  (def counted @[])
  (ev/go (fn []
           (kqnet/accept-loop
             l
             (fn [conn]
               (defer (:close conn)
                 # The first handler runs before any other has begun.
                 (when (empty? counted)
                   (array/push counted (kqnet/drain l 0))
                   (array/push counted (kqnet/drain l)))
                 (:write conn (:read conn 100)))))))
  (t/same (map string (range 10)) (results waiting))
  (t/same [9 0] counted))

(t/test "a handler that drains does not wait for itself, but for the others"
  (def gate (ev/chan 10))
  (def l (kqnet/listen host 0))
  (def counted (ev/chan 2))
  (ev/go (fn []
           (kqnet/accept-loop l
                              (fn [conn]
                                (defer (:close conn)
                                  (def text (string (:read conn 100)))
                                  (if (= "drain" text)
                                    (do
                                      (ev/give counted (kqnet/drain l 0))
                                      # It may also drain from a fiber inside the handler.
                                      (ev/give counted (resume (coro (kqnet/drain l)))))
                                    (ev/take gate))
                                  (:write conn text))))))
  (def other (clients l ["other"]))
  (running l 1)
  (def drainer (clients l ["drain"]))
  (t/same 1 (ev/take counted))
  (ev/give gate true)
  (t/same 0 (ev/take counted))
  (t/same ["other" "drain"] (results [;other ;drainer])))

(t/test "two fibers may drain one listener"
  (def gate (ev/chan 10))
  (def l (kqnet/server host 0 (holding gate)))
  (def waiting (clients l [1]))
  (running l 1)
  (def drains (seq [seconds :in [nil 3600 0.01]] (t/background |(kqnet/drain l seconds))))
  (t/same [true 1] (ev/take (last drains)))
  (ev/give gate true)
  (t/same [[true 0] [true 0]] [(ev/take (drains 0)) (ev/take (drains 1))])
  (t/same ["1"] (results waiting)))

(t/test "handlers that raised an error or were cancelled count as ended"
  (def tasks @[])
  (def l (kqnet/listen host 0))
  (ev/go (fn []
           (kqnet/accept-loop l (fn [conn]
                                  (defer (:close conn)
                                    (array/push tasks (fiber/root))
                                    (:read conn 100)
                                    (error "an error"))))))
  (def speaking (t/connect l))
  (def silent (t/connect l))
  (t/wait-until "two handlers" |(= 2 (length tasks)))
  (def drained (t/background |(kqnet/drain l)))
  (:write speaking "x")
  (t/same "" (t/receive speaking))
  (t/same 0 (ev/count drained))
  (each task tasks (when (fiber/can-resume? task) (ev/cancel task "enough")))
  (t/same [true 0] (ev/take drained))
  (t/same "" (t/receive silent)))

(t/test "many handlers that end at once leave no fiber waiting"
  (def before (t/tasks))
  (def gate (ev/chan 300))
  (def l (kqnet/server host 0 (holding gate)))
  (def waiting (clients l (range 200)))
  (running l 200)
  (t/same 200 (kqnet/drain l 0.01))
  (def drained (t/background |(kqnet/drain l)))
  (ev/sleep 0)
  (repeat 200 (ev/give gate true))
  (t/same [true 0] (ev/take drained))
  (t/same (map string (range 200)) (results waiting))
  (t/settles before t/tasks "fibers"))

(t/test ":cancel ends the handlers that are left, and they can clean up"
  (def cleaned @[])
  (def l (kqnet/listen host 0))
  (ev/go (fn []
           (kqnet/accept-loop l (fn [conn]
                                  (defer (:close conn)
                                    (def number (string (:read conn 100)))
                                    (try (ev/take (ev/chan))
                                      ([err]
                                        (array/push cleaned [number err])
                                        (:write conn "sorry"))))))))
  (def waiting (clients l (range 3)))
  (running l 3)
  (t/same 3 (kqnet/drain l 0.01 :cancel true))
  (t/same ["sorry" "sorry" "sorry"] (results waiting))
  (t/same (seq [i :range [0 3]] [(string i) "the server is draining"]) (sort cleaned))
  (t/same 0 (kqnet/drain l))
  (t/same 0 ((kqnet/stats l) :active)))

(t/test ":cancel also ends handlers that have not begun, but not the one that drains"
  (def l (kqnet/listen host 0))
  (def waiting (clients l (range 5)))
  (def counted (ev/chan 1))
  (ev/go (fn []
           (kqnet/accept-loop l (fn [conn]
                                  (defer (:close conn)
                                    (def count (kqnet/drain l 0 :cancel true))
                                    (:write conn (:read conn 100))
                                    (ev/give counted count))))))
  (t/same 4 (ev/take counted))
  (t/same "0" (last (ev/take (first waiting))))
  (t/settles 0 |((kqnet/stats l) :active) "handlers")
  (each answer (drop 1 waiting)
    (t/wait-until "its end" |(do (gccollect) (pos? (ev/count answer))))))

# Which listeners can be drained.

(t/test "draining a listener that nobody accepts from, and one that is closed"
  (def l (kqnet/listen host 0))
  (def port (t/port l))
  (t/same 0 (kqnet/drain l))
  (t/check (refuses? port) "a closed port")
  (t/same 0 (kqnet/drain l))
  (t/same 0 (kqnet/drain l 1 :cancel true)))

(t/test "draining a listener of core"
  (def gate (ev/chan 1))
  (def l (net/listen host 0))
  (ev/go (fn [] (kqnet/accept-loop l (holding gate))))
  (def waiting (clients l [1]))
  (running l 1)
  (t/same 1 (kqnet/drain l 0))
  (ev/give gate true)
  (t/same 0 (kqnet/drain l))
  (t/same ["1"] (results waiting)))

(t/test "draining a loop that was started by the listener's own method, after an earlier loop"
  (def gate (ev/chan 10))
  (def supervisor (ev/chan 10))
  (def l (kqnet/listen host 0))
  (def first-loop (ev/go (fn [] (:accept-loop l (holding gate))) nil supervisor))
  (def waiting (clients l (range 2)))
  (running l 2)
  (ev/cancel first-loop "enough")
  (ev/take supervisor)
  (ev/go (fn [] (kqnet/accept-loop l (holding gate))))
  (def more (clients l [2]))
  (running l 3)
  (t/same 3 (kqnet/drain l 0))
  (repeat 3 (ev/give gate true))
  (t/same 0 (kqnet/drain l))
  (t/same ["0" "1" "2"] (results [;waiting ;more]))
  (t/same [3 0 3] (map (kqnet/stats l) [:accepted :active :peak])))

(t/test "draining one server leaves the others running"
  (with [other (kqnet/server host 0 (fn [conn] (defer (:close conn) (:write conn (:read conn 100)))))]
    (def l (kqnet/server host 0 (fn [conn] (:close conn))))
    (t/same "" (t/receive (t/connect l)))
    (t/same 0 (kqnet/drain l))
    (t/same "hello\n" (t/ask other))
    (t/same 1 ((kqnet/stats other) :accepted))))

# Wrong arguments.

(t/test "wrong arguments are named, and the listener keeps accepting"
  (with [l (kqnet/server host 0 (fn [conn] (defer (:close conn) (:write conn (:read conn 100)))))]
    (each value [-1 "5" :soon math/nan]
      (t/same (string/format "kqnet/drain: :seconds must be a number of seconds from 0 to 1e9, or math/inf, got %q" value)
              (t/raised |(kqnet/drain l value))))
    (each value [1 "yes" :true]
      (t/same (string/format "kqnet/drain: :cancel must be true or false, got %q" value)
              (t/raised |(kqnet/drain l 1 :cancel value))))
    (t/same "kqnet/drain: unknown option :cancell; the options are :cancel"
            (t/raised |(kqnet/drain l 1 :cancell true)))
    (t/same "kqnet/drain: :cancel needs a value" (t/raised |(kqnet/drain l 1 :cancel)))
    (t/same "hello\n" (t/ask l))))

(t/test "what is not a listener is shown, and left unchanged"
  (each value [nil 5 "listener"]
    (t/same (string/format "expected a core/stream, got %q" value) (t/raised |(kqnet/drain value))))
  (with [l (kqnet/listen host 0)]
    (with [client (t/connect l)]
      (with [conn (kqnet/accept l)]
        (t/same "cannot drain: the stream is not a listener" (t/raised |(kqnet/drain conn)))
        (t/same "cannot drain: the stream is not a listener" (t/raised |(kqnet/drain client)))
        (:write client "ping")
        (t/same "ping" (string (:read conn 10)))))))

# The recipe in the docstring, with a real signal.

(defn- recipe
  "A program that follows the docstring of kqnet/drain, and prints its statistics when it ends."
  [handler & options]
  ~[(import kqnet)
    (def listener (kqnet/server "127.0.0.1" 0 ,handler ,;options))
    (def stop (ev/chan))
    (each signal [:term :int]
      (os/sigaction signal (fn [] (ev/chan-close stop)) true))
    (print (last (net/localname listener)))
    (flush)
    (ev/take stop)
    (def left (kqnet/drain listener 30))
    (printf "%d %d" left ((kqnet/stats listener) :accepted))
    (flush)])

(defn- visits
  "Runs clients one after another until there is no server. Counts whole answers, and collects other outcomes."
  [port seen]
  (var there true)
  (while there
    (match (protect (t/connect port))
      [true conn]
      (match (protect (defer (:close conn) (:write conn "question") (t/receive conn)))
        [true "question, answered"] (put seen :whole (inc (seen :whole)))
        [_ got] (array/push (seen :other) got))
      _ (set there false))))

(each signal [:term :int]
  (t/test (string "the recipe: at SIG" (string/ascii-upper signal) " every accepted client gets a whole answer")
    (with [server (t/start-forms
                    (recipe '(fn [conn]
                               (defer (:close conn)
                                 (def question (:read conn 100))
                                 (ev/sleep 0.005)
                                 (:write conn (string question ", "))
                                 (ev/sleep 0.005)
                                 (:write conn "answered")))))]
      (def port (:port server))
      (def seen @{:whole 0 :other @[]})
      (def end (t/background |(t/together 20 (fn [_] (visits port seen)))))
      (t/wait-until "answers" |(> (seen :whole) 100))
      (:signal server signal)
      (t/same true (first (ev/take end)))
      (def [left accepted] (map scan-number (string/split " " (:line server))))
      (t/same 0 left)
      # A client that came between the last look at the backlog and the closing of the listener was not accepted.
      (t/same accepted (seen :whole) (string/format "whole answers; besides %q" (seen :other)))
      (unless (empty? (seen :other)) (printf "      reset before they were accepted: %d" (length (seen :other))))
      (t/same 0 (:wait server))
      (t/same "" (string (server :err))))))

(t/test "the recipe: a long answer to a slow client is sent completely"
  (def size 5000000)
  (with [server (t/start-forms
                  (recipe ~(fn [conn]
                             (defer (:close conn)
                               (:read conn 100)
                               (:write conn (string/repeat "x" ,size))))))]
    (def port (:port server))
    (with [conn (t/send port "question")]
      (var got (length (:read conn 1000)))
      (:signal server :term)
      (t/wait-until "a closed port" |(refuses? port))
      (while (def part (:read conn 100000)) (+= got (length part)))
      (t/same size got)
      (t/check (string/has-prefix? "0 " (:line server)) "no handler is left")
      (t/same 0 (:wait server)))))

(t/test "the recipe: signals after the first one change nothing"
  (with [server (t/start-forms (recipe '(fn [conn]
                                          (defer (:close conn)
                                            (while (def text (:read conn 100)) (:write conn text))))))]
    (with [conn (t/connect (:port server))]
      (each signal [:term :int :term :int :term]
        (:signal server signal)
        # An answer shows that this signal was taken, so the system does not merge two of them.
        (:write conn "still there?")
        (t/same "still there?" (string (:read conn 100)))))
    (t/same "0 1" (:line server))
    (t/same 0 (:wait server))))

(t/test "the recipe: a server without clients ends at once, not at its deadline"
  (with [server (t/start-forms (recipe '(fn [conn] (:close conn))))]
    (:port server)
    (:signal server :term)
    (t/same "0 0" (:line server))
    (t/same 0 (:wait server))))

(t/finish)
