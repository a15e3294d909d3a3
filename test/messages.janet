###
### If a message cannot be written or a value cannot be shown, nothing else is lost.
###

(import ./support :as t)
(import kqnet)

(def- host "127.0.0.1")

(def- program
  "A server that answers with what it reads, and that clients can tell to end or to fail."
  (t/source '[(import kqnet)
              (def l (kqnet/server "127.0.0.1" 0
                                   (fn [conn]
                                     (defer (:close conn)
                                       (def text (:read conn 100))
                                       (:write conn text)
                                       (when (= "fail" (string text))
                                         (error "as told"))
                                       (when (= "end" (string text))
                                         (:close conn)
                                         (os/exit 0))))))
              (print (last (net/localname l)))
              (flush)]))

(defn- served
  "Runs the server with few descriptors, by a line of the shell, and asks it from more clients than it has room for."
  [line]
  (with [server (t/start "sh" "-c" (string "ulimit -n 40; " line) (dyn *executable*) program)]
    (def port (:port server))
    # All clients are connected before one is answered.
    (def conns (seq [_ :range [0 60]] (t/connect port)))
    (each conn conns (:write conn "hello"))
    (t/same (seq [_ :range [0 60]] "hello") (map t/receive conns))
    (t/same "end" (t/ask port "end"))
    (t/same 0 (:wait server))))

(t/test "a shortage of descriptors while stderr is a full disk"
  (unless (os/stat "/dev/full") (t/skip "this system has no /dev/full"))
  (served `exec "$0" -e "$1" 2>/dev/full`))

(t/test "a shortage of descriptors while stderr is closed"
  (served `exec "$0" -e "$1" 2>&-`))

(t/test "a shortage of descriptors while the reader of stderr has ended"
  # The reader ends at once. Without precautions, a write to stderr would raise a signal that ends the server.
  (served `{ "$0" -e "$1" 2>&1 >&3 | true; } 3>&1`))

(t/test "handlers that fail while the reader of stderr has ended"
  (with [server (t/start "sh" "-c" `{ "$0" -e "$1" 2>&1 >&3 | true; } 3>&1` (dyn *executable*) program)]
    (def port (:port server))
    (repeat 10 (t/same "fail" (t/ask port "fail")))
    (t/same "end" (t/ask port "end"))
    (t/same 0 (:wait server))))

(t/test "a drain that cancels prints nothing about the cancelled handlers, and other errors as always"
  (with [program (t/start-forms '[(import kqnet)
                                  (def go (ev/chan))
                                  (def l (kqnet/server "127.0.0.1" 0
                                                       (fn [conn]
                                                         (def text (string (:read conn 100)))
                                                         (when (= text "go") (ev/give go true))
                                                         (:write conn "waiting")
                                                         (try (ev/take (ev/chan))
                                                           ([err fib]
                                                             (case text
                                                               "tidy" (:close conn)
                                                               "own" (error "an error of its own")
                                                               (propagate err fib)))))))
                                  (print (last (net/localname l)))
                                  (flush)
                                  (ev/take go)
                                  (print (kqnet/drain l 0 :cancel true))])]
    (def port (:port program))
    (def conns (seq [text :in ["quiet" "tidy" "quiet" "own" "quiet" "go"]]
                 (def conn (t/send port text))
                 (t/same "waiting" (string (:read conn 7)))
                 conn))
    (t/same "6" (:line program))
    (t/same 0 (:wait program))
    (t/wait-until "the end of its errors" |(program :err-ended))
    (def errors (filter |(string/has-prefix? "error: " $) (string/split "\n" (program :err))))
    (t/same ["error: an error of its own"] errors)
    (each conn conns (:close conn))))

(t/test "the supervisor of a cancelled handler gets its error"
  (def events (ev/chan 10))
  (def begun (ev/chan))
  (def l (kqnet/listen host 0))
  (ev/go (fn [] (kqnet/accept-loop l (fn [conn] (ev/give begun true) (ev/take (ev/chan))))) nil events)
  (with [conn (t/connect l)]
    (ev/take begun)
    (t/same 1 (kqnet/drain l 0 :cancel true))
    (t/same [:error :ok] (sort (seq [_ :range [0 2]] (first (ev/take events)))))))

(t/test "a value that is too long for an error is shortened, and kqnet goes on"
  (def long (string/repeat "x" 300000000))
  # As text, this value would have more than 2 GiB.
  (def unprintable (buffer/new-filled 600000000 0))
  (each value [long unprintable]
    (def err (t/raised |(kqnet/accept value)))
    (t/check (string/has-prefix? "expected a core/stream, got " err) "what is wrong")
    (t/check (string/find (string "(" (length value) " bytes)") err) err)
    (t/check (< (length err) 2000) "a short error"))
  (each value [long unprintable]
    (def err (t/raised |(kqnet/listen host 0 :backlog value)))
    (t/check (string/has-prefix? "kqnet/listen: :backlog must be a positive integer, got " err) "what is wrong")
    (t/check (string/find (string "(" (length value) " bytes)") err) "how long it is")
    (t/check (< (length err) 2000) "a short error"))
  (def collection @[(string/slice long 0 100000)])
  (t/check (< (length (t/raised |(kqnet/listen host 0 :backlog collection))) 2000) "a short error of a collection")
  (with [l (kqnet/server host 0 (fn [conn] (defer (:close conn) (:read conn 10) (:write conn "here"))))]
    (t/same "here" (t/ask l))))

(t/finish)
