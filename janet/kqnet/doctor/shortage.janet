###
### The experiment with too few descriptors: does a server go on, and what does it cost?
###

(import ./crowd)

(def descriptors "How many descriptors the server may have open." 40)
(def- clients 60)
(def- beats "How many signs of life without an answer mean that no more answers will come." 30)

(def- program
  ``A program that serves until its input ends. Each line of its output is the port, a sign of life, or at the end the
  seconds of processor time that it used.``
  ```
  (import kqnet)
  (defn say [& parts] (print ;parts) (flush))
  (defn handler [conn] (defer (:close conn) (:read conn 1) (ev/sleep 0.2) (:write conn "!")))
  (def serve (if (= "core" (os/getenv "KQNET_DOCTOR")) net/server kqnet/server))
  (def listener (serve "127.0.0.1" 0 handler))
  (say (last (net/localname listener)))
  (def input (os/open "/dev/fd/0" :r))
  (def start (os/clock :cputime))
  (ev/go (fn alive [] (forever (ev/sleep 0.05) (say "alive"))))
  (ev/read input 1)
  (say (string/format "%.3f" (- (os/clock :cputime) start)))
  (os/exit 0)
  ```)

(defn- lines
  "Makes a function that returns the next line of a stream, or nil at its end."
  [stream]
  (def read @"")
  (fn next-line []
    (var end (string/find "\n" read))
    (while (and (not end) (ev/with-deadline crowd/longest (ev/read stream 256 read)))
      (set end (string/find "\n" read)))
    (when end
      (def line (string (buffer/slice read 0 end)))
      (def rest (buffer/slice read (inc end)))
      (buffer/clear read)
      (buffer/push read rest)
      line)))

(defn answered
  ``Runs more clients than a server in a process of its own has descriptors. `kind` is "core" for net/server, or
  "kqnet". Returns what `crowd/answered` returns, and :cpu, the seconds of processor time that the server used.``
  [kind]
  (def command (string "ulimit -n " descriptors ` && exec "$0" "$@"`))
  (def process
    (os/spawn ["/bin/sh" "-c" command (dyn :executable "janet") "-e" program] :pe
              (merge (os/environ) {"JANET_PATH" (dyn :syspath) "KQNET_DOCTOR" kind}
                     {:in :pipe :out :pipe :err :pipe})))
  (defer (do (protect (os/proc-kill process true)) (protect (:close process)))
    (def next-line (lines (process :out)))
    (defn needed [] (or (next-line) (error "the server with few descriptors ended by itself")))
    (def port (scan-number (needed)))
    (def found (crowd/answered clients "127.0.0.1" port needed beats 0))
    (:close (process :in))
    (var line (needed))
    (while (= "alive" line) (set line (needed)))
    (merge found {:cpu (scan-number line)})))
