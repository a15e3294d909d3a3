###
### The demo: live statistics, bursts of clients to two servers, and a guest book.
### Usage: janet demo/site.janet [port] [folder]
###
### The entries of the guest book are kept in the folder, by default guest-book in the current one. `cargo xtask serve` also says in
### $KQNET_DEMO_JANET which Janet the two servers run on, in $KQNET_DEMO_MODULES where that finds kqnet, or else in
### $KQNET_DEMO_WITHOUT why there is none.
###
### Beside this file: entries.janet keeps the entries. bursts.janet starts the two servers, which are side-server.janet, and sends them
### bursts; crowd.janet sends one to this server. statistics.janet samples what this server does. live.janet tells open pages about all
### of it. page.janet, panels.janet and html.janet make the HTML, json.janet the JSON, and public/ has the stylesheet and the
### scripts. Without JavaScript, the guest book and the bursts work as well.
###

(import kqnet)
(import kqnet/http)
(import ./bursts)
(import ./crowd)
(import ./entries)
(import ./html)
(import ./json)
(import ./live)
(import ./page)
(import ./statistics)

(def- folder
  "The folder of this file."
  (string/join (slice (string/split "/" (dyn :current-file)) 0 -2) "/"))

(def- max-clients
  "How many clients the server takes at a time. Fewer than crowd.janet sends, to show what happens then."
  256)

(def- max-picture "In bytes." (* 256 1024))
(def- max-text "In bytes. The form allows 1000 characters, of up to 4 bytes." 4000)
(def- max-name "In bytes, of 40 characters." 160)

(defn- page [status body]
  {:status status :headers {"Content-Type" "text/html; charset=utf-8" "Cache-Control" "no-store"} :body body})

(defn- problem [status text] (page status (html/message "That did not work" text)))

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

(defn- show-front [req]
  (page 200 (page/front (bursts/state) (bursts/reason) (entries/newest-first) (entries/newest-id) (visitor req))))

(defn- show-entry [{:params {:id id}}]
  (if-let [entry (entries/with-id (scan-number id))]
    (page 200 (page/one-entry entry))
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

(defn- send-burst [_]
  (if (bursts/send live/show-bursts)
    (http/redirect "/#bursts")
    (problem 409 "The servers cannot take a burst now. Wait for the last one, or start them again.")))

(defn- restart [_]
  (if (bursts/restart live/show-bursts)
    (http/redirect "/#bursts")
    (problem 409 "There is a burst just now. Try again when it is over.")))

(defn- own-port []
  (last (peg/match '(some (+ (* ":" (number :d+) -1) 1)) ((first (kqnet/stats)) :address))))

(defn- send-crowd [_]
  (if-let [[answered seconds] (crowd/send "127.0.0.1" (own-port))]
    {:status 200 :headers {"Content-Type" "application/json"}
     :body (json/write {"clients" crowd/size "answered" answered "seconds" seconds})}
    (problem 409 "There is a crowd already.")))

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

(def- notes
  "The page that explains the bursts."
  {:headers {"Content-Type" "text/plain; charset=utf-8"} :body (slurp (string folder "/../docs/kqueue.md"))})

(defn- app []
  (-> (problem 404 "There is no such page.")
      (http/routes
        [["" [careful]
          [:get "/" show-front]
          [:get "/assets/*" (http/static (string folder "/public") :prefix "/assets" :cache-control "no-cache")]
          [:get "/pictures/*" (http/static (entries/pictures) :prefix "/pictures" :cache-control "max-age=86400")]
          ["/entries" [same-origin explaining]
           [:post "/" add-entry]
           [:get "/:id" show-entry]]
          ["" [same-origin]
           [:post "/bursts" send-burst]
           [:post "/bursts/restart" restart]
           [:post "/crowd" send-crowd]]
          [:get "/kqueue.md" notes]]
         [:get "/events" live/events]
         [:get "/writing" live/writing]
         [:get "/ping" "pong\n"]])
      (statistics/counting)
      (http/metrics)
      # A line for each of hundreds of requests would say nothing.
      (http/logger :out |(unless (string/find " /ping" $) (do (prin $) (flush))))))

(defn- with-pulse
  "Calls a function while open pages are told what happens."
  [f]
  # With a channel of its own, nothing is printed when it is cancelled.
  (def pulse (ev/go live/pulse nil (ev/chan 1)))
  (defer (ev/cancel pulse "the demo ends")
    (f)))

(defn main
  "Serves the demo on 127.0.0.1 until the process is told to end."
  [_ &opt port folder]
  (entries/open (or folder "guest-book"))
  (bursts/open (os/getenv "KQNET_DEMO_JANET") (os/getenv "KQNET_DEMO_MODULES") (os/getenv "KQNET_DEMO_WITHOUT"))
  (defer (bursts/close)
    (with-pulse
      (fn []
        (http/serve-forever (app) "127.0.0.1" (scan-number (or port "8000"))
                            :max-connections max-clients
                            # Beyond this, the server refuses a request without asking the handler. A picture that is too large
                            # should reach the handler, which answers with a page. It reads no more than its own limits.
                            :max-body (* 64 1024 1024)
                            :drain-timeout 5)))))
