###
### http/static.janet
###
### Serving the files of a folder.
###

(import ../_native :as native)
(import ../options)
(import ./handler)
(import ./log)

(def content-types
  "Content types by the end of a file's name."
  {"avif" "image/avif" "css" "text/css; charset=utf-8" "csv" "text/csv; charset=utf-8"
   "gif" "image/gif" "gz" "application/gzip" "htm" "text/html; charset=utf-8"
   "html" "text/html; charset=utf-8" "ico" "image/x-icon" "jpeg" "image/jpeg" "jpg" "image/jpeg"
   "js" "text/javascript; charset=utf-8" "json" "application/json" "map" "application/json"
   "md" "text/markdown; charset=utf-8" "mjs" "text/javascript; charset=utf-8" "mp3" "audio/mpeg"
   "mp4" "video/mp4" "ogg" "audio/ogg" "otf" "font/otf" "pdf" "application/pdf" "png" "image/png"
   "svg" "image/svg+xml" "tar" "application/x-tar" "ttf" "font/ttf" "txt" "text/plain; charset=utf-8"
   "wasm" "application/wasm" "wav" "audio/wav" "webm" "video/webm" "webp" "image/webp"
   "woff" "font/woff" "woff2" "font/woff2" "xml" "application/xml" "zip" "application/zip"})

(defn- content-type
  [path]
  (def name (last (string/split "/" path)))
  (def dot (last (string/find-all "." name)))
  (get content-types (if dot (string/ascii-lower (string/slice name (inc dot)))) "application/octet-stream"))

(defn- through-link?
  "Whether a symbolic link is on the way from a folder to a path below it."
  [folder path]
  (var at folder)
  (some (fn [part]
          (set at (string at "/" part))
          (= :link (os/lstat at :mode)))
        (string/split "/" path)))

(defn- file-pieces
  "A part of a file, as a fiber that yields it piece by piece."
  [path first-byte size]
  # Opened at once: where that fails, the response has not begun.
  (def f (file/open path :rbn))
  (coro
    (defer (file/close f)
      (file/seek f :set first-byte)
      (var left size)
      (while (pos? left)
        (def piece (file/read f (min left 65536)))
        (unless piece (error (string path " became shorter while it was sent")))
        (-= left (length piece))
        (yield piece)))))

(defn- joined
  [headers name]
  (def value (in headers name))
  (if (array? value) (string/join value ", ") value))

(defn- serve-file
  [req path {:size size :modified modified}]
  (def method (in req :method))
  (def headers (in req :headers))
  (def [etag last-modified] (native/file-tags size modified))
  (def [status first-byte last-byte]
    (native/file-answer true etag modified size
                        (joined headers "if-match") (joined headers "if-unmodified-since")
                        (joined headers "if-none-match") (joined headers "if-modified-since")
                        (if (= method "GET") (joined headers "range")) (joined headers "if-range")))
  (def always {"ETag" etag "Last-Modified" last-modified "Accept-Ranges" "bytes"})
  (defn part [status first-byte length extra]
    {:status status
     :headers (merge always {"Content-Type" (content-type path) "Content-Length" (string length)} extra)
     :body (if (= method "GET") (if (zero? length) "" (file-pieces path first-byte length)))})
  (case status
    200 (part 200 0 size {})
    206 (part 206 first-byte (inc (- last-byte first-byte))
              {"Content-Range" (string/format "bytes %.0f-%.0f/%.0f" first-byte last-byte size)})
    416 {:status 416 :headers (merge always {"Content-Range" (string/format "bytes */%.0f" size)})}
    {:status status :headers always}))

(defn static
  ``Creates a middleware that serves the files of a folder, for GET and HEAD: content types, index
  files, ETag and Last-Modified with 304 and 412, single ranges with 206 and 416; large files are
  not read whole. After the folder it takes `nextmw`, a handler for paths that have no file, which
  get 404 without one; so do those that would leave the folder by "..", an encoded slash, or NUL.
  By name:

  * :prefix - the path below which the folder is served, such as "/assets". Default "".
  * :index - the file that stands for a folder. Default "index.html"; false for none.
  * :symlinks - follow symbolic links, which may lead out of the folder. Default false.
  * :hidden - serve names that begin with a dot. Default false.``
  [folder & args]
  (def {:nextmw nextmw :prefix prefix :index index :symlinks symlinks :hidden hidden}
    (merge {:prefix "" :index "index.html"}
           (options/split "kqnet/http/static" [:nextmw] [:prefix :index :symlinks :hidden] args)))
  (def root (try (os/realpath folder) ([_] "")))
  (unless (= :directory (os/stat root :mode))
    (errorf "kqnet/http/static: no folder %q" folder))
  (def prefix (string/trimr prefix "/"))
  (def nextmw (if nextmw (handler/check "kqnet/http/static" nextmw)))
  (defn plain? [path] (or symlinks (not (through-link? root path))))
  (defn find-file
    "The path and stat of the file for a route, or :redirect for a folder that lacks its slash."
    [route]
    (when-let [below (if (string/has-prefix? prefix route) (string/slice route (length prefix)))
               [path directory?] (if (empty? below) ["" false] (native/file-path below hidden))
               stat (if (plain? path) (os/stat (string root "/" path)))]
      (case (stat :mode)
        :file (unless directory? [(string root "/" path) stat])
        :directory (if-not directory?
                     :redirect
                     (when-let [path (if index (string path (if (empty? path) "" "/") index))
                                stat (if (plain? path) (os/stat (string root "/" path)))]
                       (if (= :file (stat :mode)) [(string root "/" path) stat]))))))
  (defn static-mw [req]
    (def {:method method :route route :query-string query} req)
    (match (if (has-value? ["GET" "HEAD"] method) (find-file route))
      # With one slash in front: two would begin the name of a host.
      :redirect {:status 301
                 :headers {"Location" (string "/" (string/trim route "/") "/" (if query "?") query)}}
      [path stat] (serve-file req path stat)
      _ (if nextmw (nextmw req) {:status 404 :body "Not Found"})))
  (if nextmw (log/wrap static-mw nextmw) static-mw))
