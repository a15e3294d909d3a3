###
### The server of cargo xtask burst, which answers a byte with a byte.
### Usage: janet server.janet core|kqnet
###

(defn- handler
  [conn]
  (defer (:close conn)
    (when (:read conn 1)
      (:write conn "!"))))

(defn main
  "Serves on a free port of 127.0.0.1, which it prints, until the process is ended."
  [_ kind]
  (def serve (if (= kind "kqnet") (get-in (require "kqnet") ['server :value]) net/server))
  (def listener (serve "127.0.0.1" 0 handler))
  # Accepting starts in the first turn of the loop, with one accept that no event caused. A burst that came before that
  # would get one more answer.
  (ev/sleep 0)
  (print (last (net/localname listener)))
  (flush))
