###
### kqnet-serve: workers that share an address, and a supervisor that keeps them running.
###

(import ./support :as t)
(import ./support/http :as h)
(import ./support/programs)
(import ./support/serve :prefix "")
(t/need-spork)
(import kqnet)

(t/test "workers share one address, and all of them answer"
  (with-program answering
    (fn [file]
      (def [process port] (start "-w" 3 file))
      (t/same 3 (length (pids port 3)))
      (ends process))))

(t/test "a worker that dies is replaced, whatever kills it"
  (with-program answering
    (fn [file]
      (def [process port] (start "-w" 2 file))
      (def before (pids port 2))
      (os/execute ["kill" "-KILL" (first before)] :p)
      (pids port 2 [(first before)])
      (protect (ask port "/exit"))
      (wait-for process "ended with status 7")
      (pids port 2 [(first before)])
      (ends process))))

(t/test "SIGHUP replaces all workers, and running requests are answered"
  (with-program answering
    (fn [file]
      (def [process port] (start "-w" 2 file))
      (def before (pids port 2))
      (def slow (seq [_ :range [0 4]] (:send (h/client port) "GET" "/sleep")))
      (:signal process :hup)
      (def after (pids port 2 before))
      (t/check (not (some |(has-value? before $) after)) "only new workers")
      (each c slow (t/same "slept" ((:receive c "GET") :body)) (:close c))
      (ends process))))

(t/test "a new version that does not start changes nothing, and the next one is taken"
  (with-program answering
    (fn [file]
      (def [process port] (start "-w" 2 file))
      (def before (pids port 2))
      (spit file "(error \"not today\")")
      (:signal process :hup)
      (wait-for process "the old workers go on")
      (t/check (string/find "not today" (process :err)) (process :err))
      (t/same before (pids port 2))
      (spit file answering)
      (:signal process :hup)
      (pids port 2 before)
      (ends process))))

(t/test "a program that does not start ends the supervisor, with the program's last words"
  (with-program "(error \"the words\")"
    (fn [file]
      (def process (serve "-b" (t/free-port) file))
      (t/same 1 (:wait process))
      (t/wait-until "its words" |(process :err-ended))
      (def [_ words] (string/split "gave up after 3 workers in a row have ended; the last one wrote:" (process :err)))
      (t/check (string/find "the words" (or words "")) (process :err)))))

(t/test "a program on net/server is told of -l kqnet/install"
  (def port (t/free-port))
  (with-program (string/format `(net/server "127.0.0.1" "%d" (fn [conn] (:close conn)))` port)
    (fn [file]
      (def process (serve "-b" port file))
      (t/same 1 (:wait process))
      (t/wait-until "its words" |(process :err-ended))
      (t/check (string/find "A program on net/server needs: kqnet-serve -l kqnet/install" (process :err)) (process :err)))))

(t/test "a worker that never takes the address is killed, and the supervisor says why"
  (with-program "(ev/sleep 1000)"
    (fn [file]
      (def process (serve "-b" (t/free-port) "--start-timeout" 0.2 file))
      (t/same true (pos? (:wait process)))
      (t/wait-until "its words" |(process :err-ended))
      (t/check (string/find "has not listened on an address of the supervisor" (process :err)) (process :err)))))

(t/test "SIGTERM lets running requests end, and SIGINT does the same"
  (each signal [:term :int]
    (with-program answering
      (fn [file]
        (def [process port] (start "-w" 2 file))
        (def slow (:send (h/client port) "GET" "/sleep"))
        # The request has arrived once another one on the same worker would have been answered.
        (pids port 2)
        (:signal process signal)
        (t/same "slept" ((:receive slow "GET") :body))
        (t/same 0 (:wait process) (process :err))))))

(t/test "TTIN adds a worker, and TTOU removes one, but not the last"
  (with-program answering
    (fn [file]
      (def [process port] (start file))
      (:signal process :ttin)
      (wait-for process "now 2 workers")
      (pids port 2)
      (:signal process :ttou)
      (wait-for process "now 1 worker\n")
      (:signal process :ttou)
      (wait-for process "now 1 worker\n" 2)
      (ask port)
      (ends process))))

(t/test "programs on kqnet/server, on net/server by -l, and on an address that they name, take the supervisor's listener"
  (def port (t/free-port))
  (each [text & options]
    [[`(import kqnet) (kqnet/server "127.0.0.1" "PORT" (fn [conn] (:write conn "raw") (:close conn)))`]
     [`(net/server "127.0.0.1" "PORT" (fn [conn] (:write conn "raw") (:close conn)))` "-l" "kqnet/install"]
     [`(import kqnet) (def l (kqnet/listen "0.0.0.0" "PORT")) (forever (def c (kqnet/accept l)) (:write c "raw") (:close c))`]]
    (with-program (string/replace "PORT" (string port) text)
      (fn [file]
        (def process (serve "-b" (string "127.0.0.1:" port) "-w" 2 ;options file))
        (wait-for process "kqnet-serve: listening on ")
        (repeat 5 (t/same "raw" (t/receive (t/connect port))))
        (:signal process :term)
        (:wait process)))))

(t/test "several addresses are all served, each by the one who asks for it"
  (def [one other] [(t/free-port) (t/scratch "s.sock")])
  (with-program (string/format
                  ```
                  (import kqnet/http)
                  (def l (http/server (fn [_] {:body "port"}) "127.0.0.1" %d))
                  (http/serve-forever (fn [_] {:body "file"}) :unix %q)
                  (:close l)
                  ```
                  one other)
    (fn [file]
      (def process (serve "-b" one "-b" (string "unix:" other) "--mode" "600" "-w" 2 file))
      (wait-for process "kqnet-serve: listening on " 2)
      (t/same "port" (ask one))
      (t/same "rw-------" (os/stat other :permissions))
      (with [conn (net/connect :unix other)]
        (:write conn "GET / HTTP/1.0\r\n\r\n")
        (t/check (string/has-suffix? "file" (t/receive conn)) "the answer"))
      (:signal process :term)
      (:wait process)
      (t/same nil (os/stat other) "the file is removed"))))

(t/test "workers end when the supervisor is killed"
  (unless (t/exists? "/proc/self/stat" :file) (t/skip "only Linux and FreeBSD tell a process that its parent has ended"))
  (with-program answering
    (fn [file]
      (def [process port] (start "-w" 2 file))
      (def before (pids port 2))
      (:signal process :kill)
      (t/wait-until "the ends of all workers" |(not (some alive? before))))))

(t/test "the service manager is told when the service is ready, and when it stops"
  (def path (t/scratch "notify"))
  (def manager (kqnet/listen :unix path :datagram))
  (defer (:close manager)
    (with-program answering
      (fn [file]
        (def process (t/start {"NOTIFY_SOCKET" path} (dyn *executable*) script "-b" (string (t/free-port)) file))
        (defn told [] (def buf @"") (net/recv-from manager 1000 buf) (string buf))
        (t/check (string/has-prefix? "READY=1\nMAINPID=" (told)) "READY=1")
        (:signal process :term)
        (t/same "STOPPING=1" (told))
        (t/same 0 (:wait process) (process :err))))))

(t/test "the end of a replacement is told to the operator and to the service manager, as is its failure"
  (def path (t/scratch "notify"))
  (def manager (kqnet/listen :unix path :datagram))
  (defer (:close manager)
    (with-program answering
      (fn [file]
        (def process (t/start {"NOTIFY_SOCKET" path} (dyn *executable*) script "-w" "2" "-b" (string (t/free-port)) file))
        (defn told [] (def buf @"") (net/recv-from manager 1000 buf) (string buf))
        (t/check (string/has-prefix? "READY=1\nMAINPID=" (told)) "READY=1")
        (:signal process :hup)
        (t/check (string/has-prefix? "RELOADING=1\nMONOTONIC_USEC=" (told)) "RELOADING=1")
        (t/same "READY=1\nSTATUS=" (told))
        (wait-for process "the workers are replaced")
        (spit file "(error \"not today\")")
        (:signal process :hup)
        (t/check (string/has-prefix? "RELOADING=1\nMONOTONIC_USEC=" (told)) "RELOADING=1")
        (t/same "READY=1\nSTATUS=the new version did not start; the old workers go on" (told))
        (:signal process :term)
        (t/same "STOPPING=1" (told))
        (t/same 0 (:wait process) (process :err))
        (t/same 1 (length (string/find-all "the workers are replaced" (process :err))) (process :err))))))

(t/test "SIGHUP while the workers end is of no use, and starts nothing"
  (def path (t/scratch "notify"))
  (def manager (kqnet/listen :unix path :datagram))
  (defer (:close manager)
    (with-program answering
      (fn [file]
        (def port (t/free-port))
        (def process (t/start {"NOTIFY_SOCKET" path} (dyn *executable*) script "-b" (string port) file))
        (defn told [] (def buf @"") (net/recv-from manager 1000 buf) (string buf))
        (t/check (string/has-prefix? "READY=1\nMAINPID=" (told)) "READY=1")
        (def slow (:send (h/client port) "GET" "/sleep"))
        (:signal process :term)
        (t/same "STOPPING=1" (told))
        (:signal process :hup)
        (t/same "slept" ((:receive slow "GET") :body))
        (:close slow)
        (t/same 0 (:wait process) (process :err))
        (t/check (not (string/find "replacing" (process :err))) (process :err))))))

(t/test "the file of --pid names the supervisor, and is removed at its end"
  (with-program answering
    (fn [file]
      (def pid-file (string file ".pid"))
      (def [process] (start "--pid" pid-file file))
      (t/same (string ((process :proc) :pid) "\n") (string (slurp pid-file)))
      (ends process)
      (t/same nil (os/stat pid-file)))))

(t/test "wrong command lines are refused in one line"
  (with-program answering
    (fn [file]
      (each [part & args]
        [["which program"]
         ["there is no program" "nowhere.janet"]
         ["there is no option" "--fast" file]
         ["an address is HOST:PORT" "-b" "localhost:http" file]
         ["an address is HOST:PORT" "-b" "1:99999" file]
         ["-w takes a whole number" "-w" "0" file]
         ["--workers takes" "--workers=two" file]
         ["--mode takes permissions" "--mode" "999" file]
         ["--mode is for the file of a unix socket" "--mode" "660" file]
         ["needs a value" "--pid"]]
        (def process (serve ;args))
        (t/same 2 (:wait process))
        (t/wait-until "its words" |(process :err-ended))
        (t/check (string/find part (process :err)) (process :err))
        (t/same 1 (length (string/find-all "\n" (process :err))) (process :err))))))

(t/test "a worker that listens on another address says so, and one that names none of several is an error"
  (def [one other] [(t/free-port) (t/free-port)])
  (with-program (string `(import kqnet/http) (http/serve-forever "x" "127.0.0.1" ` other `)`)
    (fn [file]
      (def process (serve "-b" one "--start-timeout" 0.5 file))
      (wait-for process (string "this worker listens on 127.0.0.1:" other " itself"))
      (t/check (string/find (string "which has 127.0.0.1:" one) (process :err)) (process :err))
      (:signal process :kill)))
  (with-program `(import kqnet/http) (http/serve-forever "x")`
    (fn [file]
      (def process (serve "-b" one "-b" other file))
      (t/check (pos? (:wait process)) "its status")
      (wait-for process "kqnet-serve has several addresses"))))

(t/test "an address that is taken ends it at once"
  (with [taken (net/listen "127.0.0.1" "0")]
    (with-program answering
      (fn [file]
        (def process (serve "-b" (t/port taken) file))
        (t/same 1 (:wait process))
        (t/wait-until "its words" |(process :err-ended))
        (t/check (string/find "cannot listen on 127.0.0.1:" (process :err)) (process :err))))))

(def- counting
  "A program that answers with the number of its process, and at /metrics with the figures of all workers."
  ```
  (import kqnet/http)
  (import kqnet/_native :as native)
  (defn handler [req]
    (case (req :path)
      "/exit" (os/exit 7)
      "/wait" (do (ev/sleep 1000) {:body ""})
      "/fork" (let [child (os/posix-fork)]
                (if child
                  (do (os/proc-wait child) {:body "forked"})
                  # Whatever is freed now is freed in the child.
                  (os/exit 0)))
      "/burn" (let [end (+ 0.3 (os/clock :monotonic))] (while (< (os/clock :monotonic) end)) {:body ""})
      {:body (string (native/process-id))}))
  # /wait would hold up the end for as long.
  (http/serve-forever (http/metrics handler) :drain-timeout 2)
  ```)

(defn- samples
  "The samples of a metric by worker, and :sum, in what a worker has answered."
  [text name]
  (def found @{})
  (each line (string/split "\n" text)
    (when (string/has-prefix? (string name "{") line)
      (def [worker] (t/check (peg/match '(* (thru `worker="`) '(to `"`)) line) line))
      (def value (scan-number (last (string/split " " line))))
      (put found worker (+ value (get found worker 0)))
      (put found :sum (+ value (get found :sum 0)))))
  found)

(defn- figures
  "The samples of a metric by worker, and :sum, from what any worker answers."
  [port name]
  (samples (ask port "/metrics") name))

(defn- settled-figures
  ``The same, once all earlier requests are counted. A worker counts one after it has sent the answer, and another worker may be
  asked before that.``
  [port name]
  (t/wait-until "nothing in flight but this request"
                (fn []
                  (def text (ask port "/metrics"))
                  (if (= 1 ((samples text "kqnet_http_in_flight") :sum))
                    (samples text name)))))

(defn- kept-connections
  "Opens so many connections at once, and sends a request on each. Returns them, and how many each process has."
  [port count]
  (def conns (seq [_ :range [0 count]] (t/send port "GET / HTTP/1.1\r\nHost: h\r\n\r\n")))
  (def counts @{})
  (each conn conns
    (def buf @"")
    (while (not (peg/match '(* "HTTP/1.1 200" (thru "\r\n\r\n") :d) buf))
      (t/check (:read conn 4096 buf 20) buf))
    (def pid (last (string/split "\r\n\r\n" buf)))
    (put counts pid (inc (get counts pid 0))))
  [conns counts])

(t/test "kept connections are spread over the workers"
  (with-program counting
    (fn [file]
      (def [process port] (start "-w" 4 file))
      (pids port 4)
      (repeat 3
        (def [conns counts] (kept-connections port 64))
        (t/check (<= (max ;(values counts)) 32) counts)
        (each conn conns (:close conn))
        # The connection that asks is active too.
        (t/wait-until "the ends of all connections" |(= 1 ((figures port "kqnet_active") :sum))))
      (ends process))))

(t/test "workers that are stopped, or compute, hold the others back only for a moment"
  (unless (t/exists? "/proc/self/stat" :file) (t/skip "a stopped worker would have to be found in another way"))
  (with-program counting
    (fn [file]
      (def [process port] (start "-w" 3 file))
      (def [stopped other] (pids port 3))
      (os/execute ["kill" "-STOP" stopped] :p)
      (defer (os/execute ["kill" "-CONT" stopped] :p)
        (def [conns counts] (kept-connections port 100))
        (t/same nil (counts stopped))
        (t/same 100 (sum (values counts)))
        (t/check (<= (max ;(values counts)) 80) counts)
        (each conn conns (:close conn)))
      (def busy (seq [_ :range [0 2]] (t/send port "GET /burn HTTP/1.1\r\nHost: h\r\n\r\n")))
      (def [conns counts] (kept-connections port 50))
      (t/same 50 (sum (values counts)))
      (each conn [;busy ;conns] (:close conn))
      (ends process))))

(t/test "any worker gives the figures of all, whose sum is what clients have sent"
  (with-program counting
    (fn [file]
      (def [process port] (start "-w" 3 file))
      (pids port 3)
      (def before ((settled-figures port "kqnet_http_requests_total") :sum))
      (repeat 60 (ask port))
      (repeat 3
        (h/fetch port "BREW" "/")
        (t/receive (t/send port "nonsense\r\n\r\n")))
      (def asked @[])
      (t/wait-until "all requests are counted"
                    (fn []
                      # The answers that have the earlier sums were counted after they were made.
                      (array/push asked true)
                      (def sum ((figures port "kqnet_http_requests_total") :sum))
                      (t/check (<= sum (+ before (length asked) 66)) "not more than were sent")
                      (= sum (+ before (length asked) 66))))
      (def after (figures port "kqnet_http_requests_total"))
      (t/same ["1" "2" "3"] (sorted (filter string? (keys after))))
      (t/same 3 ((figures port "kqnet_http_refused_total") :sum))
      (t/check (string/find `status="400",reason="` (ask port "/metrics")) "the reason")
      (ends process))))

(t/test "the figures go on when workers are replaced or killed, and what is no count starts again at 0"
  (with-program counting
    (fn [file]
      (def [process port] (start "-w" 2 file))
      (def before (pids port 2))
      (repeat 20 (ask port))
      (def waiting (seq [_ :range [0 6]] (t/send port "GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")))
      (t/wait-until "six requests in flight" |(= 7 ((figures port "kqnet_http_in_flight") :sum)))
      (def requests ((figures port "kqnet_http_requests_total") :sum))
      (def accepted ((figures port "kqnet_accepted_total") :sum))
      (each pid before (os/execute ["kill" "-KILL" pid] :p))
      (pids port 2 before)
      (t/wait-until "none in flight but the one that asks" |(= 1 ((figures port "kqnet_http_in_flight") :sum)))
      (t/wait-until "no connection but the one that asks" |(= 1 ((figures port "kqnet_active") :sum)))
      (t/check (> ((figures port "kqnet_http_requests_total") :sum) requests) "requests")
      (t/check (> ((figures port "kqnet_accepted_total") :sum) accepted) "connections")
      (each conn waiting (:close conn))
      (def then ((figures port "kqnet_http_requests_total") :sum))
      (def killed (pids port 2))
      (:signal process :hup)
      (pids port 2 killed)
      (t/check (> ((figures port "kqnet_http_requests_total") :sum) then) "requests after a reload")
      (ends process))))

(t/test "a child that a worker forks does not write to the worker's figures"
  (with-program counting
    (fn [file]
      (def [process port] (start file))
      (def waiting (seq [_ :range [0 3]] (t/send port "GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")))
      (t/wait-until "three requests in flight" |(= 4 ((figures port "kqnet_http_in_flight") :sum)))
      (def before ((figures port "kqnet_http_requests_total") :sum))
      (t/same "forked" (ask port "/fork"))
      (t/same 4 ((figures port "kqnet_http_in_flight") :sum))
      (t/same 4 ((figures port "kqnet_active") :sum))
      # The answers with `before`, of the fork, and of the two above.
      (t/same (+ before 4) ((figures port "kqnet_http_requests_total") :sum))
      (each conn waiting (:close conn))
      (ends process))))

(t/test "a worker that cannot use the supervisor's memory says so once, and serves"
  (def port (t/free-port))
  (with-program (string/format `(import kqnet/http) (http/serve-forever (http/metrics (fn [_] {:body "alone"})) "127.0.0.1" %d)` port)
    (fn [file]
      # As kqnet-serve of another version would start it.
      (def command
        `mkfifo "$1.pipe"; exec 5<>"$1.pipe"; exec env KQNET_WORKER="1 $PPID 60000 5 5 6 1" "$0" "$1" 6</dev/null`)
      (def process (t/start {} "sh" "-c" command (dyn *executable*) file))
      (wait-for process "cannot use the memory of the supervisor: ")
      (t/wait-until "an answer" |(= [true "alone"] (protect (ask port))))
      (t/check (string/find `kqnet_accepted_total{listener="` (ask port "/metrics")) "its own figures")
      (t/same 1 (length (string/find-all "\n" (process :err))) (process :err))
      (:signal process :term)
      (t/same 0 (:wait process) (process :err)))))

(def- rounds
  "How often something happens to the workers in the last test. A long run sets another number."
  (scan-number (or (os/getenv "KQNET_SERVE_ROUNDS") "40")))

(defn- answered?
  "Sends a request on a connection. Returns whether there was an answer: a worker may be killed before it."
  [conn]
  (def buf @"")
  (and (first (protect (:write conn "GET / HTTP/1.1\r\nHost: h\r\n\r\n")))
       (let [[ok] (protect (while (not (peg/match '(* "HTTP/1.1 200" (thru "\r\n\r\n") :d) buf))
                             (unless (:read conn 4096 buf 20) (error "closed"))))]
         ok)))

(defn- insist
  "Asks again and again, on kept connections, until `stop` is true. Each request is repeated until it is answered."
  [port stop counts]
  (var conn nil)
  (while (not (stop))
    (var done false)
    (while (not done)
      (unless conn (set conn (t/connect port)))
      (set done (answered? conn))
      (put counts (if done :answered :repeated) (inc (get counts (if done :answered :repeated) 0)))
      (when (or (not done) (zero? (% (get counts :answered 0) 50)))
        (protect (:close conn))
        (set conn nil)))
    (ev/sleep 0))
  (when conn (:close conn)))

(t/test-within 200 "each request is answered in the end, whatever happens to the workers and whenever"
  (unless (t/exists? "/proc/self/stat" :file) (t/skip "the test finds the workers by Linux's ps"))
  (with-program answering
    (fn [file]
      (def [process port] (start "-w" 3 file))
      (def supervisor ((process :proc) :pid))
      (def counts @{})
      (var stopping false)
      (def ends (ev/chan))
      (repeat 8
        (ev/go (fn [] (ev/give ends (protect (insist port (fn [] stopping) counts))))))
      (def rng (math/rng (or (scan-number (or (os/getenv "KQNET_SERVE_SEED") "")) (os/time))))
      (defn some-worker [] (let [all (workers-of supervisor)] (if (empty? all) nil (in all (math/rng-int rng (length all))))))
      (repeat rounds
        (case (math/rng-int rng 8)
          0 (:signal process :hup)
          1 (:signal process :ttin)
          2 (:signal process :ttou)
          3 (do
              (spit file "(error 1)")
              (:signal process :hup)
              (ev/sleep (* 0.2 (math/rng-uniform rng)))
              (spit file answering)
              (:signal process :hup))
          (when-let [pid (some-worker)]
            (os/execute ["kill" (in ["-KILL" "-TERM" "-ABRT"] (math/rng-int rng 3)) pid] :p)))
        # Random moments are the point of this test: nothing is expected after the wait.
        (ev/sleep (* 0.15 (math/rng-uniform rng)))
        (t/same nil (process :status) (process :err)))
      (set stopping true)
      (repeat 8 (let [[ok err] (ev/take ends)] (t/check ok err)))
      (print "      " (string/format "%q" counts))
      (t/check (> (counts :answered) (* 10 rounds)) counts)
      (ends-whatever process))))

(t/finish)
