###
### A server on a unix socket, behind a reverse proxy on the same machine.
###
### docs/deployment.md has the configurations of nginx and HAProxy for it.
### Usage: janet examples/unix-socket.janet [path]
###

(import kqnet/http)

(defn- who
  "The client's address, from the proxy's header: the connection itself always comes from the proxy."
  [req]
  (get-in req [:headers "x-forwarded-for"] "unknown client"))

(defn- handler
  [req]
  {:status 200 :headers {"Content-Type" "text/plain"} :body (string "Hello, " (who req) "!\n")})

(defn main
  [_ &opt path]
  # The mode lets the proxy connect when it runs as a member of this program's group.
  (http/serve-forever handler :unix (or path "app.sock") :mode 8r660))
