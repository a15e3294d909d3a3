###
### unix-socket.janet
###
### A server on a unix socket, for a reverse proxy on the same machine: docs/deployment.md has the
### configuration of nginx and haproxy that goes with it.
### Usage: janet examples/unix-socket.janet [path]
###

(import kqnet/http)

(defn- who
  "The client, as the proxy tells it: the connection itself is always the proxy's."
  [req]
  (get-in req [:headers "x-forwarded-for"] "nobody that a proxy names"))

(defn- handler
  [req]
  {:status 200 :headers {"Content-Type" "text/plain"} :body (string "Hello, " (who req) "!\n")})

(defn main
  [_ &opt path]
  # The mode lets the proxy connect when it runs as a member of this program's group.
  (http/serve-forever handler :unix (or path "app.sock") :mode 8r660))
