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

(defn- event
  []
  (string/format "data: %.0f seconds since 1970, %d watching\n\n" (os/time) watching))

(defn- events
  [req]
  {:status 200
   :headers {"Content-Type" "text/event-stream" "Cache-Control" "no-store"}
   # Each piece that the fiber yields is sent at once. When the client is gone, the fiber is cancelled,
   # which runs the `defer`. When the server drains, the fiber ends by itself.
   :body (coro
           (++ watching)
           (defer (-- watching)
             (while (not (http/draining? req))
               (yield (event))
               (ev/sleep 1))))})

(def- routes
  {"/" (fn [_] {:status 200 :headers {"Content-Type" "text/html; charset=utf-8"} :body page})
   "/events" events})

(defn main
  [_ &opt port]
  (http/serve-forever (http/router routes) "127.0.0.1" (scan-number (or port "8000")) :drain-timeout 5))
