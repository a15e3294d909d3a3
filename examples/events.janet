###
### Server-sent events: a page that shows the time and the number of its viewers, once a second.
### Usage: janet examples/events.janet [port]
###

(import kqnet/http)

(def- page
  ```
  <!doctype html>
  <title>Events</title>
  <p id="now">Waiting.</p>
  <script>
    new EventSource("/events").onmessage = (event) => {
      document.getElementById("now").textContent = event.data;
    };
  </script>
  ```)

(var- watching 0)

(defn- tell-time
  "Sends the time once a second. When the client is gone, or the server drains, this is cancelled, which runs the `defer`."
  [send]
  (++ watching)
  (defer (-- watching)
    (forever
      (send (string/format "%.0f seconds since 1970, %d watching" (os/time) watching))
      (ev/sleep 1))))

(def- routes
  {"/" (fn [_] {:status 200 :headers {"Content-Type" "text/html; charset=utf-8"} :body page})
   "/events" (fn [req] (http/events req tell-time))})

(defn main
  [_ &opt port]
  (http/serve-forever (http/router routes) "127.0.0.1" (scan-number (or port "8000")) :drain-timeout 5))
