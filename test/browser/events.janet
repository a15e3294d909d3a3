###
### Serves a page that shows the events of a stream, for test/browser.janet. The stream goes on from the last id.
### Usage: janet events.janet PORT
###

(import kqnet/http)
(import kqnet/_native :as native)

(def- page
  ```
  <!doctype html>
  <title>Events</title>
  <ol id="events"></ol>
  <script>
    new EventSource("/events").addEventListener("count", (event) => {
      const item = document.createElement("li");
      item.textContent = event.lastEventId + " " + event.data;
      document.getElementById("events").append(item);
    });
  </script>
  ```)

(defn- count-on
  [req]
  (http/events req
               (fn [send]
                 (var id (scan-number (or (http/last-event-id req) "0")))
                 (forever
                   (send {:id (string (++ id)) :event "count" :data (string "from\n" (native/process-id))})
                   (ev/sleep 0.05)))
               :retry 0.05))

(defn main
  [_ &opt port]
  (when port
    (http/serve-forever
      (http/router {"/" {:headers {"Content-Type" "text/html; charset=utf-8"} :body page}
                    "/events" count-on})
      "127.0.0.1" (scan-number port) :drain-timeout 1)))
