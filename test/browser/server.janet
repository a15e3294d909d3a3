###
### Serves the demo's files for test/browser.janet, and prints the port.
### Usage: janet server.janet core|closing
###

(def- folder
  (string (string/join (array/slice (string/split "/" (dyn *current-file*)) 0 -4) "/") "/demo/public"))

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

(defn- closing
  "Starts kqnet/http's server with one connection for each request, as browsers get from spork/http."
  []
  (def {'server {:value server} 'static {:value static}} (require "kqnet/http"))
  (def files (static folder))
  (server (fn [req] (merge (files req) {:headers (merge (in (files req) :headers) {"Cache-Control" "no-store"})}))
          "127.0.0.1" 0 :max-requests 1))

(defn main
  [_ &opt kind]
  (when kind
    (def listener (if (= kind "core") (net/server "127.0.0.1" 0 answer) (closing)))
    (print (last (net/localname listener)))
    (flush)))
