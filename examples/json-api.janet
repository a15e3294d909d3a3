###
### Routes with JSON in and out, on spork/json: notes that can be listed, shown and added.
### Usage: janet examples/json-api.janet [port]
###
###   curl -d '{"text": "buy milk"}' http://127.0.0.1:8000/notes
###   curl http://127.0.0.1:8000/notes
###   curl http://127.0.0.1:8000/notes/1
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

(defn- show-note
  [{:params {:id id}}]
  (if-let [note (find |(= id (string ($ :id))) notes)]
    (reply 200 note)
    (reply 404 {:error "no such note"})))

(def- app
  (http/routes
    [[:get "/notes" list-notes]
     [:post "/notes" add-note]
     [:get "/notes/:id" show-note]]
    (reply 404 {:error "no such route"})))

(defn main
  [_ &opt port]
  (http/serve-forever app "127.0.0.1" (scan-number (or port "8000"))))
