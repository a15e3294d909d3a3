###
### Writing to a connection's socket.
###

(import ../_native :as native)
(import ./errors)

(defn let-others-run
  ``Goes on in another turn of the loop. A task that is merely scheduled runs in the same one, so that a client which takes, or
  sends, everything at once would keep all other connections waiting.``
  []
  (ev/sleep 0))

(defn write
  ``Writes bytes, or what remains of a file, to the connection `http`, and waits until the system has taken them all. Raises
  an error when the client is gone, or takes less than :write-timeout allows. Begins at the index `from`, by default 0.
  Bytes must keep the length `size`, by default the one that they have now.``
  [http body &opt from size]
  (default size (if (bytes? body) (length body) 0))
  (var at (or from 0))
  (while (set at (native/http-write http body at size))
    (when (= at :gone) (error (errors/gone "the client is gone")))
    (let-others-run)))
