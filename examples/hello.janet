###
### The smallest server.
### Usage: janet examples/hello.janet [port]
###

(import kqnet/http)

(defn- hello
  [_]
  {:status 200 :headers {"Content-Type" "text/plain"} :body "Hello, world!\n"})

(defn main
  [_ &opt port]
  (http/serve-forever (http/router {"/" hello}) "127.0.0.1" (scan-number (or port "8000"))))
