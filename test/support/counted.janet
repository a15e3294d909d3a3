###
### A server that ends after a number of connections, for counting what each costs. It prints its port.
### Usage: janet counted.janet core|kqnet CONNECTIONS
###

# This import makes kqnet importable.
(import ./init :as t)
(import kqnet)

(def- reply "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

(defn main
  [_ &opt whose count]
  (when whose
    (var left (scan-number count))
    (def serve (in {"core" net/server "kqnet" kqnet/server} whose))
    (def listener
      (serve "127.0.0.1" 0
             (fn [conn]
               (def buf @"")
               (:read conn 1024 buf)
               (:write conn reply)
               (:close conn)
               (when (zero? (-- left)) (os/exit 0)))))
    (print (last (net/localname listener)))
    (flush)))
