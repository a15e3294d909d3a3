###
### A crowd of clients of the guest book's own server, all at once: more than it may have at a time.
###

(def size "How many clients there are. More than the server's :max-connections, so that some have to wait." 400)

(def- stay "How many seconds each client stays after it was answered." 0.4)

(var- here false)

(defn- client [host port]
  (with [conn (net/connect host (string port))]
    (:write conn "GET /ping HTTP/1.1\r\nHost: demo\r\n\r\n")
    (def answer (:read conn 1024))
    (ev/sleep stay)
    (and answer (string/has-prefix? "HTTP/1.1 200" answer))))

(defn send
  ``Sends the crowd to a port of this machine, and returns how many of it were answered and how many seconds that took. Returns
  nil, and does nothing, while another crowd is here.``
  [host port]
  (unless here
    (set here true)
    (defer (set here false)
      (def began (os/clock :monotonic))
      (def outcomes (ev/chan size))
      (repeat size
        (ev/go (fn [] (ev/give outcomes (try (client host port) ([_] false))))))
      [(count truthy? (seq [_ :range [0 size]] (ev/take outcomes)))
       (- (os/clock :monotonic) began)])))
