###
### spork/http on kqnet: all of its public names, and a server with kept connections, limits, timeouts and a drain.
###

(setdyn :doc
        ``spork/http on kqnet: all of its public names, and a server of its own, `server` or `serve-forever`, with kept
        connections, limits, timeouts and a drain. The page docs/http.md explains requests and responses, and has examples.``)

(import spork/http :prefix "" :export true)
(import ./body :prefix "" :export true :only [read-body body-chunks])
(import ./cookies :prefix "" :export true :only [cookie delete-cookie set-cookie])
(import ./client :prefix "" :export true :only [client-address client-port])
(import ./ending :prefix "" :export true :only [ending draining? gone?])
(import ./events :prefix "" :export true :only [events last-event-id])
(import ./form :prefix "" :export true :only [form])
(import ./handler :prefix "" :export true :only [middleware router])
(import ./leaving :prefix "" :export true :only [cancel-when-gone gone-error?])
(import ./server :prefix "" :export true :only [server serve-forever])
(import ./log :prefix "" :export true :only [logger])
(import ./metrics :prefix "" :export true :only [metrics])
(import ./path-for :prefix "" :export true :only [path-for])
(import ./redirect :prefix "" :export true :only [redirect])
(import ./routes :prefix "" :export true :only [routes])
(import ./parts :prefix "" :export true :only [parts])
(import ./static :prefix "" :export true :only [static])
(import ./types :prefix "" :export true :only [content-types])
(import ./upload :prefix "" :export true :only [upload?])
