###
### An echo server on net/server that does not mention kqnet, but can run on it.
### Usage: janet -l kqnet/install examples/unedited.janet [port]
###

(defn- echo
  [conn]
  (defer (:close conn)
    (while (def piece (:read conn 4096))
      (:write conn piece))))

(defn main
  [_ &opt port]
  (def listener (net/server "127.0.0.1" (or port "8000") echo))
  (print (string/join (map string (net/localname listener)) ":"))
  (flush))
