###
### The program that kqnet-serve runs under --live while there is no version that starts: a page with the error.
###

(import ../_native :as native)
(import ../http)
(import ../inherited)
(import ./live)

(defn- page
  [_]
  {:status 503
   :headers {"Content-Type" "text/html; charset=utf-8"}
   :body "<!doctype html><title>Does not start</title><p>The program does not start. This page loads it once it does."})

(defn main [&]
  (def handler (live/wrap page (native/process-id)))
  # With several, `http/serve-forever` takes none by itself, and opens an address of its own.
  (def [listener & others] (inherited/take-all))
  (each other others (http/server handler :listener other))
  (http/serve-forever handler :listener listener)
  # The other servers would keep the process.
  (os/exit 0))
