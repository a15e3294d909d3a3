###
### The servers of cargo xtask bench for accepting.
###
### They answer a byte with a byte, close, and end when their input does.
### Usage: janet bytes.janet core|kqnet PORT...
###

(defn- handler
  [conn]
  (defer (:close conn)
    (when (:read conn 1)
      (:write conn "!"))))

(defn main
  "Serves on ports of 127.0.0.1."
  [_ kind & ports]
  (def serve (if (= kind "kqnet") (get-in (require "kqnet") ['server :value]) net/server))
  (each port ports (serve "127.0.0.1" port handler))
  (def input (os/open "/dev/fd/0" :r))
  (ev/read input 1)
  (os/exit 0))
