###
### One of the two servers to which the demo sends bursts: on core's net/server, or on kqnet/server.
### Usage: janet side-server.janet core|kqnet
###
### Prints its port, the version of Janet, and the kernel that decides. Then it reads commands from its standard input: `busy`
### keeps it busy for a while, as a handler that computes does, and `count` prints what it has accepted. It ends when its input
### ends, so it never outlives the demo.
###

(def- busy "Seconds." 0.4)

(var- accepted 0)

(def- body "Answered.\n")

(def- response
  (string "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " (length body)
          "\r\nConnection: close\r\n\r\n" body))

(defn- answer [conn]
  (++ accepted)
  (defer (:close conn)
    (when (:read conn 4096) (:write conn response))))

(defn- say [& words]
  (print (string/join (map string words) " "))
  (flush))

(defn- obey
  "Does what a command says."
  [command stats]
  (case command
    "busy" (do
             (say "busy")
             # Nothing else runs in this process in the meantime.
             (os/sleep busy))
    "count" (say accepted ;(stats))))

(defn main
  "Serves on a free port of 127.0.0.1 until the standard input ends."
  [_ kind]
  (def kqnet (if (= kind "kqnet") (require "kqnet")))
  (def serve (if kqnet (get-in kqnet ['server :value]) net/server))
  (def listener (serve "127.0.0.1" 0 answer))
  (defn stats []
    (if kqnet
      (let [{:batches batches :largest-batch largest} ((get-in kqnet ['stats :value]) listener)] [batches largest])
      []))
  (def commands (os/open "/dev/stdin" :r))
  # Accepting begins in the first turn of the loop.
  (ev/sleep 0)
  (say (last (net/localname listener)) janet/version (os/getenv "KQUEUE_EMU_KERNEL" (os/which)))
  (def text @"")
  (while (ev/read commands 64 text)
    (while (def end (string/find "\n" text))
      (def command (string/slice text 0 end))
      (def rest (string/slice text (inc end)))
      (buffer/clear text)
      (buffer/push text rest)
      (obey command stats)))
  (os/exit 0))
