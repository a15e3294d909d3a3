###
### The demo: a guest book whose open pages show new entries, who is writing, and the server's statistics.
### Usage: janet demo/site.janet [port] [folder]
###
### The entries are kept in the folder, by default guest-book in the current one. Beside this file:
### entries.janet keeps them, page.janet makes the HTML, live.janet has the event stream and the WebSocket,
### and public/ has the stylesheet and the script. Without JavaScript, the form and the entries work as well.
###

(import kqnet/http)
(import ./entries)
(import ./live)
(import ./page)

(def- public
  "The folder of the stylesheet and the script."
  (string (string/join (slice (string/split "/" (dyn :current-file)) 0 -2) "/") "/public"))

(def- max-picture "In bytes." (* 256 1024))
(def- max-text "In bytes. The form allows 1000 characters, of up to 4 bytes." 4000)
(def- max-name "In bytes, of 40 characters." 160)

(defn- html [status body]
  {:status status :headers {"Content-Type" "text/html; charset=utf-8" "Cache-Control" "no-store"} :body body})

(defn- problem [status text] (html status (page/message "That did not work" text)))

# A cookie has only plain characters, and a name may have any.

(defn- encode [text]
  (string (peg/replace-all '(if-not :w 1) |(string/format "%%%02X" (first $)) text)))

(defn- decode [text]
  (string (peg/replace-all '(* "%" (2 :h)) |(string/from-bytes (scan-number (string/slice $ 1) 16)) text)))

(defn- visitor
  "The name that the visitor has given before."
  [req]
  (decode (or (http/cookie req "name") "")))

# The pages.

(defn- show-book [req]
  (html 200 (page/book (entries/newest-first) (entries/newest-id) (visitor req))))

(defn- show-entry [{:params {:id id}}]
  (if-let [entry (entries/with-id (scan-number id))]
    (html 200 (page/one-entry entry))
    (problem 404 "There is no such entry, or it has made room for newer ones.")))

(defn- picture-ending
  "What the name of a picture ends with. Its content decides, since a client can call anything a picture."
  [picture]
  (match (peg/match '(+ (* "\x89PNG\r\n\x1a\n" (constant ".png"))
                        (* "\xff\xd8\xff" (constant ".jpg"))
                        (* "GIF8" (constant ".gif"))
                        (* "RIFF" 4 "WEBP" (constant ".webp")))
                    (or (:read picture 12) ""))
    [ending] ending))

(defn- field
  "The value of a field that should be a text, without spaces around it. A client may send a file, or several values."
  [form name]
  (def value (form name))
  (if (string? value) (string/trim value) ""))

(defn- add-entry [req]
  (def form (http/form req :max-fields 10 :max-field max-text :max-files 1 :max-file max-picture))
  (def name (field form "name"))
  (def text (field form "text"))
  (def picture (if (http/upload? (form "picture")) (form "picture")))
  (def ending (if picture (picture-ending picture)))
  (cond
    (or (empty? name) (empty? text)) (problem 422 "An entry needs a name and some words.")
    (> (length name) max-name) (problem 422 "The name is too long.")
    (and picture (not ending)) (problem 415 "The picture is none of PNG, JPEG, GIF and WebP.")
    (let [entry (entries/add name text ending (if picture |(:save picture $)))]
      (live/announce entry)
      # After 303, reloading the page does not post the entry again.
      (-> (http/redirect (string "/#entry-" (entry :id)))
          (http/set-cookie "name" (encode name) :max-age (* 365 24 3600))))))

# Middleware.

(defn- same-origin
  ``Refuses forms that were sent from pages of other sites. Browsers say in Origin which site a POST comes from. The cookie
  needs no such check: it is SameSite=Lax, so these requests would not have it.``
  [nextmw]
  (fn [req]
    (def {"origin" origin "host" host} (req :headers))
    (if (or (nil? origin) (and (string? origin) (string/has-suffix? (string "://" host) origin)))
      (nextmw req)
      (problem 403 "This form was sent from another site."))))

(defn- explaining
  "Answers what `http/form` refuses with a page. Without this, the reason would be plain text."
  [nextmw]
  (fn [req]
    (try
      (nextmw req)
      ([err fiber]
        (match err
          [:kqnet/reject status reason] (problem status (string "The server says: " reason "."))
          (propagate err fiber))))))

(defn- careful
  "Has browsers load only what comes from this server, and take files only for what they are said to be."
  [nextmw]
  (fn [req]
    (def response (nextmw req))
    (merge response
           {:headers (merge (get response :headers {})
                            {"Content-Security-Policy" "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
                             "X-Content-Type-Options" "nosniff"})})))

(defn- app []
  (-> (problem 404 "There is no such page.")
      (http/routes
        [["" [careful]
          [:get "/" show-book]
          [:get "/assets/*" (http/static public :prefix "/assets" :cache-control "no-cache")]
          [:get "/pictures/*" (http/static (entries/pictures) :prefix "/pictures" :cache-control "max-age=86400")]
          ["/entries" [same-origin explaining]
           [:post "/" add-entry]
           [:get "/:id" show-entry]]]
         [:get "/events" live/events]
         [:get "/writing" live/writing]
         [:get "/ping" "pong\n"]])
      (live/counting)
      (http/metrics)
      (http/logger)))

(defn main
  "Serves the guest book on 127.0.0.1 until the process is told to end."
  [_ &opt port folder]
  (entries/open (or folder "guest-book"))
  (http/serve-forever (app) "127.0.0.1" (scan-number (or port "8000"))
                      # Beyond this, the server refuses a request without asking the handler. A picture that is too large
                      # should reach the handler, which answers with a page. It reads no more than its own limits.
                      :max-body (* 64 1024 1024)
                      :drain-timeout 5))
