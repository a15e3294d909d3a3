###
### System calls per accepted connection with 64 clients, compared with core's net/server.
###

(import ./support :as t)

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

(t/finish)
