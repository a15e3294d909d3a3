###
### The servers of cargo xtask bench for HTTP.
###
### All but the bare loops give the same answers. They end when their input does.
### Usage: janet http.janet kqnet|spork|halo2|circlet|bare|bare-close|websocket PORT, or janet http.janet files FOLDER PORT
###

(def- small "hello, world")
(def- kilobyte (string/repeat "x" 1024))
(def- megabyte (string/repeat "x" (* 1024 1024)))

(defn- respond
  "The answer to a path. For /up it is the length of the body."
  [path body]
  {:status 200
   :headers {"Content-Type" "text/plain"}
   :body (case path
           "/1k" kilobyte
           "/1m" megabyte
           "/up" (string (length (or (body) "")))
           small)})

(defn- value [module name] (get-in (require module) [name :value]))

(def- hello
  "The answer to most requests is always the same, as from nginx's `return 200`."
  (respond "/" nil))

(defn- handler
  "A handler for spork/http and its like."
  [module]
  (def read-body (value module 'read-body))
  (fn [req]
    (case (req :path)
      "/" hello
      (respond (req :path) (fn [] (read-body req))))))

(def- fixed
  (string "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " (length small) "\r\n\r\n" small))

(defn- bare
  "Answers everything with the same bytes, which is as fast as Janet's streams can be."
  [conn]
  (defer (:close conn)
    (def buf (buffer/new 2048))
    (while (:read conn 2048 (buffer/clear buf))
      (:write conn fixed))))

(defn- bare-close
  [conn]
  (defer (:close conn)
    (when (:read conn 2048)
      (:write conn fixed))))

(defn- echo
  "Sends each message back."
  [socket]
  (loop [message :iterate (:read socket)]
    (:write socket message)))

(defn- websockets
  "A handler that makes every connection a websocket."
  []
  (def upgrade (value "kqnet/websocket" 'upgrade))
  (fn [req] (upgrade req echo)))

(defn- end-with-input
  []
  (def input (os/open "/dev/fd/0" :r))
  (ev/read input 1)
  (os/exit 0))

(defn main
  "Serves on a port of 127.0.0.1."
  [_ kind & arguments]
  (def port (scan-number (last arguments)))
  (unless (= kind "circlet") (ev/go end-with-input))
  (case kind
    "kqnet" ((value "kqnet/http" 'server) (handler "kqnet/http") "127.0.0.1" port :max-body (* 2 1024 1024))
    "files" (let [static (value "kqnet/http" 'static)]
              ((value "kqnet/http" 'server) (static (first arguments) :prefix "/files") "127.0.0.1" port))
    "websocket" ((value "kqnet/http" 'server) (websockets) "127.0.0.1" port)
    "spork" ((value "spork/http" 'server) (handler "spork/http") "127.0.0.1" port)
    "halo2" ((value "halo2" 'server) (fn [req] (respond (req :path) (fn [] (req :body))))
              port "127.0.0.1" (* 2 1024 1024))
    "circlet" ((value "circlet" 'server) (fn [req] (respond (req :uri) (fn [] (req :body)))) port "127.0.0.1")
    "bare" (net/server "127.0.0.1" port bare)
    "bare-close" (net/server "127.0.0.1" port bare-close)
    (errorf "no server %s" kind)))
