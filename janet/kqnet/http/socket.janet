###
### Writing to a connection's socket.
###

(import ../_native :as native)
(import ./errors)

(defn write
  ``Writes bytes to the connection `http`, and waits until the system has taken them all. Raises an error when the
  client is gone, or takes less than :write-timeout allows. Begins at the index `from`, by default 0.``
  [http bytes &opt from]
  (var at (or from 0))
  (while (set at (native/http-write http bytes at))
    (when (= at :gone) (error (errors/gone "the client is gone")))))
