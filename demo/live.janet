###
### What changes while a page is open: entries, statistics and bursts by an event stream, and who is writing by a WebSocket.
###

(import kqnet/http)
(import kqnet/websocket)
(import ./bursts)
(import ./entries)
(import ./json)
(import ./page)
(import ./statistics)

(def- readers
  "The functions that send an event to an open page, as keys."
  @{})

(defn- entry-event
  "The id tells an interrupted page, when it connects again, where it has to go on."
  [entry]
  {:event "entry" :id (string (entry :id)) :data (page/entry entry)})

(defn- event [kind value] {:event kind :data (json/write value)})

(defn- tell
  "Sends an event to all open pages."
  [event]
  (each send (keys readers) (send event)))

(defn announce
  "Sends an entry to all open pages."
  [entry]
  (tell (entry-event entry)))

(var- shown nil)

(defn show-bursts
  "Sends what has become of the bursts to all open pages, if it has changed."
  []
  (def state (json/write (bursts/state)))
  (unless (= state shown)
    (set shown state)
    (tell {:event "bursts" :data state})))

(defn pulse
  "Sends the statistics to all open pages, again and again."
  []
  (forever
    (when-let [sample (statistics/take-one (length readers))]
      (tell (event "statistics" sample)))
    (show-bursts)
    (ev/sleep statistics/interval)))

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
                 (send (event "history" (statistics/last-minute)))
                 (send (event "bursts" (bursts/state)))
                 (put readers send true)
                 # The client is gone, or the server drains: either cancels this task, which runs the defer.
                 (defer (put readers send nil)
                   (ev/take (ev/chan))))
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
