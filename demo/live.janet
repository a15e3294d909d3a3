###
### What changes while a page is open: new entries and statistics by an event stream, and who is writing by a WebSocket.
###

(import kqnet)
(import kqnet/http)
(import kqnet/websocket)
(import ./entries)
(import ./page)

(var- requests 0)

(defn counting
  "A middleware that counts requests."
  [nextmw]
  (fn [req]
    (++ requests)
    (nextmw req)))

(def- readers
  "The functions that send an event to an open page, as keys."
  @{})

(defn- entry-event
  "The id tells an interrupted page, when it connects again, where it has to go on."
  [entry]
  {:event "entry" :id (string (entry :id)) :data (page/entry entry)})

(defn- statistics-event
  "The statistics as JSON. All values are numbers, so nothing has to be escaped."
  []
  (def {:accepted accepted :active active :batches batches :largest-batch largest} (first (kqnet/stats)))
  {:event "statistics"
   :data (string/format `{"readers": %d, "requests": %d, "accepted": %d, "active": %d, "batches": %d, "largest": %d}`
                        (length readers) requests accepted active batches largest)})

(defn announce
  "Sends an entry to all open pages."
  [entry]
  (each send (keys readers) (send (entry-event entry))))

(defn- last-seen
  "The id of the newest entry that a page has: from before an interruption, or else from when it was made."
  [req]
  (def given (or (http/last-event-id req) (get-in req [:query "after"])))
  # Both come from the client, so they may be anything.
  (or (and (string? given) (scan-number given)) 0))

(defn events
  "The handler of the event stream."
  [req]
  (def seen (last-seen req))
  (http/events req
               (fn [send]
                 (each entry (entries/after seen) (send (entry-event entry)))
                 (put readers send true)
                 # The client is gone, or the server drains: either cancels this task, which runs the defer.
                 (defer (put readers send nil)
                   (forever
                     (send (statistics-event))
                     (ev/sleep 1))))
               :retry 1
               # A page that reads too slowly is cut off, so that the others need not wait. It connects again.
               :when-full :end
               :queue (* 2 entries/most)))

(def- writers
  "The channels of the pages that have a WebSocket, as keys."
  @{})

(defn- tell-others
  [inbox name]
  (eachk other writers
    (unless (or (= other inbox) (ev/full other)) (ev/give other name))))

(defn- talk
  "Each page sends the name of its visitor while they write. All other pages get it."
  [ws]
  (def inbox (ev/chan 10))
  (put writers inbox true)
  (defer (put writers inbox nil)
    (var here true)
    (while here
      (def [_ from message] (ev/select inbox (ws :incoming)))
      (cond
        (= from inbox) (:write ws message)
        (string? message) (tell-others inbox message)
        (set here false)))))

(defn writing
  "The handler of the WebSocket."
  [req]
  (websocket/upgrade req talk :max-message 160))
