###
### http.janet
###
### spork/http on kqnet: all of its public names, with the server replaced.
###

(import spork/http :prefix "" :export true)
(import ./init :as kqnet)

(defn server
  ``Makes a simple HTTP server. By default it binds to 0.0.0.0:8000. Returns the listener, whose
  closing stops it. As `spork/http`'s server, on `kqnet/server`.``
  [handler &opt host port]
  (default host "0.0.0.0")
  (default port 8000)
  (kqnet/server host port (fn http-connection [conn] (server-handler conn handler))))
