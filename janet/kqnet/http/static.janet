###
### Serving the files of a folder.
###

(import ../_native :as native)
(import ../options)
(import ../show)
(import ../signature)
(import ./handler)
(import ./log)
(import ./types)

(def- who "kqnet/http/static")

(defn- folder-first
  "Returns the arguments of `static` with the folder in front, in whichever order the folder and the next handler came."
  [args]
  (def [one other] args)
  (cond
    (bytes? one)
    (if-not (keyword? one) args
      (error (string who ": the path of a folder or the next handler must come before the options, got " (show/value one))))
    (nil? one)
    (error (string who ": the first argument must be the path of a folder or the next handler, got nil"))
    (and (bytes? other) (not (keyword? other)))
    [other one ;(slice args 2)]
    (error (string who ": the path of a folder must come before or after the next handler, "
                   (if (= 1 (length args)) "but there is none" (string "got " (show/value other)))
                   "; the next handler is " (show/value one)))))

(defn- with-cache-control
  "Returns a response with the header for which there is a function. `found` is what `native/file-response` returned."
  [control found]
  (if (tuple? found)
    (let [[response path] found]
      (put-in response [:headers "Cache-Control"] (control path)))
    found))

(def- option-names [:prefix :index :symlinks :hidden :types :cache-control :precompressed])

(defn static
  ``Creates a middleware that serves the files of `folder`, the path of a folder, for GET and HEAD: content types, index
  files, ETag and Last-Modified with 304 and 412, and single ranges with 206 and 416. Before or after the folder it takes
  `nextmw`, a handler for paths that have no file. Without it they get 404. So
  `(static nextmw "public" :index false)` and `(-> nextmw (static "public" :index false))` are the same as
  `(static "public" nextmw :index false)`. Of two strings, the first is the folder.

  A path that would leave the folder by "..", an encoded slash or NUL, or that leads to something other than a plain file,
  counts as having no file. A file that may not be read is answered with 403, and a shortage of descriptors with 503.
  Other methods are left to `nextmw`. Without it, OPTIONS is answered with the methods that are allowed, also "OPTIONS *",
  and every other method with 405. By name:

  * :prefix - the path under which the folder is served, such as "/assets". Default "".
  * :index - the name of the file that is served for a folder. Default "index.html". False for none.
  * :symlinks - if true, follow symbolic links, which may lead out of the folder. Default false.
  * :hidden - if true, serve names that begin with a dot. Default false, with the exception of "/.well-known/".
  * :types - content types by file extension, a table or struct `{"ext" "type"}`, with "" for names without an extension.
    They take precedence over those in `content-types`. A file that has no type in either is "application/octet-stream".
  * :cache-control - the value of Cache-Control, or a function that is given the path of the file below the folder, such
    as "/css/site.css", and returns a value, or nil for none. Default: none.
  * :precompressed - if true, send "name.br", "name.zst" or "name.gz" from beside a file to clients that accept that
    coding. Default false. They have to be made again whenever the file changes.

  The ETag of a file of up to 1 MiB is made from its content, so that it is the same on all machines. That of a larger
  file is made from its times. Within two seconds of a change, each answer has a different one.

  The :body of a response is a buffer for a file of up to 4 KiB. For a larger file it is a `kqnet/file`, which `each`
  goes through in pieces, and which the server sends without copying. The server closes its descriptor when the response
  has ended. On any other server, `(:close body)` closes it.

  The folder may be replaced, or the link that leads to it changed, while it is served. The new folder is served within
  about a second. Raises an error for wrong options, when no path of a folder is given, and when there is no such folder.``
  [folder & args]
  (def [folder & args] (folder-first [folder ;args]))
  (def {:nextmw nextmw :prefix prefix :index index :symlinks symlinks :hidden hidden
        :types types :cache-control cache-control :precompressed precompressed}
    (merge {:prefix "" :index "index.html"}
           (options/split who [:nextmw] option-names args)))
  (def served
    (try (native/folder folder {:symlinks symlinks :prefix (string/trimr prefix "/") :index index :hidden hidden
                                :types (if types (merge types/content-types types) types/content-types)
                                :cache-control cache-control :precompressed precompressed
                                :last (not nextmw)})
      ([err] (error (string who ": " err)))))
  (def nextmw (if nextmw (handler/check who nextmw)))
  # A supervisor under --live watches it (serve/loaded.janet).
  (when-let [{:folder tell} (dyn :kqnet/loaded)] (tell folder))
  (def missing (or nextmw (fn [_] {:status 404 :body "Not Found"})))
  (def control (if (function? cache-control) cache-control))
  (defn static-mw [req]
    (if-let [found (native/file-response served req)]
      (if control (with-cache-control control found) found)
      (missing req)))
  (if nextmw (log/wrap static-mw nextmw) static-mw))
(signature/show static [:nextmw] option-names)
