###
### Serves the files of public/, beside this one, for test/browser.janet, and prints the port.
### Usage: janet server.janet core|kept|closing
###

(def- folder
  (string (string/join (array/slice (string/split "/" (dyn *current-file*)) 0 -2) "/") "/public"))

(def- types
  {"html" "text/html" "css" "text/css" "js" "text/javascript" "svg" "image/svg+xml"})

(defn- answer
  "Answers one request, as servers on net/server do, and closes the connection."
  [conn]
  (defer (:close conn)
    (when-let [request (:read conn 16384)
               path (get (string/split " " request 0 3) 1)
               name (if (= path "/") "/index.html" path)
               body (slurp (string folder name))]
      (:write conn (string "HTTP/1.1 200 OK\r\nContent-Type: " (types (last (string/split "." name)))
                           "\r\nContent-Length: " (length body)
                           "\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n" body)))))

(defn- kqnet-server
  ``Starts kqnet/http's server. Browsers may keep their connections, or get one for each request, as from spork/http. No
  caching, so that each reload fetches everything again.``
  [& options]
  (def {'server {:value server} 'static {:value static}} (require "kqnet/http"))
  (server (static folder :cache-control "no-store") "127.0.0.1" 0 ;options))

(defn main
  [_ &opt kind]
  (when kind
    (def listener
      (case kind
        "core" (net/server "127.0.0.1" 0 answer)
        "kept" (kqnet-server)
        "closing" (kqnet-server :max-requests 1)))
    (print (last (net/localname listener)))
    (flush)))
