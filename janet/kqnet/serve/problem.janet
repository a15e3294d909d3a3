###
### The program that kqnet-serve runs under --live while there is no version that starts: a page with the error.
###

(import ../http)

(defn- page
  [_]
  {:status 503
   :headers {"Content-Type" "text/html; charset=utf-8"}
   :body "<!doctype html><title>Does not start</title><p>The program does not start. This page loads it once it does."})

(defn main [&] (http/serve-forever page))
