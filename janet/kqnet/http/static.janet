###
### Serving the files of a folder.
###

(import ../_native :as native)
(import ../options)
(import ../signature)
(import ./handler)
(import ./log)
(import ./types)

(defn- joined
  "Returns the value of a header, joined if it came in several lines, or nil."
  [headers name]
  (def value (in headers name))
  (if (array? value) (string/join value ", ") value))

(defn- file? [x] (= :kqnet/file (type x)))

(defn- in-coding
  ``Returns the file to send and its coding: the precompressed copy of `file` that the client prefers, or else `file` and
  nil.``
  [{:folder folder} req path file]
  (def codings (native/file-codings (joined (in req :headers) "accept-encoding")))
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
  (def [status etag last-modified first-byte length size]
    (native/file-answer file folder
                        {:coding coding
                         :if-match (joined headers "if-match")
                         :if-unmodified-since (joined headers "if-unmodified-since")
                         :if-none-match (joined headers "if-none-match")
                         :if-modified-since (joined headers "if-modified-since")
                         :range (if get? (joined headers "range"))
                         :if-range (joined headers "if-range")}))
  (def out @{"ETag" etag "Accept-Ranges" "bytes" "Last-Modified" last-modified})
  (when precompressed (put out "Vary" "Accept-Encoding"))
  # A 304 has it too (RFC 9110, 15.4.5).
  (when (< status 400)
    (put out "Cache-Control" (if (function? cache-control) (cache-control (string "/" path)) cache-control)))
  (def content? (or (= status 200) (= status 206)))
  (when content?
    (put out "Content-Type" (types/of-file types path))
    (put out "Content-Encoding" coding)
    (put out "Content-Length" (string/format "%.0f" length)))
  (case status
    206 (put out "Content-Range" (string/format "bytes %.0f-%.0f/%.0f" first-byte (+ first-byte length -1) size))
    416 (put out "Content-Range" (string/format "bytes */%.0f" size)))
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
  files, ETag and Last-Modified with 304 and 412, and single ranges with 206 and 416. After the folder it takes `nextmw`, a
  handler for paths that have no file. Without it they get 404.

  A path that would leave the folder by "..", an encoded slash or NUL, or that leads to something other than a plain file,
  counts as having no file. A file that may not be read is answered with 403, and a shortage of descriptors with 503.
  Other methods are left to `nextmw`. Without it, OPTIONS is answered with the methods that are allowed, and every other
  method with 405. By name:

  * :prefix - the path under which the folder is served, such as "/assets". Default "".
  * :index - the name of the file that is served for a folder. Default "index.html". False for none.
  * :symlinks - if true, follow symbolic links, which may lead out of the folder. Default false.
  * :hidden - if true, serve names that begin with a dot. Default false, with the exception of "/.well-known/".
  * :types - content types by file extension, a table or struct {"ext" "type"}, with "" for names without an extension.
    They take precedence over those in `content-types`. A file that has no type in either is "application/octet-stream".
  * :cache-control - the value of Cache-Control, or a function that is given the path of the file below the folder, such
    as "/css/site.css", and returns a value, or nil for none. Default: none.
  * :precompressed - if true, send "name.br", "name.zst" or "name.gz" from beside a file to clients that accept that
    coding. Default false. They have to be made again whenever the file changes.

  The ETag of a file of up to 1 MiB is made from its content, so that it is the same on all machines. That of a larger
  file is made from its times. Within two seconds of a change, each answer has a different one.

  The :body of a response is a buffer for a file of up to 32 KiB. For a larger file it is a `kqnet/file`, which `each`
  goes through in pieces, and which the server sends without copying. The server closes its descriptor when the response
  has ended. On any other server, `(:close body)` closes it.

  The folder may be replaced, or the link that leads to it changed, while it is served. The new folder is served within
  about a second. Raises an error for wrong options, and when there is no such folder.``
  [folder & args]
  (def {:nextmw nextmw :prefix prefix :index index :symlinks symlinks :hidden hidden
        :types types :cache-control cache-control :precompressed precompressed}
    (merge {:prefix "" :index "index.html"}
           (options/split "kqnet/http/static" [:nextmw] option-names args)))
  (def served
    {:folder (try (native/folder folder symlinks) ([err] (error (string "kqnet/http/static: " err))))
     :prefix (string/trimr prefix "/")
     :index index
     :hidden hidden
     :types (if types (table/to-struct (merge types/content-types types)) types/content-types)
     :cache-control cache-control
     :precompressed precompressed})
  (def nextmw (if nextmw (handler/check "kqnet/http/static" nextmw)))
  (defn static-mw [req]
    (def {:method method :route route :query-string query} req)
    (def found (if (or (= method "GET") (= method "HEAD") (not nextmw)) (find-file served req)))
    (cond
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
