###
### The experiment that shows janet#1560: does a server answer bursts of connections?
###

(import ./crowd)

(def- burst-size 20)
(def- most-bursts 10)

(def- beats
  "How many bytes the server must answer to another client before clients without an answer count as forgotten."
  200)

(def- least "The shortest wait for an answer, in seconds." 0.3)

(defn- answer
  "A handler: answers each byte with a byte."
  [conn]
  (defer (:close conn)
    (while (:read conn 1) (:write conn "!"))))

(defn answered
  ``Sends bursts of connections to a server in this process, until one is not answered whole. `serve` is net/server or
  kqnet/server. Returns the sums of what `crowd/answered` returns.

  One client is connected before the bursts. That the server goes on answering it shows that its event loop turns,
  that the kernel gives it events, and that the network has delivered what the clients sent before.``
  [serve]
  (def listener (serve "127.0.0.1" 0 answer))
  (defer (:close listener)
    (def [host port] (net/localname listener))
    (with [known (net/connect host port)]
      (defn beat []
        (:write known "?")
        (unless (ev/with-deadline crowd/longest (:read known 1))
          (error "the server closed a connection that it had answered")))
      (beat)
      (def sums @{:clients 0 :connected 0 :answered 0})
      (repeat most-bursts
        (def found (crowd/answered burst-size host port beat beats least))
        (eachp [key n] found (+= (sums key) n))
        (when (< (found :answered) (found :clients)) (break)))
      (table/to-struct sums))))
