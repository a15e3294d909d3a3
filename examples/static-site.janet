###
### Serves a folder of files, with caching, ranges, a page for paths that do not exist, and a log.
###
### The files have content types and index files, and are cached by ETag and Last-Modified.
### Usage: janet examples/static-site.janet FOLDER [port]
###

(import kqnet/http)

(defn- not-found
  [_]
  {:status 404
   :headers {"Content-Type" "text/html; charset=utf-8"}
   :body "<!doctype html><title>Not found</title><p>There is no such page. <a href=\"/\">Start here.</a>"})

(defn main
  [_ folder &opt port]
  (def site (http/static folder not-found))
  (http/serve-forever (http/logger site :format :common) "127.0.0.1" (scan-number (or port "8000"))))
