###
### Many connections, one after another, leave the server's memory and descriptors as they were.
###
### They are compared with what they were after the first tenth. kqnet/server gets 200,000 connections, which takes about
### 20 s, and the other ways get 20,000. With KQNET_TEST_QUICK=1 each way gets 20,000; with KQNET_TEST_LONG=1, 200,000.
###

(import ./support :as t)

(defn- total
  "How many connections a way of accepting gets."
  [way]
  (cond
    (= "1" (os/getenv "KQNET_TEST_QUICK")) 20_000
    (= "1" (os/getenv "KQNET_TEST_LONG")) 200_000
    (= way "server") 200_000
    20_000))

# How many clients run at once. Each makes one connection after another.
(def- clients 8)

# So that the C library does not happen to give memory back between two collections, and what is measured is
# the most memory that the server ever needed.
(os/setenv "MALLOC_TRIM_THRESHOLD_" "4000000000")

# A leak of one allocation per connection would be several times this, at 200,000 connections. Other
# C libraries cannot be told to keep what was freed, so resident memory goes up and down.
(def- slack (* (if t/linux? 1 16) 1024 1024))

(defn- connections
  "Makes this many connections, and checks each answer."
  [port count]
  (t/together clients
              (fn [_]
                (def buf @"")
                (repeat (/ count clients)
                  (with [conn (net/connect "127.0.0.1" port)]
                    (:write conn "x")
                    # Reads to the end: the side that closes first has to remember the connection for a while, and a client
                    # would run out of ports.
                    (:read conn :all (buffer/clear buf))
                    (unless (string/has-suffix? "hello" buf) (t/fail "hello" buf)))))))

(defn- measured
  "The server's descriptors and resident memory, once it has closed the last connection."
  [server port]
  (defn ask [] (scan-number (t/ask port "descriptors")))
  (var last (ask))
  (t/wait-until "descriptors that stay"
                (fn []
                  (def before last)
                  (set last (ask))
                  (= before last)))
  [last (t/resident server)])

(each way ["server" "accept-loop" "accept"]
  (def many (total way))
  # Enough connections for memory to reach its height between two collections.
  (def first-part (max 8_000 (/ many 10)))
  (t/test (string "kqnet/" way " leaves no trace of " many " connections")
    (with [server (t/start-janet (t/program "server") "kqnet" way)]
      (def port (string (:port server)))
      (def start (os/clock :monotonic))
      (connections port first-part)
      (def [descriptors memory] (measured server (scan-number port)))
      (connections port (- many first-part))
      (def [descriptors-then memory-then] (measured server (scan-number port)))
      (printf "      %d connections in %.1f s; memory %d KiB, then %d KiB; descriptors %d, then %d"
              many (- (os/clock :monotonic) start) (/ memory 1024) (/ memory-then 1024)
              descriptors descriptors-then)
      (t/same descriptors descriptors-then "descriptors")
      (when (> memory-then (+ memory slack))
        (t/fail (string/format "at most %d bytes more" slack) (- memory-then memory) "memory")))))

(t/finish)
