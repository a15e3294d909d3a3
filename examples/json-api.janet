###
### A router with JSON in and out, on spork/json: notes that can be listed and added.
### Usage: janet examples/json-api.janet [port]
###
###   curl -d '{"text": "buy milk"}' http://127.0.0.1:8000/notes
###   curl http://127.0.0.1:8000/notes
###

(import spork/json)
(import kqnet/http)

(def- notes @[])

(defn- reply
  [status value]
  {:status status :headers {"Content-Type" "application/json"} :body (json/encode value)})

(defn- list-notes
  [_]
  (reply 200 notes))

(defn- add-note
  [req]
  # Not inside the try: the server answers the errors of read-body itself, with 413 or 408.
  (def body (http/read-body req))
  (def note (try (json/decode (or body "") true) ([_] nil)))
  (match note
    {:text (text (string? text))}
    (let [added {:id (inc (length notes)) :text text}]
      (array/push notes added)
      (reply 201 added))
    (reply 400 {:error `expected an object like {"text": "buy milk"}`})))

(defn- by-method
  "Makes a handler from a table of handlers, one for each method."
  [handlers]
  (fn [req]
    (def method (if (= "HEAD" (req :method)) "GET" (req :method)))
    (if-let [handler (handlers method)]
      (handler req)
      {:status 405 :headers {"Allow" (string/join (sort (keys handlers)) ", ")}})))

(def- routes
  {"/notes" (by-method {"GET" list-notes "POST" add-note})
   :default (reply 404 {:error "no such route"})})

(defn main
  [_ &opt port]
  (http/serve-forever (http/router routes) "127.0.0.1" (scan-number (or port "8000"))))
