###
### Handlers that misbehave, listeners that are closed at the wrong moment, and several servers and threads.
###
### Also what interrupts accepting, and when a process ends.
###

(import ./support :as t)
(import kqnet)

(def- host "127.0.0.1")

(defn- answer-with
  "A handler that answers with a text."
  [text]
  (fn [conn]
    (defer (:close conn)
      (:read conn 1024)
      (:write conn text))))

(defn- clients
  "Connections to a listener that have sent their numbers, and wait for an answer."
  [l count]
  (seq [i :range [0 count]] (t/send l (string i))))

(defn- answers
  "Reads what each connection gets, and closes it: :reset if the other side reset it."
  [conns]
  (seq [conn :in conns]
    (defer (:close conn)
      (try (t/receive conn)
        ([err fib] (if (= err "deadline expired") (propagate err fib) :reset))))))

(defn- descriptor
  "The number of a stream's descriptor."
  [stream]
  (first (peg/match '(* (thru "fd=") (number :d+)) (describe stream))))

# The queue is made when it is first needed, and stays open.
(with [l (kqnet/server host 0 t/echo)]
  (t/ask l))

# Handlers.

(t/test "when a handler raises, its trace is on stderr, and the loop goes on"
  (with [server (t/start-forms
                  '[(import kqnet)
                    (defn handler [conn]
                      (defer (:close conn)
                        (def text (string (:read conn 100)))
                        (if (= text "bad") (error "no good"))
                        (:write conn text)))
                    (def l (kqnet/server "127.0.0.1" 0 handler))
                    (print (last (net/localname l)))
                    (flush)])]
    (def port (:port server))
    (repeat 3
      (t/same "" (t/ask port "bad"))
      (t/same "good" (t/ask port "good")))
    (t/wait-until "three traces" |(= 3 (length (string/find-all "error: no good" (server :err)))))
    (t/check (string/find "in handler" (server :err)) "the name of the handler in the trace")
    (t/same nil (server :status))))

(t/test "when a handler raises without closing its connection, the collector closes it"
  (def before (t/descriptors))
  (with [l (kqnet/server host 0 (fn [conn] (error "meant to be printed")))]
    (def conn (t/send l "hello"))
    (def got (t/background |(t/receive conn)))
    (t/wait-until "the end of the connection" |(do (gccollect) (pos? (ev/count got))))
    (:close conn))
  (t/settles before t/descriptors "descriptors"))

(t/test "a handler may close its connection several times"
  (with [l (kqnet/server host 0 (fn [conn] (t/echo conn) (:close conn) (ev/close conn)))]
    (repeat 3 (t/same "hello\n" (t/ask l)))))

(t/test "a connection that is kept somewhere outlives its handler"
  (def kept @[])
  (with [l (kqnet/server host 0 |(array/push kept $))]
    (with [client (t/send l "one")]
      (t/wait-until "a connection" |(= 1 (length kept)))
      (gccollect)
      (t/same "one" (string (:read (first kept) 10)))
      (:write (first kept) "two")
      (:close l)
      (gccollect)
      (:write (first kept) "three")
      (t/same "twothree" (string (:chunk client 8)))
      (:close (first kept)))))

(t/test "handlers may collect garbage, and produce much of it"
  (with [l (kqnet/server host 0
                         (fn [conn]
                           (gccollect)
                           (def text (string (:read conn 100)))
                           (def garbage (seq [i :range [0 500]] @{:text (string text i) :next @[i]}))
                           (gccollect)
                           (:write conn text)
                           (gccollect)
                           (:close conn)))]
    (t/same (map string (range 200))
            (t/together 200 |(do (gccollect) (t/ask l (string $)))))))

(t/test "a handler that nothing else refers to is not collected"
  (def l (kqnet/listen host 0))
  (t/background |(kqnet/accept-loop l (let [secret @{:text "kept"}] (fn [conn] ((answer-with (secret :text)) conn)))))
  (repeat 20
    (seq [i :range [0 200]] @{i (string i)})
    (gccollect)
    (t/same "kept" (t/ask l)))
  (:close l))

(t/test "a handler that is cancelled ends, and the loop goes on"
  (def running @[])
  (with [l (kqnet/server host 0
                         (fn [conn]
                           (array/push running (fiber/root))
                           (t/echo conn)))]
    (with [silent (t/connect l)]
      (t/wait-until "a handler" |(= 1 (length running)))
      (ev/cancel (first running) "meant to be printed")
      (t/same "" (t/receive silent)))
    (t/same "hello\n" (t/ask l))))

(t/test "a handler may start a server of its own"
  (with [l (kqnet/server host 0
                         (fn [conn]
                           (defer (:close conn)
                             (with [inner (kqnet/server host 0 t/echo)]
                               (:write conn (t/ask inner (:read conn 100)))))))]
    (t/same (map string (range 20)) (t/together 20 |(t/ask l (string $))))))

# Listeners that are closed.

(t/test "when a handler closes the listener, the loop ends, and the handler goes on"
  (def l (kqnet/listen host 0))
  (def result (t/background |(kqnet/accept-loop l (fn [conn] (:close l) (t/echo conn)))))
  (t/same "hello\n" (t/ask l))
  (t/same [true l] (ev/take result)))

(t/test "when a listener is closed during a batch, the accepted clients are answered"
  (each close [|(:close $) ev/close net/close]
    (def l (kqnet/listen host 0))
    (def waiting (clients l 10))
    (def result (t/background |(kqnet/accept-loop l (fn [conn] (close l) (t/echo conn)))))
    (t/same (map string (range 10)) (answers waiting))
    (t/same [true l] (ev/take result))))

(t/test "when a listener is closed before all waiting clients were accepted, the others are reset"
  (def l (kqnet/listen host 0))
  (def waiting (clients l 10))
  (t/background |(kqnet/accept-loop l (fn [conn] (:close l) (t/echo conn)) :batch 4))
  (t/same [;(map string (range 4)) ;(seq [_ :range [4 10]] :reset)] (answers waiting)))

(t/test "when another fiber closes a listener, the loop ends"
  (each close [|(:close $) ev/close net/close]
    (def l (kqnet/listen host 0))
    (def result (t/background |(kqnet/accept-loop l t/echo)))
    (t/same "hello\n" (t/ask l))
    (close l)
    (t/same [true l] (ev/take result))))

(t/test "a listener may be closed while clients wait and nobody accepts"
  (def before [(t/descriptors) (t/tasks)])
  (def l (kqnet/listen host 0))
  # The queue knows the listener, and it is armed.
  (t/same "timeout" (t/raised |(kqnet/accept l 0.001)))
  (def waiting (clients l 3))
  (:close l)
  (t/same [:reset :reset :reset] (answers waiting))
  (ev/sleep 0)
  (t/settles before |[(t/descriptors) (t/tasks)] "descriptors and fibers"))

(t/test "a listener may be closed right after it was made, or before its loop begins"
  (def before [(t/descriptors) (t/tasks)])
  (:close (kqnet/listen host 0))
  (:close (kqnet/server host 0 t/echo))
  (ev/sleep 0)
  (t/settles before |[(t/descriptors) (t/tasks)] "descriptors and fibers"))

(t/test "a new listener with a reused descriptor number gets its own connections"
  (def numbers @{})
  (for i 0 50
    # The old listener was armed while nobody waited for it, with and without a client, and is closed.
    (def old (kqnet/listen host 0))
    (t/raised |(kqnet/accept old 0))
    (put numbers (descriptor old) true)
    (def lost (if (even? i) (clients old 1) []))
    (:close old)
    (def new (kqnet/server host 0 (answer-with (string "new " i))))
    (put numbers (descriptor new) true)
    (t/same (string "new " i) (t/ask new))
    (:close new)
    (each conn lost (:close conn)))
  (t/check (< (length numbers) 10) "numbers that are used again"))

(defn- client-meanwhile
  ``Has a client connect in a thread and send a text, while this thread does nothing else: its loop
  has not yet seen the listener's event. Returns a thread channel that gets the answer.``
  [l text]
  (def connected (t/scratch "connected"))
  (def answer (ev/thread-chan 1))
  (ev/thread (fn [[port text connected]]
               (with [conn (net/connect "127.0.0.1" (string port))]
                 (:write conn text)
                 (spit connected "")
                 (ev/give answer (try (string (:read conn :all)) ([_] :reset)))))
             [(t/port l) text connected] :n)
  (while (not (os/stat connected)))
  (os/rm connected)
  answer)

(t/test "a reused descriptor number does not get an event that was meant for the old listener"
  (for i 0 10
    (def old (kqnet/listen host 0))
    (def number (descriptor old))
    (def result (t/background |(kqnet/accept old)))
    (ev/sleep 0)
    (def lost (client-meanwhile old "lost"))
    (:close old)
    (def new (kqnet/listen host 0))
    (t/same number (descriptor new) "the number")
    (def served (t/background |(kqnet/accept-loop new (answer-with (string i)))))
    (t/same (string i) (t/ask new))
    (:close new)
    (t/same [true nil] (ev/take result))
    (t/same [true new] (ev/take served))
    (t/same :reset (ev/take lost))))

(t/test "a listener that nothing refers to is collected and closed, though it was armed"
  # What earlier tests have left must not be counted.
  (gccollect)
  (ev/sleep 0)
  (gccollect)
  (def before (t/descriptors))
  (repeat 20
    (ev/take (t/background |(t/raised (fn [] (kqnet/accept (kqnet/listen host 0) 0))))))
  (t/settles before t/descriptors "descriptors")
  # Their descriptor numbers can be used again.
  (with [l (kqnet/server host 0 t/echo)]
    (t/same "hello\n" (t/ask l))))

(t/test "a listener that only its loop refers to is not collected"
  (def port (ev/chan 1))
  (ev/go (fn []
           (def l (kqnet/listen host 0))
           (ev/give port (t/port l))
           (kqnet/accept-loop l (fn [conn] (t/echo conn) (:close l)))))
  (def number (ev/take port))
  (repeat 5 (gccollect) (ev/sleep 0))
  (t/same "hello\n" (t/ask number)))

# Accepting that is interrupted.

(defn- next-answer
  "Accepts one connection and answers what it sent. Returns what it sent."
  [l]
  (with [conn (kqnet/accept l)]
    (def text (string (:read conn 100)))
    (:write conn text)
    text))

(defn- task
  "Runs a function in a new fiber. Returns the fiber, and a channel that gets its result."
  [thunk]
  (def result (ev/chan 1))
  [(ev/go (fn [] (ev/give result (protect (thunk))))) result])

(t/test "accept may be cancelled before a client comes, and called again"
  (with [l (kqnet/listen host 0)]
    (for i 0 50
      (def [fiber result] (task |(kqnet/accept l)))
      (ev/sleep 0)
      (ev/cancel fiber "enough")
      # The client comes before or after the cancelled fiber has run.
      (when (even? i) (t/same [false "enough"] (ev/take result)))
      (def conn (t/send l (string i)))
      (t/same (string i) (next-answer l))
      (t/same [(string i)] (answers [conn]))
      (when (odd? i) (t/same [false "enough"] (ev/take result))))))

(t/test "accept may be cancelled after a client came, and called again"
  (with [l (kqnet/listen host 0)]
    (for i 0 10
      (def [fiber result] (task |(kqnet/accept l)))
      (ev/sleep 0)
      (def answer (client-meanwhile l (string i)))
      (ev/cancel fiber "enough")
      (t/same [false "enough"] (ev/take result))
      (t/same (string i) (next-answer l))
      (t/same (string i) (ev/take answer)))))

(t/test "the deadline of accept may pass after a client came, and accept may be called again"
  (with [l (kqnet/listen host 0)]
    (for i 0 10
      (def [fiber result] (task |(kqnet/accept l 0)))
      (ev/sleep 0)
      (def answer (client-meanwhile l (string i)))
      (match (ev/take result)
        [true conn] (do (t/echo conn) (t/same (string i) (ev/take answer)))
        [false err] (do
                      (t/same "timeout" err)
                      (t/same (string i) (next-answer l))
                      (t/same (string i) (ev/take answer)))))))

(t/test "accept may be called again after a timeout when a client has come"
  (with [l (kqnet/listen host 0)]
    (for i 0 50
      (t/same "timeout" (t/raised |(kqnet/accept l 0)))
      (def conn (t/send l (string i)))
      (t/same (string i) (next-answer l))
      (t/same [(string i)] (answers [conn])))))

(t/test "accept may be called again after a timeout before a client comes"
  (with [l (kqnet/listen host 0)]
    (for i 0 50
      (t/same "timeout" (t/raised |(kqnet/accept l 0)))
      (def text (t/background |(next-answer l)))
      (ev/sleep 0)
      (t/same (string i) (t/ask l (string i)))
      (t/same [true (string i)] (ev/take text)))))

(t/test "a new loop may follow a cancelled loop"
  (with [l (kqnet/listen host 0)]
    (repeat 20
      (each text ["first" "second"]
        (def waiting (clients l 3))
        (def [fiber result] (task |(kqnet/accept-loop l t/echo)))
        (t/same text (t/ask l text))
        (t/same ["0" "1" "2"] (answers waiting))
        (ev/cancel fiber "enough")
        (t/same [false "enough"] (ev/take result))))))

(t/test "accept, a loop, and accept again may follow each other on one listener"
  (with [l (kqnet/listen host 0)]
    (repeat 10
      (def waiting (clients l 3))
      (t/same "0" (next-answer l))
      (def [fiber ended] (task |(kqnet/accept-loop l t/echo :batch 1)))
      (t/same ["0" "1" "2"] (answers waiting))
      (ev/cancel fiber "enough")
      (ev/take ended)
      (def conn (t/send l "single"))
      (t/same "single" (next-answer l))
      (t/same ["single"] (answers [conn])))))

(t/test "accept-loop may run within a deadline"
  (with [l (kqnet/listen host 0)]
    (def waiting (clients l 3))
    (t/same "deadline expired" (t/raised |(ev/with-deadline 0.05 (kqnet/accept-loop l t/echo))))
    (t/same ["0" "1" "2"] (answers waiting))
    (def late (clients l 1))
    (t/same "0" (next-answer l))
    (answers late)))

(t/test "accept-loop may run in a fiber inside the task's main fiber"
  (def l (kqnet/listen host 0))
  (def result (t/background |(resume (coro (resume (coro (kqnet/accept-loop l t/echo)))))))
  (t/same "hello\n" (t/ask l))
  (:close l)
  (t/same [true l] (ev/take result)))

# Many servers.

(t/test "each of two servers gets its own clients, and one goes on without the other"
  (def one (kqnet/server host 0 (answer-with "one")))
  (with [two (kqnet/server host 0 (answer-with "two"))]
    (t/same (seq [i :range [0 40]] (if (even? i) "one" "two"))
            (t/together 40 |(t/ask (if (even? $) one two))))
    (:close one)
    (t/same "two" (t/ask two))))

(t/test "several hundred listeners may be ready at once"
  (def before (t/descriptors))
  # Each takes a descriptor for the listener and two for the ends of a connection.
  (def count (min 300 (math/floor (/ (- (t/descriptor-limit) before 20) 3))))
  (def listeners (seq [_ :range [0 count]] (kqnet/listen host 0)))
  (def waiting (seq [l :in listeners] (t/send l (string (t/port l)))))
  (each l listeners (ev/go (fn [] (kqnet/accept-loop l t/echo))))
  (t/same (map |(string (t/port $)) listeners) (answers waiting))
  # Then each listener alone.
  (each l listeners (t/same "hello\n" (t/ask l)))
  (each l listeners (:close l))
  (ev/sleep 0)
  (t/settles before t/descriptors "descriptors"))

(t/test "a busy listener does not delay another one"
  (with [busy (kqnet/listen host 0)]
    (with [other (kqnet/listen host 0)]
      (def order @[])
      (def many (clients busy 30))
      (def one (clients other 1))
      (ev/go (fn [] (kqnet/accept-loop busy (fn [conn] (array/push order :busy) (t/echo conn)) :batch 5)))
      (ev/go (fn [] (kqnet/accept-loop other (fn [conn] (array/push order :other) (t/echo conn)) :batch 5)))
      (answers many)
      (answers one)
      (t/check (<= (find-index |(= :other $) order) 10) "the other's turn within two batches"))))

# Threads.

(defn- serve-in-thread
  "What a thread does: serves until a client tells it to stop."
  [ports]
  (def l (kqnet/listen "127.0.0.1" 0))
  (ev/give ports (last (net/localname l)))
  (kqnet/accept-loop l (fn [conn]
                         (defer (:close conn)
                           (def text (string (:read conn 100)))
                           (:write conn text)
                           (when (= text "stop") (:close l))))))

(t/test "several threads may serve at once"
  (def before (t/descriptors))
  (def ports (ev/thread-chan 10))
  (def ended (ev/chan 10))
  (repeat 4
    (ev/go (fn []
             (def result (protect (ev/thread (fn [] (serve-in-thread ports)))))
             # The error takes the place of the port, if there is none.
             (unless (first result) (ev/give ports (last result)))
             (ev/give ended result))))
  (def theirs (seq [_ :range [0 4]] (ev/take ports)))
  (t/same [] (filter string? theirs) "errors")
  # This thread has a server, too.
  (with [own (kqnet/server host 0 t/echo)]
    (def places [;theirs (t/port own)])
    (t/same (map string (range 200))
            (t/together 200 |(t/ask (places (% $ 5)) (string $))))
    (each place theirs (t/same "stop" (t/ask place "stop")))
    (repeat 4 (t/same true (first (ev/take ended))))
    (t/same "hello\n" (t/ask own)))
  (t/settles before t/descriptors "descriptors"))

(t/test "threads may end, one after another, while their listeners are open"
  (def before (t/descriptors))
  (def ports (ev/thread-chan 10))
  (repeat 10
    (def ended
      (t/background
        |(ev/thread (fn []
                      (def l (kqnet/listen "127.0.0.1" 0))
                      (def unused (kqnet/listen "127.0.0.1" 0))
                      (ev/give ports (last (net/localname l)))
                      (with [conn (kqnet/accept l)]
                        (:write conn (:read conn 100)))))))
    (def port (ev/take ports))
    (t/same "hello\n" (t/ask port))
    (t/same true (first (ev/take ended)))
    (t/check (string? (t/raised |(t/connect port))) "the port closed with its thread"))
  (t/settles before t/descriptors "descriptors"))

(defn- threads-close-streams?
  "Whether a stream that was given to a thread may be closed there. On Janet 1.42.0-dev that ends the process."
  []
  (zero? (first (t/run-forms '[(ev/thread (fn [l] (:close l)) (net/listen "127.0.0.1" 0))]))))

(t/test "a thread accepts on a listener that was given to it"
  (unless (threads-close-streams?)
    (t/skip "this Janet ends the process when a stream that was given to a thread is closed there"))
  (each listen [kqnet/listen net/listen]
    (def before (t/descriptors))
    (with [l (listen host 0)]
      # Given as the thread's value.
      (def ended (t/background
                   |(ev/thread (fn [l]
                                 (with [conn (kqnet/accept l)]
                                   (:write conn (string "thread: " (:read conn 100)))))
                               l)))
      (t/same "thread: hello\n" (t/ask l))
      (t/same true (first (ev/take ended)))
      # Given through a channel, and accepted on in a loop until it is closed there.
      (def channel (ev/thread-chan 1))
      (def looped (t/background
                    |(ev/thread (fn []
                                  (def l (ev/take channel))
                                  (kqnet/accept-loop
                                    l
                                    (fn [conn]
                                      (defer (:close conn)
                                        (def text (string (:read conn 100)))
                                        (:write conn (string "loop: " text))
                                        (when (= "stop" text) (:close l)))))))))
      (ev/give channel l)
      (t/same (map |(string "loop: " $) (range 20)) (t/together 20 |(t/ask l (string $))))
      (t/same "loop: stop" (t/ask l "stop"))
      (t/same true (first (ev/take looped)))
      # Only the thread's copy was closed, not the listener.
      (def here (t/background |(next-answer l)))
      (t/same "hello\n" (t/ask l))
      (t/same [true "hello\n"] (ev/take here)))
    (t/settles before t/descriptors "descriptors")))

(t/test "a connection that was given to a thread, and closed there, stays open here"
  (unless (threads-close-streams?)
    (t/skip "this Janet ends the process when a stream that was given to a thread is closed there"))
  (with [l (kqnet/listen host 0)]
    (def client (t/send l "hello"))
    (def conn (kqnet/accept l))
    (t/same "hello" (string (:read conn 10)))
    (ev/thread (fn [conn] (:close conn)) conn)
    (:write conn "not the end")
    (:close conn)
    (t/same ["not the end"] (answers [client]))))

# When a process ends.

(defn- ends-well
  "Fails unless a program ends by itself, with this output and no other."
  [output & forms]
  (t/same [0 output ""] (t/run-forms ['(import kqnet) ;forms])))

(t/test "a program ends when its last server is closed"
  (ends-well "closed\n"
             '(def l (kqnet/server "127.0.0.1" 0 (fn [conn] (:close conn))))
             '(def m (kqnet/server "127.0.0.1" 0 (fn [conn] (:close conn))))
             '(ev/sleep 0)
             '(:close l)
             '(:close m)
             '(print "closed")))

(t/test "a program ends when a handler closes its server"
  (with [server (t/start-forms '[(import kqnet)
                                 (var l nil)
                                 (defn handler [conn]
                                   (:close l)
                                   (:read conn 100)
                                   (:write conn "bye")
                                   (:close conn))
                                 (set l (kqnet/server "127.0.0.1" 0 handler))
                                 (print (last (net/localname l)))
                                 (flush)])]
    (t/same "bye" (t/ask (:port server)))
    (t/same 0 (:wait server))
    (t/same "" (string (server :err)))))

(t/test "a program ends after it has accepted, though the listener is open"
  (with [server (t/start-forms '[(import kqnet)
                                 (def l (kqnet/listen "127.0.0.1" 0))
                                 (print (last (net/localname l)))
                                 (flush)
                                 (with [conn (kqnet/accept l)]
                                   (:read conn 100)
                                   (:write conn "bye"))])]
    (t/same "bye" (t/ask (:port server)))
    (t/same 0 (:wait server))
    (t/same "" (string (server :err)))))

(t/test "a program ends after accept has timed out or was cancelled, though the listener is open"
  (ends-well "timeout\nenough\n"
             '(def l (kqnet/listen "127.0.0.1" 0))
             '(print (last (protect (kqnet/accept l 0.001))))
             '(def fiber (ev/go (fn [] (print (last (protect (kqnet/accept l)))))))
             '(ev/sleep 0)
             '(ev/cancel fiber "enough")))

(t/test "a program ends after its loop was cancelled, though the listener is open"
  (ends-well "enough\n"
             '(def l (kqnet/listen "127.0.0.1" 0))
             '(def fiber (ev/go (fn [] (print (last (protect (kqnet/accept-loop l (fn [conn] conn))))))))
             '(ev/sleep 0)
             '(ev/cancel fiber "enough")))

(t/test "a program that only listens ends"
  (ends-well "" '(def l (kqnet/listen "127.0.0.1" 0))))

(t/test "a program that never listens ends"
  (ends-well "true\n" '(print (keyword? (kqnet/backend)))))

(t/test "a program keeps running while a server runs"
  (with [server (t/start-forms '[(import kqnet)
                                 (defn handler [conn]
                                   (:read conn 100)
                                   (:write conn "here")
                                   (:close conn))
                                 (def l (kqnet/server "127.0.0.1" 0 handler))
                                 (def other (kqnet/server "127.0.0.1" 0 (fn [conn] conn)))
                                 (ev/sleep 0)
                                 (:close other)
                                 (print (last (net/localname l)))
                                 (flush)])]
    (def port (:port server))
    (repeat 5 (t/same "here" (t/ask port)))
    (t/same nil (server :status))))

(t/test "a program may exit by itself while a server runs"
  (t/same [3 "" ""]
          (t/run-forms '[(import kqnet)
                         (def l (kqnet/server "127.0.0.1" 0 (fn [conn] conn)))
                         (ev/sleep 0)
                         (os/exit 3)])))

(t/finish)
