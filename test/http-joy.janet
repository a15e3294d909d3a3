###
### A joy app on kqnet/http, with the adapter of docs/migrating.md.
###
### joy is taken from the folder of modules in $JOY, or from where modules are installed.
###

(import ./support :as t)
(import ./support/http :as h)
(import ./support/markdown)

(defn- has-joy? [folder] (and folder (os/stat (string folder "/joy.janet"))))

# This comes before the stand-in for spork, which changes where modules are searched.
(def- joy-folder (find has-joy? [(os/getenv "JOY") ;(string/split ":" (or (os/getenv "JANET_PATH") "")) (dyn *syspath*)]))

(t/need-spork)

(def- app
  '[(import joy :prefix "")
    (defn home [request]
      [:h1 (string "home of " (get-in request [:session :user] "nobody"))])
    (defn form [request]
      (form-with request {:method :post :action "/sign-in"}
                 [:input {:name "user"}]))
    (defn sign-in [request]
      (-> (redirect-to :home)
          (put :session {:user (get-in request [:body :user])})))
    (defn upload [request]
      (def [part] (filter |($ :filename) (request :multipart-body)))
      (text/plain (string (part :filename) " " (part :size) " " (file/read (part :temp-file) :all))))
    (defn fail [request] (error "meant"))
    (route :get "/" :home)
    (route :get "/form" :form)
    (route :post "/sign-in" :sign-in)
    (route :post "/upload" :upload)
    (route :get "/fail" :fail)
    (def app (-> (handler)
                 (layout (fn [{:body body}] (text/html [:html [:body body]])))
                 (with-csrf-token)
                 (with-session)
                 (extra-methods)
                 (query-string)
                 (body-parser)
                 (json-body-parser)
                 (file-uploads)
                 (server-error)
                 (x-headers)
                 (static-files)
                 (not-found)))
    (def server (http/server (for-halo2 app) "127.0.0.1" 0))
    (print (last (net/localname server)))
    (flush)])

(def- adapter
  "The adapter of the docs."
  (markdown/named "for-halo2.janet" "docs/migrating.md"))

(defn- with-app
  "Runs the app and calls a function with its port."
  [f]
  (unless joy-folder (t/skip "joy is not installed, and $JOY names no folder that has it"))
  # All modules are in one folder, since older versions of Janet take no more.
  (def folder (t/scratch "joy"))
  (os/mkdir folder)
  (def names @{})
  (each from [(dyn *syspath*) joy-folder]
    (each name (os/dir from)
      (unless (names name)
        (put names name true)
        (os/symlink (os/realpath (string from "/" name)) (string folder "/" name)))))
  # joy evaluates routes in the environment of the program, and a program given with -e has none of the names.
  (def program (t/scratch "joy.janet"))
  (spit program (string adapter "\n" (t/source app)))
  (defer (do
           (os/rm program)
           (t/remove folder))
    # joy's native modules may have been built for another Janet.
    (with [process (t/start {"JANET_PATH" folder "DATABASE_URL" ""} (dyn *executable*) "-e" "(import joy)")]
      (unless (zero? (:wait process))
        (t/skip (string "this Janet cannot load joy from " joy-folder))))
    (with [process (t/start
                     {"JANET_PATH" folder "JOY_ENV" "production" "DATABASE_URL" ""
                      "ENCRYPTION_KEY" (string/repeat "0123456789abcdef" 4)}
                     (dyn *executable*) program)]
      # joy may warn about names that newer versions of Janet have too.
      (f (:port process)))))

(defn- cookie-of
  [response]
  (string "Cookie: " (first (string/split ";" (get-in response [:headers "set-cookie"])))))

(t/test "joy: a page is sent, and a path without a route gets 404"
  (with-app
    (fn [port]
      (def home (h/fetch port "GET" "/"))
      (t/same 200 (home :status))
      (t/check (string/find "home of nobody" (home :body)) (home :body))
      (t/check (get-in home [:headers "x-frame-options"]) "joy's headers")
      (t/same [404 "not found"] (let [{:status status :body body} (h/fetch port "GET" "/nowhere")] [status body]))
      (t/same [500 "Internal Server Error"] (let [{:status status :body body} (h/fetch port "GET" "/fail")] [status body])))))

(t/test "joy: a form with its CSRF token signs in and the session is kept; without the token it does not"
  (with-app
    (fn [port]
      (def page (h/fetch port "GET" "/form"))
      (t/same 200 (page :status))
      (def token (t/check (first (peg/match '(* (thru `name="__csrf-token"`) (thru `value="`) '(to `"`)) (page :body)))
                          (string "a token in " (page :body))))
      (def form "Content-Type: application/x-www-form-urlencoded")
      (def answer (h/fetch port "POST" "/sign-in" [(cookie-of page) form] (string "user=alice&__csrf-token=" token)))
      (t/same [302 "/"] [(answer :status) (get-in answer [:headers "location"])])
      (def home (h/fetch port "GET" "/" [(cookie-of answer)]))
      (t/check (string/find "home of alice" (home :body)) (home :body))
      # A proxy may pass cookies on in separate lines.
      (def home (h/fetch port "GET" "/" ["Cookie: other=1" (cookie-of answer)]))
      (t/check (string/find "home of alice" (home :body)) (home :body))
      (def refused (h/fetch port "POST" "/sign-in" [(cookie-of page) form] "user=mallory"))
      (t/same 403 (refused :status)))))

(t/test "joy: a file is uploaded as multipart/form-data"
  (with-app
    (fn [port]
      (def page (h/fetch port "GET" "/form"))
      (def token (first (peg/match '(* (thru `name="__csrf-token"`) (thru `value="`) '(to `"`)) (page :body))))
      (def body
        (string "--xyz\r\nContent-Disposition: form-data; name=\"__csrf-token\"\r\n\r\n" token "\r\n"
                "--xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n"
                "Content-Type: text/plain\r\n\r\nhello\r\n--xyz--\r\n"))
      (def answer (h/fetch port "POST" "/upload"
                           [(cookie-of page) "Content-Type: multipart/form-data; boundary=xyz"] body))
      (t/same [200 "a.txt 5 hello"] [(answer :status) (answer :body)]))))

(t/finish)
