###
### A server for the tests that need one in a process of its own.
###
### Usage: janet server.janet core|kqnet WAY, where WAY is server, accept-loop or accept. It prints its port. It answers
### "descriptors" with the number that it has, ends on "end", and answers anything else with a fixed reply.
###

(import ./init :as t)
(import kqnet)

(def- reply "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

(defn- descriptors
  []
  (gccollect)
  # Without the connection that asks.
  (string (dec (t/descriptors))))

(defn- handler
  "Reads, writes a fixed reply, and closes."
  [conn]
  (def request (:read conn 1024))
  (def text (string request))
  (:write conn (if (= "descriptors" text) (descriptors) reply))
  (:close conn)
  (when (= "end" text) (os/exit 0)))

(def- core
  {"server" (fn [] (net/server "127.0.0.1" 0 handler))
   "accept-loop" (fn []
                   (def l (net/listen "127.0.0.1" 0))
                   (ev/go (fn [] (net/accept-loop l handler)))
                   l)
   "accept" (fn []
              (def l (net/listen "127.0.0.1" 0))
              (ev/go (fn [] (while (def conn (net/accept l)) (ev/go handler conn))))
              l)})

(def- ours
  {"server" (fn [] (kqnet/server "127.0.0.1" 0 handler))
   "accept-loop" (fn []
                   (def l (kqnet/listen "127.0.0.1" 0))
                   (ev/go (fn [] (kqnet/accept-loop l handler)))
                   l)
   "accept" (fn []
              (def l (kqnet/listen "127.0.0.1" 0))
              (ev/go (fn [] (while (def conn (kqnet/accept l)) (ev/go handler conn))))
              l)})

(defn main
  [_ &opt whose way]
  (when way
    (def listener ((in ({"core" core "kqnet" ours} whose) way)))
    (print (last (net/localname listener)))
    (flush)))
