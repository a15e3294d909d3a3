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

(defn- file? [x] (= :kqnet/file (type x)))

(defn- in-coding
  ``Returns the file to send and its coding: the precompressed copy of `file` that the client prefers, or else `file` and
  nil.``
  [{:folder folder} req path file]
  (def codings (native/file-codings (in (in req :headers) "accept-encoding")))
  (def found
    (some (fn [[coding suffix]]
            (def neighbour (native/folder-open folder (string path suffix) (in req :connection)))
            (if (file? neighbour) [neighbour coding]))
          codings))
  (when found (native/file-close file))
  (or found [file nil]))

(defn- serve-file
  "Answers GET or HEAD for an open file."
  [served req path original]
  (def {:folder folder :types types :cache-control cache-control :precompressed precompressed} served)
  (def get? (= "GET" (in req :method)))
  (def headers (in req :headers))
  (def [file coding] (if precompressed (in-coding served req path original) [original nil]))
  (def [status etag last-modified first-byte length content-length content-range]
    (native/file-answer file folder coding
                        (in headers "if-match")
                        (in headers "if-unmodified-since")
                        (in headers "if-none-match")
                        (in headers "if-modified-since")
                        (if get? (in headers "range"))
                        (in headers "if-range")))
  (def content? (or (= status 200) (= status 206)))
  (def out
    @{"ETag" etag
      "Accept-Ranges" "bytes"
      "Last-Modified" last-modified
      "Vary" (if precompressed "Accept-Encoding")
      # A 304 has it too (RFC 9110, 15.4.5).
      "Cache-Control" (if (< status 400)
                        (if (function? cache-control) (cache-control (string "/" path)) cache-control))
      "Content-Type" (if content? (types/of-file types path))
      "Content-Encoding" (if content? coding)
      "Content-Length" content-length
      "Content-Range" content-range})
  {:status status
   :headers out
   :body (if (and content? get?) (native/file-body file first-byte length) (native/file-close file))})

(defn- refuse
  "Makes the response for a file that is not served."
  [status text & headers]
  {:status status :headers (struct "Content-Type" "text/plain; charset=utf-8" ;headers) :body text})

(def- allowed "GET, HEAD, OPTIONS")

(defn- find-file
  ``Returns what there is for the route of a request: a tuple of the path of a file and the file, :redirect for a folder
  whose slash is missing from the route, the status of an error, or nil.``
  [{:folder folder :prefix prefix :index index :hidden hidden} {:route route :connection conn}]
  (when-let [below (if (string/has-prefix? prefix route) (string/slice route (length prefix)))
             [path directory?] (if (empty? below) ["" false] (native/file-path below hidden))]
    (if directory?
      (when index
        (def path (if (empty? path) index (string path "/" index)))
        (def found (native/folder-open folder path conn))
        (if (file? found) [path found] (if (number? found) found)))
      (let [found (native/folder-open folder path conn)]
        (case found
          :folder :redirect
          (if (file? found) [path found] found))))))

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
    {:folder (try (native/folder folder symlinks) ([err] (error (string who ": " err))))
     :prefix (string/trimr prefix "/")
     :index index
     :hidden hidden
     :types (if types (table/to-struct (merge types/content-types types)) types/content-types)
     :cache-control cache-control
     :precompressed precompressed})
  (def nextmw (if nextmw (handler/check who nextmw)))
  # A supervisor under --live watches it (serve/loaded.janet).
  (when-let [{:folder tell} (dyn :kqnet/loaded)] (tell folder))
  (defn static-mw [req]
    (def {:method method :route route :query-string query} req)
    (def found (if (or (= method "GET") (= method "HEAD") (not nextmw)) (find-file served req)))
    (cond
      # It is about the server, and not about a file (RFC 9110, 9.3.7).
      (and (not nextmw) (= method "OPTIONS") (= route "*")) {:status 204 :headers {"Allow" allowed}}
      (nil? found) (if nextmw (nextmw req) {:status 404 :body "Not Found"})
      (= 403 found) (refuse 403 "Forbidden")
      (= 503 found) (refuse 503 "Service Unavailable" "Retry-After" "1")
      (not (or (= method "GET") (= method "HEAD")))
      (do
        (when (tuple? found) (native/file-close (in found 1)))
        (if (= method "OPTIONS")
          {:status 204 :headers {"Allow" allowed}}
          (refuse 405 "Method Not Allowed" "Allow" allowed)))
      # The location has a single slash in front, since two would begin the name of a host.
      (= :redirect found)
      {:status 301
       :headers {"Location" (string "/" (string/trim route "/") "/" (if query "?") query)}}
      (serve-file served req (in found 0) (in found 1))))
  (if nextmw (log/wrap static-mw nextmw) static-mw))
(signature/show static [:nextmw] option-names)
