###
### :max-connections and :max-accept-rate: which clients wait, who comes next, and when a place is free again.
###

(import ./support :as t)
(import kqnet)

(t/need-spork)
(import kqnet/http)

(def- host "127.0.0.1")

(defn- counter
  ``Makes a handler that counts how many of it are running, and waits to be let go. Returns a table with
  :handler, :running, :most, and :gate, a channel that lets one handler go for each value.``
  []
  (def self @{:running 0 :most 0 :gate (ev/chan 1000)})
  (put self :handler
       (fn holding [conn]
         (put self :running (inc (self :running)))
         (put self :most (max (self :most) (self :running)))
         (defer (put self :running (dec (self :running)))
           (defer (:close conn)
             (def text (:read conn 100))
             (ev/take (self :gate))
             (:write conn text)))))
  self)

(defn- let-go [{:gate gate} count] (repeat count (ev/give gate true)))

# A server that answers at once. Its answer shows that the queue had a turn.
(def- other (kqnet/server host 0 (fn [conn] (defer (:close conn) (:write conn (:read conn 100))))))

(defn- turns [] (repeat 5 (t/same "hello\n" (t/ask other))))

(defn- clients
  "Clients that have sent their numbers. Each is a channel for the answer."
  [l numbers]
  (seq [i :in numbers]
    (def conn (t/send l (string i)))
    (t/background (fn [] (defer (:close conn) (t/receive conn))))))

(defn- waits-full
  "Waits until this many handlers are running and the listener is full."
  [l held count]
  (t/wait-until "a full listener" |(and (= count (held :running)) (pos? (get-in (kqnet/stats l) [:pauses :full])))))

# :max-connections.

(def- loops
  "Ways to accept with a limit."
  {"server" (fn [handler & options] (kqnet/server host 0 handler ;options))
   "accept-loop" (fn [handler & options]
                   (def l (kqnet/listen host 0))
                   (ev/go (fn [] (kqnet/accept-loop l handler ;options)))
                   l)})

(eachp [name start] loops
  (t/test (string name ": at :max-connections clients wait, and each handler that ends lets one in")
    (def held (counter))
    (with [l (start (held :handler) :max-connections 3)]
      (def waiting (clients l (range 10)))
      (waits-full l held 3)
      (turns)
      (def {:accepted accepted :active active} (kqnet/stats l))
      (t/same [3 3 3] [(held :running) accepted active])
      (for i 0 7
        (let-go held 1)
        (t/wait-until "the next one" |(= (+ 4 i) ((kqnet/stats l) :accepted)))
        (turns)
        (t/same (+ 4 i) ((kqnet/stats l) :accepted)))
      (let-go held 3)
      (t/same (seq [i :range [0 10]] [true (string i)]) (map ev/take waiting))
      (t/same 3 (held :most))
      (t/wait-until "no handler" |(zero? (held :running)))
      (def {:accepted accepted :active active :peak peak} (kqnet/stats l))
      (t/same [10 0 3] [accepted active peak]))))

(t/test "http/server: at :max-connections clients wait"
  (def gate (ev/chan 100))
  (var running 0)
  (var most 0)
  (defn handler [req]
    (++ running)
    (set most (max most running))
    (ev/take gate)
    (-- running)
    {:status 200 :body "done"})
  (with [l (http/server handler host 0 :max-connections 2)]
    (def answers
      (seq [_ :range [0 6]]
        (t/background |(t/ask l "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))))
    (t/wait-until "a full listener" |(and (= 2 running) (pos? (get-in (kqnet/stats l) [:pauses :full]))))
    (turns)
    (t/same 2 ((kqnet/stats l) :accepted))
    (repeat 6 (ev/give gate true))
    (each answer answers
      (def [ok text] (ev/take answer))
      (t/check (and ok (string/has-suffix? "done" text)) "an answer"))
    (t/same 2 most)))

(t/test "with a limit of one connection, clients are served in order"
  (def order @[])
  (with [l (kqnet/listen host 0)]
    (def waiting (clients l (range 20)))
    (ev/go (fn [] (kqnet/accept-loop l (fn [conn]
                                         (defer (:close conn)
                                           (array/push order (string (:read conn 10)))))
                                     :max-connections 1)))
    (each answer waiting (ev/take answer))
    (t/same (map string (range 20)) order)
    (t/same 1 ((kqnet/stats l) :peak))))

(t/test "at its limit a process uses no processor time while clients wait"
  (with [server (t/start-janet (t/program "holding") "server" ":max-connections" "2")]
    (def port (:port server))
    (with [control (t/connect port)]
      (defn statistics []
        (:write control "statistics\n")
        (parse (:read control 4096)))
      (statistics)
      (def held (seq [_ :range [0 20]] (t/send port "hold\n")))
      (t/wait-until "a full listener" |(= 1 (get-in (statistics) [:stats :pauses :full])))
      (def before (statistics))
      (ev/sleep 1)
      (def after (statistics))
      (def share (/ (- (after :cpu) (before :cpu)) (- (after :clock) (before :clock))))
      (print (string/format "      %.2f %% of a processor" (* 100 share)))
      # A sanitizer or an emulator multiplies it.
      (t/check (< share (if t/slow? 0.1 0.02)) "an idle process")
      (t/same 2 (get-in after [:stats :accepted]))
      (each conn held (:close conn)))))

# When a place is free again.

(def- endings
  "The ways in which a handler can end. Each gets the connection and its own task."
  {"returns" (fn [conn _] (:close conn))
   "returns, and keeps its connection" (fn [conn _] (ev/go (fn [] (ev/sleep 0) (:close conn))) nil)
   "raises an error" (fn [conn _] (:close conn) (error "an error"))
   "raises an error without closing its connection" (fn [_ _] (error "an error"))
   "raises an error in its defer" (fn [conn _] (defer (error "another") (:close conn) (error "an error")))
   "sends a signal" (fn [conn _] (:close conn) (signal 0 "a signal"))
   "is cancelled while it waits" (fn [conn task]
                                   (ev/go (fn [] (ev/cancel task "enough")))
                                   (defer (:close conn) (ev/take (ev/chan))))
   "is cancelled while it reads" (fn [conn task]
                                   (ev/go (fn [] (ev/cancel task "enough")))
                                   (defer (:close conn) (:read conn 100)))
   "is cancelled twice" (fn [conn task]
                          (ev/go (fn [] (ev/cancel task "enough") (ev/cancel task "more than enough")))
                          (defer (:close conn) (ev/take (ev/chan))))
   "is cancelled, and goes on" (fn [conn task]
                                 (ev/go (fn [] (ev/cancel task "enough")))
                                 (protect (ev/take (ev/chan)))
                                 (ev/sleep 0)
                                 (:close conn))
   "runs into a deadline" (fn [conn _] (defer (:close conn) (ev/with-deadline 0.001 (ev/take (ev/chan)))))
   "has its connection closed elsewhere" (fn [conn _] (ev/go (fn [] (:close conn))) (:read conn 100))
   "closes its connection several times" (fn [conn _] (repeat 3 (:close conn)) (ev/close conn))
   "raises an error in its own inner fiber" (fn [conn _] (resume (coro (:close conn) (ev/sleep 0) (error "an error"))))})

(eachp [name ending] endings
  (t/test (string "a handler that " name " frees its place exactly once")
    (def held (counter))
    (with [l (kqnet/listen host 0)]
      (defn handler [conn]
        # The first handler stays; the next ones end in the given way.
        (case (held :kind)
          :end (do (:read conn 100) (ending conn (fiber/root)))
          ((held :handler) conn)))
      (ev/go (fn [] (kqnet/accept-loop l handler :max-connections 2)))
      (def long (clients l ["long"]))
      (t/wait-until "a handler that stays" |(= 1 (held :running)))
      (put held :kind :end)
      # All want one place at once. Asking for statistics would look for free places, so nobody asks.
      (def ended (ev/chan 20))
      (repeat 12
        (ev/go (fn []
                 (def conn (t/send l "end"))
                 # If nothing closes a connection, it is closed when it is collected.
                 (ev/give ended (protect (t/receive conn)))
                 (:close conn))))
      (repeat 12
        (var answer nil)
        (t/wait-until "the end of a connection"
                      (fn []
                        (gccollect)
                        (when (pos? (ev/count ended)) (set answer (ev/take ended)))))
        answer)
      (put held :kind nil)
      (def short (clients l (range 4)))
      # There are neither too few places nor too many.
      (t/wait-until "the other place in use" |(= 2 (held :running)))
      (turns)
      (t/same 2 (held :running))
      (t/same [2 2] [((kqnet/stats l) :active) ((kqnet/stats l) :peak)])
      (let-go held 5)
      (t/same (seq [i :range [0 4]] [true (string i)]) (map ev/take short))
      (t/same [true "long"] (ev/take (first long)))
      (t/settles 0 |((kqnet/stats l) :active) "places in use")
      (t/same 17 ((kqnet/stats l) :accepted)))))

(t/test "a handler that is cancelled before it begins frees its place"
  (with [l (kqnet/listen host 0)]
    (def waiting (clients l (range 3)))
    (def begun @[])
    (ev/go (fn []
             (kqnet/accept-loop l
                                (fn [conn]
                                  (array/push begun (fiber/root))
                                  (when (= 1 (length begun))
                                    (each task (ev/all-tasks)
                                      (when (= :new (fiber/status task)) (ev/cancel task "enough"))))
                                  (:close conn)))))
    (t/wait-until "three connections" |(= 3 (get (kqnet/stats l) :accepted)))
    (t/settles 0 |((kqnet/stats l) :active) "places in use")
    (t/same 1 (length begun))
    (each answer waiting
      (t/wait-until "its end" |(do (gccollect) (pos? (ev/count answer)))))))

(t/test "a handler that nothing will wake stays active, whatever is collected"
  (def ways [|(yield $) (fn [_] (ev/take (ev/chan))) (fn [_] (ev/take (ev/chan)))])
  (with [l (kqnet/server host 0 (fn [conn] (:close conn) ((ways (% (length (ev/all-tasks)) 3)) conn)))]
    (repeat 9 (t/same "" (t/receive (t/connect l))))
    (repeat 3
      (gccollect)
      (seq [i :range [0 300]] (coro i)))
    (t/same 9 ((kqnet/stats l) :active))
    (t/same 9 (kqnet/drain l 0 :cancel true))
    (t/settles 0 |((kqnet/stats l) :active) "handlers")))

# Limits and listeners.

(t/test "a full listener does not affect others"
  (def held (counter))
  (with [l (kqnet/server host 0 (held :handler) :max-connections 1)]
    (def waiting (clients l (range 5)))
    (waits-full l held 1)
    (t/same (map string (range 50)) (t/together 50 |(t/ask other (string $))))
    (let-go held 5)
    (each answer waiting (ev/take answer))))

(t/test "when a full listener is closed, its loop ends, and running handlers go on"
  (def held (counter))
  (def l (kqnet/listen host 0))
  (def result (t/background |(kqnet/accept-loop l (held :handler) :max-connections 1)))
  (def waiting (clients l (range 3)))
  (waits-full l held 1)
  (:close l)
  (t/same [true l] (ev/take result))
  (let-go held 1)
  (t/same [true "0"] (ev/take (first waiting)))
  (t/same [false false] (map |(first (ev/take $)) (drop 1 waiting)) "those that waited are reset"))

(t/test "after a loop was cancelled at its limit, the next loop's own limit holds at once"
  (def held (counter))
  (def supervisor (ev/chan 10))
  (with [l (kqnet/listen host 0)]
    (def waiting (clients l (range 4)))
    (def first-loop (ev/go (fn [] (kqnet/accept-loop l (held :handler) :max-connections 1)) nil supervisor))
    (waits-full l held 1)
    (ev/cancel first-loop "enough")
    (ev/take supervisor)
    (ev/go (fn [] (kqnet/accept-loop l (held :handler) :max-connections 3)))
    (t/wait-until "the next loop's handlers" |(= 3 (held :running)))
    (turns)
    (t/same 3 (held :running))
    (let-go held 4)
    (t/same (seq [i :range [0 4]] [true (string i)]) (map ev/take waiting))))

(t/test "after a loop was cancelled at its limit, accept has no limit"
  (def held (counter))
  (def supervisor (ev/chan 10))
  (with [l (kqnet/listen host 0)]
    (def waiting (clients l (range 3)))
    (def full (ev/go (fn [] (kqnet/accept-loop l (held :handler) :max-connections 1)) nil supervisor))
    (waits-full l held 1)
    (ev/cancel full "enough")
    (ev/take supervisor)
    (with [conn (kqnet/accept l)]
      (:read conn 100)
      (:write conn "by accept"))
    (t/same [true "by accept"] (ev/take (waiting 1)))
    (let-go held 1)
    (ev/take (first waiting))))

# :max-accept-rate.

(defn- comes-evenly
  "Fails if connections came faster than the server's rate at any time since the first client."
  [rate serve count]
  (def times @[])
  (with [l (serve (fn [conn]
                    (array/push times (os/clock :monotonic))
                    (:close conn)))]
    (def start (os/clock :monotonic))
    (t/together count (fn [_] (t/receive (t/connect l))))
    (t/same count (length times))
    (eachp [i time] times
      # The server may be 10 ms early, and the clocks differ a little.
      (def soonest (+ start (/ i rate) -0.012))
      (t/check (>= time soonest) (string "connection " i " not before " (- soonest start) " s")))
    (def {:pauses pauses :peak peak} (kqnet/stats l))
    (t/check (pos? (pauses :rate)) "pauses for the rate")
    (t/same [0 0] [(pauses :full) (pauses :error)])))

# Few enough clients that all of them have room in a backlog of 128, as on macOS.
(each [rate count] [[20 8] [100 40] [1000 100] [7.5 4]]
  (t/test (string "no more than " rate " connections per second, at any time")
    (comes-evenly rate |(kqnet/server host 0 $ :max-accept-rate rate) count)))

(t/test "both limits hold at once"
  (comes-evenly 50 |(kqnet/server host 0 $ :max-accept-rate 50 :max-connections 100) 15)
  (def held (counter))
  (with [l (kqnet/server host 0 (held :handler) :max-accept-rate 500 :max-connections 2)]
    (def waiting (clients l (range 6)))
    (waits-full l held 2)
    (let-go held 6)
    (t/same (seq [i :range [0 6]] [true (string i)]) (map ev/take waiting))
    (t/same 2 (held :most))))

(t/test "a rate limit does not affect other listeners"
  (with [slow (kqnet/server host 0 (fn [conn] (:close conn)) :max-accept-rate 0.01)]
    (t/same "" (t/receive (t/connect slow)))
    (with [waiting (t/connect slow)]
      (t/wait-until "a pause" |(pos? (get-in (kqnet/stats slow) [:pauses :rate])))
      (t/same (map string (range 50)) (t/together 50 |(t/ask other (string $))))
      (t/same 1 ((kqnet/stats slow) :accepted)))))

(t/test "a rate may be so low that it means once, or so high that it means no limit"
  (with [l (kqnet/server host 0 (fn [conn] (:close conn)) :max-accept-rate 1e-300)]
    (t/same "" (t/receive (t/connect l)))
    (with [waiting (t/connect l)]
      (t/wait-until "a pause" |(pos? (get-in (kqnet/stats l) [:pauses :rate])))
      (turns)
      (t/same 1 ((kqnet/stats l) :accepted))))
  (with [l (kqnet/server host 0 (fn [conn] (:close conn)) :max-accept-rate 1e300)]
    (t/same 100 (length (t/together 100 (fn [_] (t/receive (t/connect l))))))))

(t/test "after a loop was cancelled in a pause for its rate, the next loop's own rate holds at once"
  (def supervisor (ev/chan 10))
  (with [l (kqnet/listen host 0)]
    (def slow (ev/go (fn [] (kqnet/accept-loop l (fn [conn] (:close conn)) :max-accept-rate 0.001)) nil supervisor))
    (t/same "" (t/receive (t/connect l)))
    (def next-client (t/background |(t/receive (t/connect l))))
    (t/wait-until "a pause" |(pos? (get-in (kqnet/stats l) [:pauses :rate])))
    (ev/cancel slow "enough")
    (t/wait-until "its end" |(find |(= :error (first $)) [(ev/take supervisor)]))
    (ev/go (fn [] (kqnet/accept-loop l (fn [conn] (:close conn)) :max-accept-rate 1000)))
    (t/same [true ""] (ev/take next-client))))

# Wrong arguments.

(t/test "the error for a wrong limit names it with its value, and nothing is opened"
  (def wrong
    {:max-connections ["a positive integer" 0 -1 1.5 "5" :many 1e10 math/inf math/nan true]
     :max-accept-rate ["a positive number" 0 -0.5 "5" :fast math/inf math/nan true]
     :on-error ["a function" 5 "print" print :call]})
  (def handler (fn [conn] (:close conn)))
  (with [l (kqnet/listen host 0)]
    (gccollect)
    (def before (t/descriptors))
    (eachp [name [words & values]] wrong
      (each value values
        (defn expected [who] (string/format "%s: %q must be %s, got %q" who name words value))
        (t/same (expected "kqnet/server") (t/raised |(kqnet/server host 0 handler name value)))
        (t/same (expected "kqnet/accept-loop") (t/raised |(kqnet/accept-loop l handler name value)))
        (t/same (expected "kqnet/http/server") (t/raised |(http/server handler host 0 name value)))
        (t/same before (t/descriptors) "descriptors")))))

(:close other)
(t/finish)
