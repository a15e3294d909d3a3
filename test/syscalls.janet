###
### syscalls.janet
###
### System calls for each accepted connection at 64 clients, with core's net/server beside it.
###

(import ./support :as t)

(def- connections 6400)
(def- clients 64)

# What a run makes before its first connection and after its last.
(def- overhead 300)

(defn- reason-to-skip
  []
  (cond
    (not= :linux (os/which)) "strace and epoll are Linux's"
    (string/find "asan" (os/getenv "KQNET_HOST" "")) "a sanitizer makes calls of its own"
    (string/find "poll" (string/replace "epoll" "" (os/getenv "KQNET_HOST" ""))) "a poll() loop is slow by design"
    (string/find "kqueue" (os/getenv "KQNET_HOST" "")) "the emulation makes calls of its own"
    (not= 0 (os/execute ["sh" "-c" "command -v strace >/dev/null 2>&1"] :p)) "strace is not installed"))

(defn- calls
  "The total of strace -c's table."
  [table]
  (def line (find |(string/has-suffix? " total" (string/trimr $)) (string/split "\n" table)))
  (scan-number (in (filter |(not (empty? $)) (string/split " " line)) 3)))

(defn- per-connection
  [whose]
  (def table (t/scratch "strace"))
  (defer (protect (os/rm table))
    # strace's own bounds: the server ends by itself, and no longer than a minute.
    (with [server (t/start "timeout" "-k" "1" "55" "strace" "-f" "-c" "-o" table
                           (dyn *executable*) (t/program "counted") whose (string connections))]
      (def port (:port server))
      (var left connections)
      (t/together clients
                  (fn [_]
                    (while (pos? left)
                      (-- left)
                      (with [conn (t/connect port)]
                        (:write conn "GET / HTTP/1.1\r\n\r\n")
                        (t/check (:read conn 100) "an answer")))))
      (t/same 0 (:wait server) "exit status")
      (/ (- (calls (slurp table)) overhead) connections))))

# Janet 1.38 to 1.41 unregister a stream before they close it: one call more, for core and for kqnet.
(def- unregisters
  (let [[_ minor] (map scan-number (peg/match '(* ':d+ "." ':d+) janet/version))]
    (<= 38 minor 41)))

(t/test "at 64 clients a connection costs at most 5.3 system calls, where core makes 8"
  (when-let [reason (reason-to-skip)] (t/skip reason))
  (def ours (per-connection "kqnet"))
  (def cores (per-connection "core"))
  (def most (if unregisters 6.3 5.3))
  (printf "      kqnet %.2f, core %.2f" ours cores)
  (t/check (<= ours most) (string/format "at most %.1f, not %.2f" most ours))
  (t/check (> cores (+ ours 2)) "core makes at least two more"))

(t/finish)
