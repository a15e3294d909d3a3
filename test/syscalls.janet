###
### System calls: for accepted connections, compared with core's net/server, for pipelined requests, and for large responses.
###

(import ./support :as t)
(import ./support/http :as h)
(t/need-spork)

(def- connections 6400)
(def- clients 64)
(def- host (os/getenv "KQNET_HOST" ""))

(defn- reason-to-skip
  []
  (cond
    (not t/linux?) "strace and epoll are Linux's"
    (string/find "asan" host) "a sanitizer makes system calls, too"
    (string/find "kqueue" host) "the emulation makes system calls, too"
    (not= :epoll (t/event-loop)) "a poll() loop is slow by design"
    (not= 0 (os/execute ["sh" "-c" "command -v strace >/dev/null 2>&1"] :p)) "strace is not installed"))

(defn- calls
  "The total in the table of strace -c."
  [table]
  (def line (find |(string/has-suffix? " total" (string/trimr $)) (string/split "\n" table)))
  (scan-number (in (filter |(not (empty? $)) (string/split " " line)) 3)))

(defn- total
  "How many system calls a server makes from start to end, if it answers this many connections."
  [whose count]
  (def table (t/scratch "strace"))
  (defer (protect (os/rm table))
    # The server ends by itself. If it does not, timeout ends strace.
    (with [server (t/start "timeout" "-k" "1" "55" "strace" "-f" "-c" "-o" table
                           (dyn *executable*) (t/program "counted") whose (string count))]
      (def port (:port server))
      (var left count)
      (t/together clients
                  (fn [_]
                    (while (pos? left)
                      (-- left)
                      (with [conn (t/connect port)]
                        (:write conn "GET / HTTP/1.1\r\n\r\n")
                        (t/check (:read conn 100) "an answer")))))
      (t/same 0 (:wait server) "exit status")
      (calls (slurp table)))))

(defn- per-connection
  "System calls for each connection, without those for starting and ending the server."
  [whose]
  (/ (- (total whose (+ connections clients)) (total whose clients)) connections))

(def- most 6.3)

(t/test "with 64 clients a connection costs at most 6.3 system calls, where core makes 8"
  (when-let [reason (reason-to-skip)] (t/skip reason))
  # On a busy machine clients write late, and the server reads in vain, so chance can only add calls.
  (var ours (per-connection "kqnet"))
  (repeat 2
    (when (> ours most) (set ours (min ours (per-connection "kqnet")))))
  (def cores (per-connection "core"))
  (printf "      kqnet %.2f, core %.2f" ours cores)
  (t/check (<= ours most) (string/format "at most %.1f, not %.2f" most ours))
  (t/check (> cores (+ ours 1.5)) "core makes one or two more"))

(defn- traced
  "The system calls of test/support/pipelined.janet while a function runs with its port, as an array of lines."
  [f]
  (def trace (t/scratch "strace"))
  (def calls "trace=epoll_wait,epoll_pwait,epoll_pwait2,sendto,sendmsg,sendfile,write,writev,setsockopt,shutdown,close")
  (defer (protect (os/rm trace))
    (with [server (t/start "timeout" "-k" "1" "55" "strace" "-o" trace "-e" calls
                           (dyn *executable*) (t/program "pipelined"))]
      (def port (:port server))
      (f port)
      (protect (t/ask port (h/request "GET" "/exit")))
      (t/same 0 (:wait server) "exit status"))
    (string/split "\n" (slurp trace))))

(def- call-grammar
  "The name of a system call, its first argument if that is a number, and the line."
  (peg/compile ~(* '(some (+ :w "_")) "(" (+ (number :d+) (constant -1)))))

(defn- held?
  "Whether a line sends something that the system may hold back."
  [line]
  (truthy? (string/find "MSG_MORE" line)))

(defn- check-pushed
  "Fails if the loop waits for events while something is held."
  [lines]
  (def held @{})
  (each line lines
    (match (peg/match call-grammar line)
      [name fd] (cond
                  (string/has-prefix? "epoll" name) (t/same [] (values held) "what is held while the loop waits")
                  (held? line) (put held fd line)
                  (and (= name "setsockopt") (not (string/find "TCP_NODELAY" line))) nil
                  (string/find "= -1" line) nil
                  (put held fd nil)))))

(defn- requests
  [& paths]
  (string ;(map |(if (string? $) (h/request "GET" $) (h/request ;$)) paths)))

(defn- pipeline
  "Sends requests for these paths in one write, and takes the responses."
  [c & paths]
  (:write (c :conn) (requests ;paths))
  (each path paths (t/same path ((:receive c "GET") :body))))

(defn- held-in-chains
  "For each chain of this many responses, which of them the system may hold back."
  [lines size]
  (partition size (map held? (filter |(string/find "HTTP/1.1 200 OK" $) lines))))

(t/test "the responses to pipelined requests are held for one another, and the first if the next handler was quick eight times"
  (when-let [reason (reason-to-skip)] (t/skip reason))
  (def attempts 60)
  (def paths ["/0" "/1" "/2" "/3" "/4" "/5"])
  (def lines
    (traced (fn [port]
              (with [c (h/client port)]
                (repeat attempts (pipeline c ;paths))))))
  (def held (held-in-chains lines (length paths)))
  (t/same attempts (length held))
  (each chain held (t/same false (last chain) "the last"))
  (each [first] (take 8 held) (t/same false first "the first, with a handler that is unknown"))
  # On a busy machine, a handler may look slow.
  (t/check (has-value? held [false true true true true false]) (string/format "all others, in %q" held))
  (t/check (has-value? held [true true true true true false]) (string/format "and then the first too, in %q" held))
  (check-pushed lines))

(t/test "the first response is not held for a handler that has waited in one of the last eight runs"
  (when-let [reason (reason-to-skip)] (t/skip reason))
  (def lines
    (traced (fn [port]
              (with [c (h/client port)]
                (repeat 52 (pipeline c "/a" "/13th-waits"))))))
  (def firsts (map first (held-in-chains lines 2)))
  (t/same 52 (length firsts))
  (eachp [index held] firsts
    (when (< (% index 13) 8) (t/same false held (string "in chain " index))))
  (t/check (has-value? firsts true) "held for a quick handler")
  (check-pushed lines))

(t/test "no response is held for a handler that was slow the last time"
  (when-let [reason (reason-to-skip)] (t/skip reason))
  (def lines
    (traced (fn [port]
              (with [c (h/client port)]
                (repeat 3 (pipeline c "/a" "/b" "/slow" "/c"))))))
  (def held (held-in-chains lines 4))
  (t/same [false false] (map |(in $ 1) (slice held 1)))
  (check-pushed lines))

(t/test "nothing is held while the loop waits, whatever handlers do"
  (when-let [reason (reason-to-skip)] (t/skip reason))
  (def lines
    (traced (fn [port]
              (each path ["/turn" "/task" "/child" "/error" "/nil" "/large" "/pieces" "/later" "/write" "/net-write" "/close"
                          "/ev-close" "/shutdown" "/detached" "/fork" "/forked" "/bad path" ["POST" "/echo" [] "text"]
                          ["POST" "/echo" ["Content-Length: 4"]] ["POST" "/a" ["Content-Length: 4"]]
                          ["POST" "/a" ["Content-Length: 99999999"]] ["GET" "/a" ["Connection: close"]]]
                (with [c (h/client port)]
                  (:write (c :conn) (requests "/a" "/b" "/c" path "/d" "/e"))
                  (def unfinished? (and (tuple? path) (= 3 (length path)) (= "POST" (first path))))
                  (each body ["/a" "/b" "/c"] (t/same body ((:receive c "GET") :body) path))
                  # Some of them close the connection.
                  (unless unfinished? (protect (:head c))))))))
  (t/check (some held? lines) "something is held")
  (check-pushed lines))

# Large responses. How often a client finds the socket full depends on its speed, so that reading and waiting are not counted.

(def- mebibyte 1048576)

(def- place (t/scratch "syscalls"))
(os/mkdir place)
(spit (string place "/large") (string/repeat "x" mebibyte))
(spit (string place "/medium") (string/repeat "x" 65536))
(spit (string place "/small") (string/repeat "x" 1000))

(defn- named
  "How often a server of the folder makes each system call from start to end, if it answers this many requests."
  [path times]
  (def table (t/scratch "strace"))
  (defer (protect (os/rm table))
    (with [server (t/start "timeout" "-k" "1" "55" "strace" "-f" "-c" "-o" table (dyn *executable*) "-e"
                           (t/source ~[(import kqnet/http)
                                       (def files (http/static ,place))
                                       (def memory (string/repeat "x" ,mebibyte))
                                       (defn served [req]
                                         (case (req :route)
                                           "/end" (os/exit 0)
                                           "/memory" {:body memory}
                                           (files req)))
                                       (def server (http/server served "127.0.0.1" 0))
                                       (print (last (net/localname server)))
                                       (flush)]))]
      (def port (:port server))
      (with [c (h/client port)]
        (repeat times (t/same 200 ((:ask c "GET" path) :status)))
        (:write (c :conn) (h/request "GET" "/end")))
      (:wait server)
      (tabseq [line :in (string/split "\n" (slurp table))
               :let [words (filter |(not (empty? $)) (string/split " " line))
                     calls (scan-number (get words 3 ""))]
               :when calls]
        (last words) calls))))

(defn- for-each
  "How many of these system calls the server makes for each request for a path."
  [path & names]
  # A file that may still be changing is read for each of its tags.
  (t/wait-until "files that are not new" |(> (- (os/time) (os/stat (string place "/small") :changed)) 3))
  (def [few many] [(named path 10) (named path 60)])
  (sum (map |(/ (- (get many $ 0) (get few $ 0)) 50) names)))

(t/test "a large file costs one call to send its head, no reading, and one call to open, look at and close it"
  (when-let [reason (reason-to-skip)] (t/skip reason))
  (each path ["/large" "/medium"]
    (def calls (for-each path "sendto" "sendmsg" "writev" "read" "pread64" "openat" "openat2" "close" "statx" "newfstatat" "fstat"))
    (printf "      %s %.2f" path calls)
    # Once a second, a call looks whether the folder was replaced.
    (t/check (<= calls 4.5) (string/format "4 calls, not %.2f" calls)))
  # A client that keeps up takes all of it at once. One that does not gets it in a few parts.
  (def sends (for-each "/medium" "sendfile" "rt_sigprocmask"))
  (t/check (<= sends 3.5) (string/format "3 calls, not %.2f" sends)))

(t/test "a small file costs one call to read it, and one to send it with its head"
  (when-let [reason (reason-to-skip)] (t/skip reason))
  (def calls (for-each "/small" "sendto" "sendmsg" "writev" "sendfile" "rt_sigprocmask" "read" "pread64"))
  (t/check (<= calls 2.1) (string/format "2 calls, not %.2f" calls)))

(t/test "a large body from memory is sent together with its head"
  (when-let [reason (reason-to-skip)] (t/skip reason))
  (def calls (for-each "/memory" "sendmsg" "sendto"))
  (printf "      %.2f" calls)
  # The client may be slower than the server, and then the rest follows.
  (t/check (<= calls 4) (string/format "at most 4 calls, not %.2f" calls)))

(t/test "a request on a kept connection is read by one call, and not by another that finds nothing"
  (when-let [reason (reason-to-skip)] (t/skip reason))
  (def calls (for-each "/small" "recvfrom"))
  (t/check (<= calls 1.3) (string/format "1 call, not %.2f" calls)))

(t/remove place)
(t/finish)
