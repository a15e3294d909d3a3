###
### A server with few descriptors, and all kinds of clients, for a while.
###
### In the end every well-behaved client was answered, and nothing is left over.
###
### KQNET_SOAK_SECONDS says how long: 30 s if it is not set, 10 s with KQNET_TEST_QUICK, 600 for a real soak.
### KQNET_SOAK_SEED repeats a run, as far as the clock allows.
###

(import ./support :as t)

(def- host (os/getenv "KQNET_HOST"))

(def- seconds
  (cond
    (os/getenv "KQNET_SOAK_SECONDS") (scan-number (os/getenv "KQNET_SOAK_SECONDS"))
    (os/getenv "KQNET_TEST_QUICK") 10
    30))

(def- seed
  (if-let [given (os/getenv "KQNET_SOAK_SEED")]
    (scan-number given)
    (math/rng-int (math/rng (os/cryptorand 8)) 1000000)))

(def- workers 50)
(def- few "Descriptors of the server." 48)

(print "soak of " seconds " s, KQNET_SOAK_SEED=" seed)

# What clients do. Each gets a port and its own number. Well-behaved clients return their answer,
# which is that number as a text; others return nil.

(def- seen @{:connections 0})
(defn- count [what &opt n] (default n 1) (put seen what (+ n (get seen what 0))))

(defn- connect
  [port]
  (def conn (t/connect port))
  (count :connections)
  conn)

(defn- patient
  "A client that waits for its answer. `speak` is what it does before."
  [speak]
  (fn [port number rng]
    (with [conn (connect port)]
      (speak conn (string number) rng)
      (t/receive conn))))

(defn- impatient
  "A client that the server may have cut off."
  [act]
  (fn [port number rng]
    (with [conn (connect port)]
      (protect (act conn (string number) rng)))
    nil))

(def- behaviours
  # Of a hundred clients, how many do this; whether it is well-behaved; and the client.
  {:ask [35 true (patient (fn [conn text _] (:write conn (string "echo " text "\n"))))]
   :ask-what-takes-a-while [10 true (patient (fn [conn text _] (:write conn (string "echo-late " text "\n"))))]
   :speak-slowly [8 true (patient (fn [conn text rng]
                                    (each byte (string "echo " text "\n")
                                      (:write conn (string/from-bytes byte))
                                      (ev/sleep (* 0.01 (math/rng-uniform rng))))))]
   :half-close [10 true (patient (fn [conn text _]
                                   (:write conn (string "echo " text "\n"))
                                   (net/shutdown conn :w)))]
   :say-nothing [7 false (impatient (fn [conn _ rng] (:read conn 1 nil (* 0.3 (math/rng-uniform rng)))))]
   :hang-up [7 false (impatient (fn [conn text _] (:write conn (string "echo-late " text "\n"))))]
   :hang-up-at-once [5 false (impatient (fn [_ _ _]))]
   # Bytes were not read, so closing resets the connection.
   :reset [7 false (impatient (fn [conn _ _] (:write conn "big\n") (:read conn 1000)))]
   :take-nothing [2 false (impatient (fn [conn _ _] (:write conn "big\n") (ev/sleep 0.6)))]
   :be-failed [9 false (impatient (fn [conn text _] (:write conn (string "raise " text "\n")) (:read conn 100)))]})

(defn- choose
  [rng]
  (var left (math/rng-int rng 100))
  (var chosen nil)
  # The order is the same each time.
  (each name (sort (keys behaviours))
    (def [share] (behaviours name))
    (when (and (nil? chosen) (< left share)) (set chosen name))
    (-= left share))
  chosen)

(assert (= 100 (sum (map first behaviours))))

(def- failures @[])

(defn- work
  "Runs one client after another until the time is over."
  [worker ports end]
  (def rng (math/rng (+ seed worker)))
  (var number (* 1000000 worker))
  (while (< (os/clock :monotonic) end)
    (++ number)
    (def name (choose rng))
    (def [_ well-behaved client] (behaviours name))
    (def port (ports (math/rng-int rng (length ports))))
    (def [ok got] (protect (ev/with-deadline 30 (client port number rng))))
    (count name)
    (when (and well-behaved (not (and ok (= got (string number)))))
      (array/push failures [name number got]))))

(defn- vanish
  "Runs processes that are killed with connections in all states, until the time is over."
  [ports end]
  (while (< (os/clock :monotonic) end)
    (with [process (t/start-forms
                     ~[(def conns (seq [i :range [0 6]] (net/connect "127.0.0.1" (string (in [,;ports] (% i 3))))))
                       (:write (conns 0) "ec")
                       (:write (conns 1) "echo-late 1\n")
                       (:write (conns 2) "big\n")
                       (print (length conns))
                       (flush)
                       (ev/sleep 60)])]
      (count :connections (:port process))
      (count :vanish 6))
    (ev/sleep 0.5)))

(def- resets
  "A Python program, since Janet cannot set SO_LINGER. It also resets connections that are still in the backlog."
  ```
  import random, socket, struct, sys, time
  seed, seconds, *ports = sys.argv[1:]
  random.seed(int(seed))
  end, count = time.monotonic() + float(seconds), 0
  while time.monotonic() < end:
      with socket.create_connection(("127.0.0.1", int(random.choice(ports)))) as conn:
          count += 1
          conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
          if random.random() < 0.5:
              conn.send(b"echo 1\n")
      time.sleep(0.02 * random.random())
  print(count)
  ```)

(def- python (zero? (os/execute ["sh" "-c" "command -v python3 >/dev/null"] :p)))
(unless python (print "      there is no python3, so no connection is reset in the backlog"))

(t/test-within (+ seconds 120) "well-behaved clients among all kinds of others are answered, and nothing is left over"
  (with [server (t/start {:err (file/open "/dev/null" :w)}
                         "sh" "-c" `ulimit -n "$0" && exec "$@"` (string few)
                         (dyn *executable*) (t/program "soaked") "run")]
    (def ports (map scan-number (string/split " " (:line server))))
    (with [control (t/connect (array/pop ports))]
      (defn ask [line]
        (:write control (string line "\n"))
        (def answer @"")
        (while (not (string/has-suffix? "\n" answer))
          (t/check (:read control 4096 answer) "an answer to the test"))
        (parse answer))
      (defn once-idle []
        (t/wait-until "a server that is idle"
                      (fn []
                        (def statistics (ask "statistics"))
                        # Seen from outside, since the server may have no descriptor left for the question.
                        (if (= (statistics :begun) (statistics :ended))
                          (merge statistics {:resident (t/resident server)})))))
      (defn spell [length]
        (def end (+ length (os/clock :monotonic)))
        (def resetting
          (if python
            (t/start "python3" "-c" resets (string (+ seed (seen :connections))) (string length) ;(map string ports))))
        (def vanished (t/background |(vanish ports end)))
        (t/together workers (fn [worker] (work worker ports end)))
        (t/same [true nil] (ev/take vanished))
        (when resetting
          (def made (:port resetting))
          (count :connections made)
          (count :reset-in-the-backlog made)
          (:close resetting))
        (once-idle))
      # The memory that a server needs at first is not a leak: Janet keeps the timeout of each read, 5 s here, until
      # it is over.
      (def before (spell (max 6 (* 0.25 seconds))))
      (def after (spell (* 0.75 seconds)))

      (def {:stats stats :begun begun :starved starved} after)
      (def [plain limited by-accept] stats)
      (defn total [key] (sum (map |(in $ key) stats)))
      (printf "      %d connections: %s" (seen :connections)
              (string/join (seq [name :in (sort (keys seen)) :when (not= :connections name)]
                             (string (seen name) " " name)) ", "))
      (printf "      %d accepted, %d aborted, %d shortages of descriptors, %d pauses for them, %d pauses at the limit"
              (total :accepted) (total :aborted) starved
              (sum (map |(get-in $ [:pauses :error]) stats)) (get-in limited [:pauses :full]))
      (printf "      resident: %.1f MB, then %.1f MB" ;(map |(/ ($ :resident) 1e6) [before after]))

      (t/same [] failures "well-behaved clients without their answers")
      (t/same [0 0 0] (map |($ :active) stats) "active connections")
      (t/same begun (total :accepted) "handlers that have begun")
      # Whether a client that reset in the backlog is accepted or counts as aborted depends on the system.
      (t/same (seen :connections) (+ (total :accepted) (total :aborted)) "connections")
      (t/check (<= (limited :peak) 8) "the limit of connections")
      (t/check (<= (limited :largest-batch) 3) "the limit of a batch")
      (t/check (pos? (get-in limited [:pauses :full])) "pauses at the limit")
      (t/check (pos? starved) "shortages of descriptors")
      (each {:errors errors :pauses pauses :aborted aborted :accepted accepted :batches batches :largest-batch largest} stats
        (t/same (pauses :error) (get errors :EMFILE 0) "pauses, one for each failure")
        (t/same aborted (get errors :ECONNABORTED 0) "aborted connections")
        (t/same (+ aborted (pauses :error)) (sum (values errors)) "no other errors")
        (t/check (<= batches accepted (* batches largest)) "batches that can hold what was accepted"))
      (t/same (map before [:descriptors :tasks]) (map after [:descriptors :tasks]) "descriptors and fibers")
      # A sanitizer keeps what was freed for a while, the emulation has its own memory, and C libraries other than
      # Linux's give back memory as they like.
      (unless (or (string/find "asan" (or host "")) (os/getenv "KQUEUE_EMU_KERNEL") (not t/linux?))
        (t/check (< (- (after :resident) (before :resident)) 5e6) "no more memory than after the first quarter"))
      (t/same [0 0 0] (ask "end") "handlers left by the drains")
      (t/same 0 (:wait server)))))

(t/finish)
