###
### The demo: a page with a stylesheet, a module script and six images, as in janet#1560's report.
### Usage: janet demo/site.janet [port]
###

(import kqnet/http)

(def folder
  "The folder of the files."
  (string (string/join (slice (string/split "/" (dyn :current-file)) 0 -2) "/") "/public"))

(defn- uncached
  "A middleware that forbids caching, so that each reload fetches everything again."
  [nextmw]
  (fn uncached-mw [req]
    (def response (nextmw req))
    (merge response {:headers (merge (get response :headers {}) {"Cache-Control" "no-store"})})))

(def site
  "The handler of the demo."
  (uncached (http/static folder)))

(defn main
  "Serves the demo on 127.0.0.1 until the process is told to end."
  [_ &opt port]
  (http/serve-forever site "127.0.0.1" (scan-number (or port "8000"))))
