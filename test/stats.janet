###
### The statistics of kqnet/stats: each of them, that they add up, and what they cost.
###

(import ./support :as t)
(import kqnet)

(t/need-spork)
(import kqnet/http)

(def- host "127.0.0.1")

(defn- stats [l & keys] (map (kqnet/stats l) keys))

(defn- settled
  "The statistics once no handler runs."
  [l]
  (t/wait-until "the end of handlers" |(zero? ((kqnet/stats l) :active)))
  (kqnet/stats l))

(t/test "a listener that kqnet never accepted from has no statistics"
  (with [l (kqnet/listen host 0)]
    (t/same nil (kqnet/stats l)))
  (with [l (net/listen host 0)]
    (t/same nil (kqnet/stats l)))
  (t/same [] (kqnet/stats)))

(t/test "a server has statistics at once"
  (with [l (kqnet/server host 0 t/echo)]
    (t/same [0 0] (stats l :accepted :active)))
  (with [l (http/server (fn [_] {:status 200}) host 0)]
    (t/same [0 0] (stats l :accepted :active))))

(t/test "the error for what is not a stream shows it"
  (each value [5 "listener" :listener false]
    (t/same (string/format "expected a core/stream, got %q" value) (t/raised |(kqnet/stats value)))))

(t/test "all values are plain numbers in structs, except for the address"
  (with [l (kqnet/server host 0 t/echo :max-connections 5)]
    (def before (os/clock :realtime))
    (t/ask l)
    (def {:address address :since since} (kqnet/stats l))
    (t/same (string host ":" (t/port l)) address)
    (t/check (<= (- before 60) since (os/clock :realtime)) "since a moment ago")
    (def statistics (kqnet/stats l))
    (t/same [:aborted :accepted :active :address :batches :errors :largest-batch :paused :pauses :peak :since]
            (sort (keys statistics)))
    (eachp [name value] statistics
      (case name
        :address (t/check (string? value) "a string")
        :errors (t/same {} value)
        :pauses (t/same {:error 0 :full 0 :rate 0} value)
        :paused (t/same {:error 0 :full 0 :rate 0} value)
        (t/check (number? value) (string name ", a number"))))))

(t/test "the address of each kind of socket is shown"
  (defn address [& where]
    (with [l (kqnet/server ;where t/echo)]
      (ev/sleep 0)
      [((kqnet/stats l) :address) (net/localname l)]))
  (let [[text [name port]] (address host 0)] (t/same (string name ":" port) text))
  (let [path (t/scratch "socket")] (t/same (string "unix:" path) (first (address :unix path))))
  (def [ok found] (protect (address "::1" 0)))
  (when ok
    (let [[text [name port]] found] (t/same (string "[" name "]:" port) text))))

(t/test "accepted, active, peak, batches and the largest batch are counted"
  (def gate (ev/chan 10))
  (with [l (kqnet/listen host 0)]
    (def clients (seq [i :range [0 7]] (t/send l (string i))))
    (ev/go (fn [] (kqnet/accept-loop l (fn [conn] (ev/take gate) (t/echo conn)) :batch 3)))
    (t/wait-until "all of them" |(= 7 (get (kqnet/stats l) :accepted)))
    (t/same [7 7 7 3 3] (stats l :accepted :active :peak :batches :largest-batch))
    (repeat 3 (ev/give gate true))
    (t/wait-until "three handlers less" |(= 4 ((kqnet/stats l) :active)))
    (t/same [7 4 7 3 3] (stats l :accepted :active :peak :batches :largest-batch))
    (repeat 4 (ev/give gate true))
    (t/same (map string (range 7)) (map t/receive clients))
    (settled l)
    (ev/give gate true)
    (t/same "hello\n" (t/ask l))
    (settled l)
    (t/same [8 0 7 4 3] (stats l :accepted :active :peak :batches :largest-batch))))

(t/test "accept counts the connections that it accepts, and they are not active"
  (with [l (kqnet/listen host 0)]
    (for i 1 4
      (def client (t/send l "hello"))
      (t/echo (kqnet/accept l))
      (t/same "hello" (t/receive client))
      (t/same [i 0 0 i 1] (stats l :accepted :active :peak :batches :largest-batch)))))

(t/test "pauses of a full listener are counted with their time, including one that still lasts"
  (def gate (ev/chan 10))
  (with [l (kqnet/server host 0 (fn [conn] (ev/take gate) (t/echo conn)) :max-connections 1)]
    (def clients (seq [i :range [0 3]] (t/send l (string i))))
    (t/wait-until "a full listener" |(= 1 (get-in (kqnet/stats l) [:pauses :full])))
    (def [first-look at] [(get-in (kqnet/stats l) [:paused :full]) (os/clock :monotonic)])
    (t/wait-until "a longer pause" |(> (get-in (kqnet/stats l) [:paused :full]) first-look))
    # The clock is read after the first look and before the second, so it shows less time than the looks.
    (def [now second-look] [(os/clock :monotonic) (get-in (kqnet/stats l) [:paused :full])])
    (t/check (>= (- second-look first-look) (* 0.999 (- now at))) "a pause that lasts as long as the clock says")
    (repeat 3 (ev/give gate true))
    (t/same ["0" "1" "2"] (map t/receive clients))
    (def {:paused paused :pauses pauses} (settled l))
    (t/check (<= 2 (pauses :full) 3) "a pause for each client that waited")
    (t/same [0 0 0 0] [;(map pauses [:error :rate]) ;(map paused [:error :rate])])
    (def {:paused later} (kqnet/stats l))
    (t/same (later :full) (get-in (kqnet/stats l) [:paused :full]) "no more pauses when no client waits")))

(t/test "pauses for a rate are counted"
  (with [l (kqnet/server host 0 t/echo :max-accept-rate 200)]
    (t/together 8 (fn [_] (t/ask l)))
    (def {:paused paused :pauses pauses} (settled l))
    (t/check (< 0 (pauses :rate) 9) "a pause or more")
    (t/check (pos? (paused :rate)) "their time")
    (t/same [0 0 0 0] [;(map pauses [:error :full]) ;(map paused [:error :full])])))

(def- strace
  (and t/linux?
       (= :epoll (kqnet/backend))
       (zero? (os/execute ["sh" "-c" "command -v strace >/dev/null && strace -o /dev/null true 2>/dev/null"] :p))))

(t/test "aborted connections and errors are counted by name, and not reported"
  (unless strace (t/skip "this needs strace, and accept4"))
  (with [server (t/start "strace" "-f" "-o" "/dev/null" "-e" "trace=accept4"
                         "-e" "inject=accept4:error=ECONNABORTED:when=1..3"
                         (dyn *executable*) (t/program "holding") "server")]
    (def port (:port server))
    (with [conn (t/send port "statistics\n")]
      (def {:stats statistics} (parse (:read conn 4096)))
      (t/same [3 {:ECONNABORTED 3} 1] (map statistics [:aborted :errors :accepted]))
      (t/same {:error 0 :full 0 :rate 0} (statistics :pauses))
      (t/same "" (string (server :err))))))

(t/test "handlers may end in any way: each accepted connection has ended or is active"
  (with [l (kqnet/listen host 0)]
    (ev/go (fn []
             (kqnet/accept-loop l
                                (fn [conn]
                                  (defer (:close conn)
                                    (case (string (:read conn 100))
                                      "raise" (error "an error")
                                      "cancel" (do
                                                 (def task (fiber/root))
                                                 (ev/go (fn [] (ev/cancel task "enough")))
                                                 (ev/take (ev/chan)))
                                      (:write conn "done"))))
                                :max-connections 4)))
    (def answers (t/together 60 (fn [i] (t/ask l (["plain" "raise" "cancel"] (% i 3))))))
    (t/same {"done" 20 "" 40} (table/to-struct (frequencies answers)))
    (def {:accepted accepted :peak peak :batches batches :largest-batch largest} (settled l))
    (t/same 60 accepted)
    (t/check (<= largest peak 4) "no more at once than allowed")
    (t/check (<= (/ accepted largest) batches accepted) "batches that can hold them")))

(def- servers
  {"server" |(kqnet/server host 0 t/echo)
   "http/server" |(http/server (fn [_] {:body "hello\n"}) host 0)})

(def- ends {"closed" |(:close $) "drained" kqnet/drain})

(loop [[name start] :pairs servers
       [way end] :pairs ends]
  (t/test (string name ": the statistics outlive a listener that is " way ", until it is collected")
    (t/settles 0 |(length (kqnet/stats)) "listeners of the tests above")
    (def result
      (ev/take (t/background (fn []
                               (def l (start))
                               (t/ask l "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                               (settled l)
                               (end l)
                               (t/same [1 0] (stats l :accepted :active))
                               (t/same 1 (length (kqnet/stats)))))))
    (t/same true (first result) (last result))
    (t/settles 0 |(length (kqnet/stats)) "listeners")))

(t/test "without an argument, the statistics of all listeners of this thread"
  (gccollect)
  (with [one (kqnet/server host 0 t/echo)]
    (with [two (kqnet/server host 0 t/echo)]
      (t/ask one)
      (repeat 2 (t/ask two))
      (map settled [one two])
      (defn counts [] (tabseq [{:address address :accepted accepted} :in (kqnet/stats)] address accepted))
      (def mine {((kqnet/stats one) :address) 1 ((kqnet/stats two) :address) 2})
      (eachp [address accepted] mine (t/same accepted ((counts) address)))
      (def theirs (ev/chan 1))
      (ev/give theirs
               (let [answer (ev/thread-chan 1)]
                 (ev/thread (fn [answer] (ev/give answer (length (kqnet/stats)))) answer)
                 (ev/take answer)))
      (t/same 0 (ev/take theirs) "listeners of another thread"))))

(t/test "asking once a second costs almost nothing"
  (unless strace (t/skip "this needs strace"))
  (def log (t/scratch "calls"))
  (defn calls [times]
    (with [program (t/start "strace" "-f" "-c" "-o" log (dyn *executable*) "-e"
                            (t/source ~[(import kqnet)
                                        (def l (kqnet/server "127.0.0.1" 0 (fn [conn] conn)))
                                        (ev/sleep 0)
                                        (assert (kqnet/stats l))
                                        (repeat ,times (kqnet/stats l) (kqnet/stats))
                                        (:close l)]))]
      (t/same 0 (:wait program)))
    (defer (os/rm log)
      (def total (last (filter |(string/has-suffix? "total" $) (string/split "\n" (slurp log)))))
      ((peg/match '(* :s* (some (* '(some (if-not :s 1)) :s*))) total) 3)))
  # A collection may ask for memory now and then.
  (def [few many] [(scan-number (calls 1)) (scan-number (calls 10000))])
  (t/check (< (- many few) 200) (string "no system calls: " few " and " many)))

(t/finish)
