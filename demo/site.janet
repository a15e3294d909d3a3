###
### site.janet
###
### The demo: a page with a stylesheet and a script. Usage: janet demo/site.janet [port]
###

(import kqnet/http)

(def- folder (string (string/join (slice (string/split "/" (dyn :current-file)) 0 -2) "/") "/public/"))

(defn- file
  [name content-type]
  (def body (slurp (string folder name)))
  (fn [_] {:status 200 :headers {"Content-Type" content-type} :body body}))

(def routes
  {"/" (file "index.html" "text/html; charset=utf-8")
   "/style.css" (file "style.css" "text/css")
   "/script.js" (file "script.js" "text/javascript")})

(defn main
  "Serves the demo on 127.0.0.1 until the process is ended."
  [_ &opt port]
  (def listener (http/server (http/router routes) "127.0.0.1" (scan-number (or port "8000"))))
  (printf "http://127.0.0.1:%d/" (last (net/localname listener)))
  (flush))
