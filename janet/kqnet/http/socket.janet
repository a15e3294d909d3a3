###
### Writing to a connection's socket.
###

(import ../_native :as native)
(import ./errors)

(def- turn-size
  "How many bytes are read or written for a connection in one turn of the loop."
  1048576)

(def- least
  "What a read or a write counts as at least, in bytes, since even a small one takes a system call."
  1024)

(defn let-others-run
  ``Goes on in another turn of the loop. A task that is merely scheduled runs in the same one, so a client which takes or sends
  everything at once would keep all other connections waiting.``
  []
  (ev/sleep 0))

(defn turns
  ``Returns a function that is called with each number of bytes that were read or written, and lets others run when that is
  enough for one turn. Its second argument is how often something was read or written, by default once.``
  []
  (var moved 0)
  (fn [count &opt times]
    (+= moved (max count (* least (or times 1))))
    (when (>= moved turn-size)
      (set moved 0)
      (let-others-run))))

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
