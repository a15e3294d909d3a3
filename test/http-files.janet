###
### Files that kqnet/http serves: which are found, their headers, parts of them, and no way out of the folder.
###

(import ./support :as t)
(import ./support/http :as h)
(t/need-spork)
(import kqnet)
(import kqnet/http)

(def- host "127.0.0.1")

# A folder of files, and beside it what must not be served.

(def- place (t/scratch "files"))
(def- root (string place "/public"))
(def- outside (string place "/private"))

(defn- in-root [name] (string root "/" name))

(defn- make
  "Makes a file below the folder."
  [name content]
  (def parts (string/split "/" name))
  (for i 1 (length parts)
    (os/mkdir (in-root (string/join (slice parts 0 i) "/"))))
  (spit (in-root name) content)
  (in-root name))

(each folder [place root outside (string place "/public-too")] (os/mkdir folder))

(def- text "0123456789abcdefghijklmnopqrstuvwxyz")
(def- text-file (make "a.txt" text))
# Sun, 09 Sep 2001 01:46:40 GMT
(def- modified 1000000000)
(os/touch text-file modified modified)

(make "index.html" "<title>root</title>")
(make "sub/index.html" "<title>sub</title>")
(make "sub/page.html" "<title>page</title>")
(make "bare/home.htm" "<title>home</title>")
(make "empty" "")
(make "with space.txt" "space")
(make "per%cent.txt" "percent")
(make "pl+us.txt" "plus")
(make "\xC3\xBC.txt" "utf-8")
(def- latin?
  "Whether the file system accepts names that are not UTF-8."
  (first (protect (make "\xFC.txt" "latin-1"))))
(make "%2e%2e/name.txt" "percent signs")
(make "..dots.txt" "dots")
(make ".hidden.txt" "hidden")
(make ".folder/file.txt" "hidden")
(make "sub/.hidden" "hidden")

(spit (string outside "/secret.txt") "secret")
(spit (string outside "/index.html") "secret")
(spit (string place "/secret.txt") "secret")
(spit (string place "/public-too/secret.txt") "secret")
(os/symlink (string outside "/secret.txt") (in-root "link.txt"))
(os/symlink outside (in-root "linked"))
(os/symlink text-file (in-root "inner.txt"))
(os/symlink "index.html" (in-root "sub/inner.html"))
(os/symlink "loop" (in-root "loop"))
(os/symlink "nowhere" (in-root "dangling"))
(os/mkdir (in-root "linked-index"))
(os/symlink (string outside "/secret.txt") (in-root "linked-index/index.html"))
(os/symlink root (string place "/way-in"))
(os/execute ["mkfifo" (in-root "pipe")] :p)

(defn- serve [& args] (http/server (http/static ;args) host 0))

(def- plain (serve root))
(def- open (serve root nil :symlinks true :hidden true))

(defn- get-file [path & headers] (h/fetch plain "GET" path headers))

(def- not-found [404 "Not Found"])

# Finding files.

(t/test "a file is sent with its content and headers"
  (def {:status status :headers headers :body body} (get-file "/a.txt"))
  (t/same [200 text] [status body])
  (t/check (headers "date") "a date")
  (def tag (headers "etag"))
  (t/check (peg/match '(* `"24-` (repeat 32 :h) `"` -1) tag) tag)
  (t/same @{"content-type" "text/plain; charset=utf-8"
            "content-length" "36"
            "etag" tag
            "last-modified" "Sun, 09 Sep 2001 01:46:40 GMT"
            "accept-ranges" "bytes"
            "connection" "close"}
          (put headers "date" nil)))

(t/test "an empty file is sent"
  (def {:status status :headers headers :body body} (get-file "/empty"))
  (t/same [200 "" "0"] [status body (headers "content-length")]))

(t/test "a folder's index is sent for the folder"
  (t/same [200 "<title>root</title>"] (h/brief (get-file "/")))
  (t/same [200 "<title>sub</title>"] (h/brief (get-file "/sub/")))
  (t/same "text/html; charset=utf-8" (((get-file "/") :headers) "content-type")))

(t/test "the index may have another name, or be switched off"
  (with [server (serve root nil :index "home.htm")]
    (t/same [200 "<title>home</title>"] (h/brief (h/fetch server "GET" "/bare/")))
    (t/same not-found (h/brief (h/fetch server "GET" "/sub/"))))
  (with [server (serve root nil :index false)]
    (t/same not-found (h/brief (h/fetch server "GET" "/")))
    (t/same not-found (h/brief (h/fetch server "GET" "/sub/")))
    (t/same [200 "<title>page</title>"] (h/brief (h/fetch server "GET" "/sub/page.html")))))

(t/test "a folder without an index is not found"
  (t/same not-found (h/brief (get-file "/bare/"))))

(t/test "a folder without a slash at its end is redirected to the path where its links work"
  (defn location [path]
    (def {:status status :headers headers} (get-file path))
    [status (headers "location")])
  (t/same [301 "/sub/"] (location "/sub"))
  (t/same [301 "/sub/?a=b&c"] (location "/sub?a=b&c"))
  (t/same [301 "/%73ub/"] (location "/%73ub"))
  (t/same [301 "/sub/"] (location "http://other/sub")))

(t/test "a redirect does not lead to another host"
  # A browser would take //sub/ for a host.
  (each path ["//sub" "///sub" "/.//sub" "http://h//sub"]
    (def {:status status :headers headers} (get-file path))
    (when (= status 301)
      (t/check (not (string/has-prefix? "//" (headers "location")))
               (string "a path, not " (headers "location"))))))

(t/test "a file with a slash at its end is not found"
  (t/same not-found (h/brief (get-file "/a.txt/")))
  (t/same not-found (h/brief (get-file "/a.txt/b"))))

(t/test "names with other characters are found, encoded or not"
  (each [path body] [["/with%20space.txt" "space"]
                     ["/per%25cent.txt" "percent"]
                     ["/pl+us.txt" "plus"]
                     ["/pl%2Bus.txt" "plus"]
                     ["/%C3%BC.txt" "utf-8"]
                     ["/%c3%bc.txt" "utf-8"]
                     ;(if latin? [["/%FC.txt" "latin-1"]] [])
                     ["/%61.txt" text]
                     ["/%252e%252e/name.txt" "percent signs"]
                     ["//a.txt" text]
                     ["/./a.txt" text]
                     ["/sub//./page.html" "<title>page</title>"]
                     ["/a.txt?query" text]
                     ["http://h/a.txt" text]]
    (t/same [200 body] (h/brief (get-file path)) path)))

(t/test "content types follow file extensions"
  (each [name content-type]
    [["t.html" "text/html; charset=utf-8"] ["t.HTM" "text/html; charset=utf-8"]
     ["t.css" "text/css; charset=utf-8"] ["t.js" "text/javascript; charset=utf-8"]
     ["t.mjs" "text/javascript; charset=utf-8"] ["t.json" "application/json"]
     ["t.svg" "image/svg+xml"] ["t.png" "image/png"] ["t.Jpeg" "image/jpeg"]
     ["t.woff2" "font/woff2"] ["t.wasm" "application/wasm"] ["t.pdf" "application/pdf"]
     ["t.min.js" "text/javascript; charset=utf-8"] ["t.tar.gz" "application/gzip"]
     ["t.unknown" "application/octet-stream"] ["t." "application/octet-stream"]
     ["html" "application/octet-stream"] ["t.d/css" "application/octet-stream"]]
    (make name "content")
    (t/same content-type (((get-file (string "/" name)) :headers) "content-type") name)))

(t/test "what is not a file is not found"
  (each path ["/nowhere" "/sub/nowhere" "/nowhere/index.html" "/pipe" "/dangling" "/loop"]
    (t/same not-found (h/brief (get-file path)) path)))

(t/test "HEAD gets the same head, and no body"
  (each path ["/a.txt" "/" "/empty" "/nowhere" "/sub"]
    (def get (get-file path))
    (def head (h/fetch plain "HEAD" path))
    (each response [get head] (put (response :headers) "date" nil))
    (t/same [(get :status) (get :headers) ""] [(head :status) (head :headers) (head :body)] path)))

(t/test "other methods on a file get 405 with the methods that exist; OPTIONS gets these, too"
  (each path ["/a.txt" "/" "/sub/" "/sub"]
    (each method ["POST" "PUT" "DELETE" "PATCH" "get"]
      (def {:status status :headers headers} (h/fetch plain method path))
      (t/same [405 "GET, HEAD, OPTIONS"] [status (headers "allow")] (string method " " path)))
    (def {:status status :headers headers} (h/fetch plain "OPTIONS" path))
    (t/same [204 "GET, HEAD, OPTIONS"] [status (headers "allow")] path))
  (each method ["POST" "OPTIONS"]
    (each path ["/nowhere" "/bare/" "/link.txt" "/.hidden.txt"]
      (t/same not-found (h/brief (h/fetch plain method path)) (string method " " path))))
  (let [{:status status :headers headers} (h/fetch plain "OPTIONS" "*")]
    (t/same [204 "GET, HEAD, OPTIONS"] [status (headers "allow")] "the server")))

(t/test "several files are sent on one connection"
  (with [c (h/client plain)]
    (repeat 3
      (t/same [200 text] (h/brief (:ask c "GET" "/a.txt")))
      (t/same [200 ""] (h/brief (:ask c "HEAD" "/a.txt")))
      (t/same [206 "23"] (h/brief (:ask c "GET" "/a.txt" ["Range: bytes=2-3"])))
      (t/same not-found (h/brief (:ask c "GET" "/nowhere")))
      (t/same [200 ""] (h/brief (:ask c "GET" "/empty"))))))

# What the client has already got.

(def- tag (((get-file "/a.txt") :headers) "etag"))

(defn- each-case
  "Asks for the text file with these headers, and compares statuses."
  [method cases]
  (each [status & headers] cases
    (def response (h/fetch plain method "/a.txt" headers))
    (t/same status (response :status) (string/join headers ", "))
    (t/same (if (and (= method "GET") (= status 200)) text "") (response :body))
    (t/same tag ((response :headers) "etag"))))

(t/test "If-None-Match gives 304 if a tag matches"
  (each method ["GET" "HEAD"]
    (each-case method
               [[304 (string "If-None-Match: " tag)]
                [304 (string "If-None-Match: W/" tag)]
                [304 (string `If-None-Match: "other", ` tag)]
                [304 `If-None-Match: "other"` (string "If-None-Match: " tag)]
                [304 "If-None-Match: *"]
                [200 `If-None-Match: "other"`]
                [200 (string "If-None-Match: " (string/slice tag 1 -2))]
                [200 "If-None-Match:"]])))

(t/test "If-Modified-Since gives 304 if the file is not newer"
  (each method ["GET" "HEAD"]
    (each-case method
               [[304 "If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT"]
                [304 "If-Modified-Since: Sun, 09 Sep 2001 01:46:41 GMT"]
                [304 "If-Modified-Since: Sunday, 09-Sep-01 01:46:40 GMT"]
                [304 "If-Modified-Since: Sun Sep  9 01:46:40 2001"]
                [200 "If-Modified-Since: Sun, 09 Sep 2001 01:46:39 GMT"]
                [200 "If-Modified-Since: yesterday"]
                [200 "If-Modified-Since: 1000000000"]
                # If both headers are given, the tag decides.
                [200 `If-None-Match: "other"` "If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT"]
                [304 (string "If-None-Match: " tag) "If-Modified-Since: Sun, 09 Sep 2001 01:46:39 GMT"]])))

(t/test "If-Match and If-Unmodified-Since give 412 if they do not hold"
  (each-case "GET"
             [[200 (string "If-Match: " tag)]
              [200 "If-Match: *"]
              [412 `If-Match: "other"`]
              [412 (string "If-Match: W/" tag)]
              [200 "If-Unmodified-Since: Sun, 09 Sep 2001 01:46:40 GMT"]
              [412 "If-Unmodified-Since: Sun, 09 Sep 2001 01:46:39 GMT"]
              [200 "If-Unmodified-Since: yesterday"]
              [304 (string "If-Match: " tag) (string "If-None-Match: " tag)]]))

# When a file has changed.

(defn- dated
  "Makes a new file with this content and time, and gives it the name of an existing one."
  [name content time]
  (make "new" content)
  (when time (os/touch (in-root "new") time time))
  (os/rename (in-root "new") (in-root name)))

(defn- seen
  "What a client may keep of a file: its content, tag and date."
  [path]
  (def {:body body :headers headers} (get-file path))
  {:body body :tag (headers "etag") :date (headers "last-modified")})

(defn- revalidate
  "Asks again, with a conditional header."
  [path name value]
  (def {:status status :body body} (get-file path (string name ": " value)))
  [status body])

(t/test "a file that was replaced by one of equal size is never taken for the old one"
  # The dates are from the system, Nix, reproducible images, zip, npm, before 1970, the future, and an archive.
  (each time [nil 0 1 315532800 499162500 -86400 4102444800 modified]
    (dated "versions.txt" "content 000" time)
    (for i 1 20
      (def before (seen "/versions.txt"))
      (def now (string/format "content %03d" i))
      (dated "versions.txt" now time)
      (t/same [200 now] (revalidate "/versions.txt" "If-None-Match" (before :tag)) (string "by tag, dated " time))
      (t/same [200 now] (revalidate "/versions.txt" "Range: bytes=0-3\r\nIf-Range" (before :tag))
              (string "a part, dated " time))
      # If an archive sets the date, a client without tags cannot see the difference.
      (unless (or (= time modified) (nil? (before :date)))
        (t/same [200 now] (revalidate "/versions.txt" "If-Modified-Since" (before :date))
                (string "by date " (before :date) ", dated " time))))))

(t/test "a file that was written to in place is never taken for the old one"
  (make "versions.txt" "content 000")
  (for i 1 50
    (def before (seen "/versions.txt"))
    (def now (string/format "content %03d" i))
    (spit (in-root "versions.txt") now)
    (t/same [200 now] (revalidate "/versions.txt" "If-None-Match" (before :tag)) "by tag")
    (t/same [200 now] (revalidate "/versions.txt" "If-Modified-Since" (before :date)) "by date")))

(t/test "a large file that was replaced is never taken for the old one, and an unchanged one gets a lasting tag in the end"
  (defn content [i] (string (string/repeat "x" (* 1024 1024)) (string/format "%03d" i)))
  (def times [nil 0 modified])
  (defn name [i] (string "versions-" i ".bin"))
  (defn path [i] (string "/" (name i)))
  (eachp [file time] times
    (dated (name file) (content 0) time)
    (for i 1 4
      (def before (seen (path file)))
      (dated (name file) (content i) time)
      (t/same 200 (first (revalidate (path file) "If-None-Match" (before :tag))) (string "dated " time))))
  # A tag lasts two seconds after the last change, so all files wait at the same time.
  (t/wait-until "tags that last"
                (fn []
                  (all |(= 304 (first (revalidate (path $) "If-None-Match" ((seen (path $)) :tag)))) (keys times))))
  (eachp [file time] times
    (def before (seen (path file)))
    (dated (name file) (content 9) time)
    (t/same 200 (first (revalidate (path file) "If-None-Match" (before :tag))) (string "later, dated " time))))

(t/test "the same content has the same tag, whenever and wherever it was written"
  (make "copy/a.txt" text)
  (def copied (seen "/copy/a.txt"))
  (t/same tag (copied :tag))
  (os/touch (in-root "copy/a.txt") 1 1)
  (t/same tag ((seen "/copy/a.txt") :tag))
  (t/same 304 (first (revalidate "/copy/a.txt" "If-None-Match" tag))))

(defn- seconds
  "The seconds since 1970 of an HTTP date."
  [date]
  (def [day month year h m s]
    (peg/match ~(* (3 :a) ", " (number (2 :d)) " " '(3 :a) " " (number (4 :d)) " "
                   (number (2 :d)) ":" (number (2 :d)) ":" (number (2 :d)) " GMT") date))
  (def months ["Jan" "Feb" "Mar" "Apr" "May" "Jun" "Jul" "Aug" "Sep" "Oct" "Nov" "Dec"])
  (os/mktime {:year year :month (index-of month months) :month-day (dec day) :hours h :minutes m :seconds s}))

(t/test "Last-Modified is never later than Date, and is left out if the file's date means nothing"
  (each time [nil 4102444800 253402300800 modified]
    (dated "dated.txt" "dated" time)
    (def {:status status :headers {"last-modified" date "date" now}} (get-file "/dated.txt"))
    (t/same 200 status)
    (t/check (<= (seconds date) (seconds now)) (string/format "%s is not after %s" date now)))
  (each time [-86400 -1 0 1]
    (dated "dated.txt" "dated" time)
    (each method ["GET" "HEAD"]
      (def {:status status :headers headers} (h/fetch plain method "/dated.txt"))
      (t/same [200 nil] [status (headers "last-modified")] (string method ", dated " time)))
    # A file without a date always counts as modified.
    (t/same [200 "dated"] (revalidate "/dated.txt" "If-Modified-Since" "Fri, 31 Dec 9999 23:59:59 GMT"))
    (t/same [200 "dated"] (revalidate "/dated.txt" "If-Modified-Since" "Thu, 01 Jan 1970 00:00:01 GMT"))))

# Parts of files.

(defn- part
  "Status, Content-Range, Content-Length and body of the answer for a part of the text file."
  [& headers]
  (def {:status status :headers {"content-range" range "content-length" size} :body body}
    (get-file "/a.txt" ;headers))
  [status range size body])

(def- whole [200 nil "36" text])

(t/test "Range gives parts"
  (each [range first last]
    [["0-0" 0 0] ["0-4" 0 4] ["10-19" 10 19] ["35-35" 35 35]
     ["0-" 0 35] ["30-" 30 35] ["0-35" 0 35] ["30-36" 30 35] ["30-99999999999999999999" 30 35]
     ["-1" 35 35] ["-6" 30 35] ["-36" 0 35] ["-37" 0 35] ["-99999999999999999999" 0 35]
     ["000005-06" 5 6] ["5-6," 5 6]]
    (t/same [206 (string "bytes " first "-" last "/36") (string (inc (- last first)))
             (string/slice text first (inc last))]
            (part (string "Range: bytes=" range))
            range))
  (t/same 206 (first (part "Range: Bytes=0-1"))))

(t/test "Range beyond the file's end gets 416"
  (each range ["36-" "36-40" "99999999999999999999-" "-0"]
    (t/same [416 "bytes */36" "0" ""] (part (string "Range: bytes=" range)) range)))

(t/test "a Range that is malformed, has several parts, or is not in bytes gets the whole file"
  (each range ["bytes=" "bytes=-" "bytes=a-b" "bytes=5-4" "bytes=1" "bytes 0-1" "bytes=0-1-2"
               "bytes=0x1-2" "bytes=+1-2" "bytes= 0 - 1" "bytes=0-1,3-4" "bytes=-1,0-" "lines=0-1" "0-1"]
    (t/same whole (part (string "Range: " range)) range))
  (t/same whole (part "Range: bytes=0-1" "Range: bytes=3-4")))

(t/test "Range of an empty file gets 416 or the whole file"
  (defn answer [range]
    (def {:status status :headers headers} (get-file "/empty" (string "Range: bytes=" range)))
    [status (headers "content-range")])
  (t/same [416 "bytes */0"] (answer "0-"))
  (t/same [200 nil] (answer "-1")))

(t/test "Range only works with GET"
  (def {:status status :headers headers} (h/fetch plain "HEAD" "/a.txt" ["Range: bytes=0-1"]))
  (t/same [200 "36" nil] [status (headers "content-length") (headers "content-range")]))

(t/test "conditions come before Range"
  (t/same 304 (first (part "Range: bytes=0-1" (string "If-None-Match: " tag))))
  (t/same 412 (first (part "Range: bytes=0-1" `If-Match: "other"`)))
  (t/same 206 (first (part "Range: bytes=0-1" `If-None-Match: "other"`))))

(t/test "If-Range gives the part only if the file is the same"
  (def asked "Range: bytes=0-1")
  (each [status condition]
    [[206 tag] [200 `"other"`] [200 (string "W/" tag)] [200 (string/slice tag 1 -2)]
     [206 "Sun, 09 Sep 2001 01:46:40 GMT"] [200 "Sun, 09 Sep 2001 01:46:41 GMT"]
     [200 "Sun, 09 Sep 2001 01:46:39 GMT"] [200 "yesterday"]]
    (t/same status (first (part asked (string "If-Range: " condition))) condition))
  # Without Range it has no effect.
  (t/same whole (part (string "If-Range: " tag))))

# No way out.

(t/test "no path leads out of the folder"
  (def ways
    ["/../secret.txt" "/../private/secret.txt" "/../public-too/secret.txt" "/../public/a.txt"
     "/sub/../../secret.txt" "/sub/../a.txt" "/./../secret.txt" "//../secret.txt"
     "/%2e%2e/secret.txt" "/%2E%2E/secret.txt" "/.%2e/secret.txt" "/%2e./secret.txt"
     "/sub/%2e%2e/%2e%2e/secret.txt" "/sub/%2e%2e%2f%2e%2e%2fsecret.txt"
     "/..%2fsecret.txt" "/..%2Fsecret.txt" "/%2e%2e%2fsecret.txt" "/sub%2fpage.html"
     "/..\\secret.txt" "/..%5csecret.txt" "/%5c..%5csecret.txt" "/\\..\\secret.txt"
     "/..%00/secret.txt" "/a.txt%00" "/a.txt%00.html" "/%00" "/sub/%00/../../secret.txt"
     "/..;/secret.txt" "/..;a=b/secret.txt" "/..%3b/secret.txt" "/.../secret.txt" "/....//secret.txt"
     "/%c0%ae%c0%ae/secret.txt" "/%c0%ae%c0%ae%c0%afsecret.txt" "/..%c0%afsecret.txt"
     "/%e0%80%ae%e0%80%ae/secret.txt" "/%uff0e%uff0e/secret.txt"
     "/%252e%252e/secret.txt" "/%252e%252e%252fsecret.txt" "/%%32%65%%32%65/secret.txt"
     "/..%0d%0a/secret.txt" "/..%09/secret.txt" "/..%20/secret.txt" "/.%20./secret.txt"
     "/%2" "/%" "/%zz" "/a.txt%"
     (string "/" outside "/secret.txt") (string "/%2f" outside "/secret.txt") (string "/%2F" outside "/secret.txt")
     (string "//" outside "/secret.txt") "/etc/passwd" "//etc/passwd" "/~/secret.txt"
     "http://h/../secret.txt" "http://h/%2e%2e/secret.txt" "http://h" "*"
     "/../secret.txt?a" "/?/../secret.txt" "/sub/?../../secret.txt"])
  (each way ways
    (each server [plain open]
      (def {:status status :body body} (h/fetch server "GET" way))
      (t/check (not (string/find "secret" body)) (string "nothing secret at " way))
      (unless (has-value? ["http://h" "/?/../secret.txt" "/sub/?../../secret.txt"] way)
        (t/check (has-value? [400 404] status) (string "400 or 404, not " status ", for " way))))))

(t/test "a path that the parser would refuse is not a file"
  (each way ["/\0" "/a.txt\0" "/a.txt#"]
    (t/same 400 ((get-file way) :status) way))
  # An overlong encoding of a slash is not a slash.
  (t/same 404 ((get-file "/..\xC0\xAFsecret.txt") :status)))

(t/test "symbolic links are not followed, wherever they are in the path"
  (each path ["/link.txt" "/linked" "/linked/" "/linked/secret.txt" "/linked/index.html" "/inner.txt"
              "/sub/inner.html" "/linked-index/" "/linked-index/index.html" "/linked/../a.txt"]
    (t/same not-found (h/brief (get-file path)) path)))

(t/test ":symlinks true follows them"
  (each [path body] [["/link.txt" "secret"] ["/linked/" "secret"] ["/linked/secret.txt" "secret"]
                     ["/inner.txt" text] ["/linked-index/" "secret"]]
    (t/same [200 body] (h/brief (h/fetch open "GET" path)) path))
  (each path ["/dangling" "/loop"]
    (t/same not-found (h/brief (h/fetch open "GET" path)) path)))

(t/test "the folder itself may be a link"
  (with [server (serve (string place "/way-in"))]
    (t/same [200 text] (h/brief (h/fetch server "GET" "/a.txt")))
    (t/same not-found (h/brief (h/fetch server "GET" "/link.txt")))))

(t/test "names that begin with a dot are not served"
  (each path ["/.hidden.txt" "/%2ehidden.txt" "/.folder/file.txt" "/.folder" "/.folder/" "/sub/.hidden"
              "/..dots.txt"]
    (t/same not-found (h/brief (get-file path)) path)))

(t/test ":hidden true serves them"
  (each [path body] [["/.hidden.txt" "hidden"] ["/.folder/file.txt" "hidden"] ["/..dots.txt" "dots"]]
    (t/same [200 body] (h/brief (h/fetch open "GET" path)) path))
  (t/same not-found (h/brief (h/fetch open "GET" "/../secret.txt"))))

# As one of several.

(t/test ":prefix is the path below which the folder is served"
  (each prefix ["/assets" "/assets/"]
    (with [server (serve root :prefix prefix)]
      (each [path status body]
        [["/assets/a.txt" 200 text] ["/assets/" 200 "<title>root</title>"] ["/assets/sub/" 200 "<title>sub</title>"]
         ["/a.txt" 404 "Not Found"] ["/" 404 "Not Found"] ["/assetsa.txt" 404 "Not Found"]
         ["/assets../secret.txt" 404 "Not Found"] ["/assets/../a.txt" 404 "Not Found"]
         ["/assets%2fa.txt" 404 "Not Found"] ["/other/assets/a.txt" 404 "Not Found"]]
        (t/same [status body] (h/brief (h/fetch server "GET" path)) path))
      (each [path location] [["/assets" "/assets/"] ["/assets?a" "/assets/?a"] ["/assets/sub" "/assets/sub/"]]
        (def {:status status :headers headers} (h/fetch server "GET" path))
        (t/same [301 location] [status (headers "location")] path)))))

(t/test "what is not found goes to the next handler, with the request unchanged"
  (defn next-handler [req] {:status 201 :body (string "next: " (req :method) " " (req :path))})
  (with [server (serve root next-handler)]
    (t/same [200 text] (h/brief (h/fetch server "GET" "/a.txt")))
    (each [method path] [["GET" "/nowhere?a=b"] ["POST" "/a.txt"] ["GET" "/../secret.txt"] ["GET" "/link.txt"] ["GET" "/bare/"]]
      (t/same [201 (string "next: " method " " path)] (h/brief (h/fetch server method path))))
    (t/same 304 ((h/fetch server "GET" "/a.txt" [(string "If-None-Match: " tag)]) :status))))

(t/test "the folder and the next handler come in either order"
  (defn next-handler [req] {:status 201 :body "next"})
  (each files [(http/static root next-handler :index false)
               (http/static next-handler root :index false)
               (-> next-handler (http/static root :index false))
               (http/static {:status 201 :body "next"} root :index false)
               (http/static (buffer root) next-handler :index false)
               # Of two strings, the first is the folder.
               (http/static root "next" :index false)]
    (def answers (seq [path :in ["/a.txt" "/nowhere" "/"]]
                   (def {:status status :body body} (files {:method "GET" :route path :headers {}}))
                   [status (string body)]))
    (t/same [200 text] (first answers))
    (t/same "next" (last (in answers 1)))
    (t/same "next" (last (in answers 2)))))

(t/test "one folder may be behind another"
  (with [server (http/server (http/static (in-root "sub") (http/static (in-root "bare") nil :index "home.htm")) host 0)]
    (t/same [200 "<title>page</title>"] (h/brief (h/fetch server "GET" "/page.html")))
    (t/same [200 "<title>home</title>"] (h/brief (h/fetch server "GET" "/home.htm")))
    (t/same [200 "<title>sub</title>"] (h/brief (h/fetch server "GET" "/")))
    (t/same not-found (h/brief (h/fetch server "GET" "/nowhere")))))

(t/test "wrong arguments are errors that name them"
  (defn why [& args] (string (t/raised |(http/static ;args))))
  (each [args word] [[["/nowhere/at/all"] "/nowhere/at/all"]
                     [[text-file] text-file]
                     [[nil root] "got nil"]
                     [[:prefix "/a"] "got :prefix"]
                     [[identity] "there is none"]
                     [[identity :index "x"] "got :index"]
                     [[identity identity] "got <function identity>"]
                     [[identity identity root] "got <function identity>"]
                     [[identity root "more"] "more"]
                     [[identity root :prefx "/a"] ":prefx"]
                     [[identity "/nowhere/at/all"] "/nowhere/at/all"]
                     [[@["a"] root] "a response, got @["]
                     [[root nil :prefx "/a"] ":prefx"]
                     [[root nil :prefix] ":prefix"]
                     [[root nil :prefix 5] ":prefix"]
                     [[root nil :index true] ":index"]
                     [[root nil :hidden 1] ":hidden"]
                     [[root nil :symlinks "yes"] ":symlinks"]
                     [[root nil :precompressed "gzip"] ":precompressed"]
                     [[root nil :cache-control 60] ":cache-control"]
                     [[root nil :cache-control "a\r\nB: c"] ":cache-control"]
                     [[root nil :types {".a" "text/plain"}] ":types"]
                     [[root nil :types {"A" "text/plain"}] ":types"]
                     [[root nil :types {"a" :b}] ":types"]
                     [[root nil :types {"a" "text/plain\n"}] ":types"]
                     [[root nil :types "text/plain"] ":types"]]
    (def err (why ;args))
    (t/check (and (string/find "kqnet/http/static" err) (string/find word err))
             (string/format "%q in the error, not %q" word err))))

# Large files.

(def- mebibyte 1048576)

(defn- make-sparse
  "Makes a sparse file with a mark at each of these places."
  [name size places]
  (with [f (file/open (in-root name) :wbn)]
    (file/seek f :set (dec size))
    (file/write f "\0")
    (each place places
      (file/seek f :set place)
      (file/write f "mark"))))

(defn- start-server
  "Starts a server of the folder in its own process, which prints its port."
  []
  (t/start-forms ~[(import kqnet/http)
                   (def server (http/server (http/static ,root) "127.0.0.1" 0))
                   (print (last (net/localname server)))
                   (flush)]))

(t/test "a file of 64 MiB is sent without being held in memory"
  (def size (* 64 mebibyte))
  (make-sparse "large" size [0 (* 32 mebibyte) (- size 4)])
  (with [server (start-server)]
    (def port (:port server))
    (h/fetch port "GET" "/a.txt")
    (def before (t/peak server))
    (repeat 2
      (with [c (h/client port)]
        (:send c "GET" "/large" ["Connection: close"])
        (def {:headers headers} (:head c))
        (t/same (string size) (headers "content-length"))
        (def buf (c :buf))
        (var got 0)
        (def marks @[])
        (forever
          (each at (string/find-all "mark" buf) (array/push marks (+ got at)))
          (+= got (length buf))
          (unless (:read (c :conn) 65536 (buffer/clear buf)) (break)))
        (t/same size got)
        # Only marks that were not cut between two reads were found.
        (t/check (has-value? marks 0) "the beginning")))
    (t/same "mark" ((h/fetch port "GET" "/large" ["Range: bytes=-4"]) :body))
    (t/same "mark" ((h/fetch port "GET" "/large" ["Range: bytes=33554432-33554435"]) :body))
    (t/same "" (string (server :err)))
    (unless before (t/skip "the peak of a process's memory is not known here"))
    (def grown (- (t/peak server) before))
    (print "      grown by " (div grown 1024) " KiB")
    (t/check (< grown (* 16 mebibyte)) (string "at most 16 MiB more, not " grown))))

(t/test "parts of a file of 5 GiB are sent"
  (def size (* 5 1024 mebibyte))
  (make-sparse "huge" size [0 4294967294 (- size 4)])
  (defer (os/rm (in-root "huge"))
    (t/same (string size) (((h/fetch plain "HEAD" "/huge") :headers) "content-length"))
    (each [range first last body]
      [["4294967294-4294967297" 4294967294 4294967297 "mark"]
       ["-4" 5368709116 5368709119 "mark"]
       ["5368709119-" 5368709119 5368709119 "k"]
       ["0-3" 0 3 "mark"]]
      (def {:status status :headers headers :body got} (get-file "/huge" (string "Range: bytes=" range)))
      (t/same [206 (string/format "bytes %.0f-%.0f/5368709120" first last) body]
              [status (headers "content-range") got]))
    (t/same "bytes */5368709120"
            (((get-file "/huge" "Range: bytes=5368709120-") :headers) "content-range"))))

(defn- while-sent
  "Gets a large file, and calls a function when the head has come. Returns the number of bytes of the body."
  [server name act]
  (with [c (h/client server)]
    (:send c "GET" (string "/" name) ["Connection: close"])
    (def {:headers headers} (:head c))
    (t/same (string (* 32 mebibyte)) (headers "content-length"))
    (act)
    (length (:rest c))))

(t/test "if a file becomes shorter while it is sent, the connection ends early, and an error says so"
  (def told @[])
  (with [server (http/server (http/static root) host 0
                             :on-error (fn [req err _] (array/push told (req :path) err) nil))]
    (make-sparse "shrinking" (* 32 mebibyte) [])
    (def got (while-sent server "shrinking" |(spit (in-root "shrinking") "short")))
    (t/check (< got (* 32 mebibyte)) "fewer bytes")
    (t/wait-until "the error" |(= 2 (length told)))
    (t/same "/shrinking" (first told))
    (t/check (string/find "became shorter while it was sent" (last told)) "the reason")
    (t/same [200 text] (h/brief (h/fetch server "GET" "/a.txt")))))

(t/test "if a small file becomes shorter before any of it is sent, the answer is 500"
  (make "shortened" (string/repeat "x" 12000))
  (def files (http/static root))
  (defn shorten [req]
    (def response (files req))
    (spit (in-root "shortened") "short")
    response)
  (with [server (http/server shorten host 0 :on-error (fn [&] nil))]
    (t/same 500 ((h/fetch server "GET" "/shortened") :status))))

(t/test "if a file grows while it is sent, only the announced bytes are sent"
  (make-sparse "growing" (* 32 mebibyte) [])
  (def got (while-sent plain "growing"
             |(with [f (file/open (in-root "growing") :abn)] (file/write f "more"))))
  (t/same (* 32 mebibyte) got))

(t/test "if a file is replaced while it is sent, all of the old one is sent"
  (make-sparse "replaced" (* 32 mebibyte) [])
  (def got (while-sent plain "replaced"
             |(do (make "new" "new") (os/rename (in-root "new") (in-root "replaced")))))
  (t/same (* 32 mebibyte) got)
  (t/same [200 "new"] (h/brief (get-file "/replaced"))))

# Descriptors.

(defmacro- leaves-none
  "Runs the body without collecting garbage, and waits until there are no more descriptors than before."
  [what & body]
  ~(let [interval (gcinterval)
         before (t/descriptors)]
     (gcsetinterval 0x7fffffff)
     (defer (gcsetinterval interval)
       ,;body
       # Descriptors of an earlier test may be closed meanwhile.
       (t/wait-until (string "no more descriptors: " ,what) |(<= (t/descriptors) before)))))

(make-sparse "left" (* 32 mebibyte) [])

(defn- break-off
  "Asks for a large file, and leaves before or after its head has come."
  [server &opt head]
  (with [c (h/client server)]
    (:send c "GET" "/left")
    (when head (:head c))))

(t/test "clients that leave in the middle of a file leave no descriptor, not even until a collection"
  (each head [true false]
    (leaves-none "a client that goes away"
      (repeat 50 (break-off plain head)))))

(t/test "clients that have left before their answer begins leave no descriptor"
  (def files (http/static root))
  (def arrived (ev/chan))
  (def go-on (ev/chan))
  (defn late [req]
    (when (= "/left" (req :route))
      (ev/give arrived true)
      (ev/take go-on))
    (files req))
  (with [server (http/server late host 0)]
    (leaves-none "a client that is gone"
      (repeat 20
        (with [c (t/connect server)]
          (:write c (h/request "GET" "/a.txt"))
          (:read c 1)
          (:write c (h/request "GET" "/left"))
          (ev/take arrived))
        # The client did not read its first answer, so closing has reset the connection.
        (ev/give go-on true)))))

(t/test "an answer that does not contain the file leaves no descriptor"
  (leaves-none "HEAD, 304, 412, 416, 405, parts"
    (with [c (h/client plain)]
      (def tag (((:ask c "HEAD" "/left") :headers) "etag"))
      (repeat 10
        (:ask c "HEAD" "/left")
        (t/same 304 ((:ask c "GET" "/left" ["If-None-Match: *"]) :status))
        (t/same 412 ((:ask c "GET" "/left" [`If-Match: "other"`]) :status))
        (t/same 416 ((:ask c "GET" "/left" ["Range: bytes=999999999-"]) :status))
        (t/same 206 ((:ask c "GET" "/left" ["Range: bytes=0-99999"]) :status))
        (t/same 405 ((:ask c "PUT" "/left") :status)))))
  (with [c (h/client plain)]
    (:ask c "GET" "/a.txt")
    (def before (t/descriptors))
    (:ask c "GET" "/left")
    (t/wait-until "no file behind a kept connection" |(<= (t/descriptors) before))))

(t/test "a response that is not sent leaves no descriptor"
  (def files (http/static root))
  (defn raises [req] (files req) (error "after the file"))
  (defn drops [req] (files req) {:status 200 :body "something else"})
  (defn unlike [req] (put (files req) :status 99))
  (defn wraps [req] (def body ((files req) :body)) {:status 200 :body (coro (each piece body (yield piece)))})
  (each [name handler] [["raises" raises] ["drops" drops] ["an invalid response" unlike] ["wraps" wraps]]
    (with [server (http/server handler host 0 :on-error (fn [&] {:status 500}))]
      (leaves-none name
        (repeat 5 (h/fetch server "GET" "/left"))
        (repeat 5 (break-off server true))))))

(t/test "a drain that cancels the remaining handlers leaves no descriptor"
  (def files (http/static root))
  (leaves-none "a drain"
    (def server (http/server files host 0))
    (def clients (seq [_ :range [0 5]] (:send (h/client server) "GET" "/left")))
    (each c clients (:head c))
    (t/same 5 (kqnet/drain server 0 :cancel true))
    (each c clients (:close c))))

(t/test "with few descriptors, well-behaved clients are served whatever the others do"
  (with [server (t/start-limited 64 "-e"
                  (t/source ~[(import kqnet/http)
                              (gcsetinterval 0x7fffffff)
                              (def server (http/server (http/static ,root) "127.0.0.1" 0))
                              (print (last (net/localname server)))
                              (flush)]))]
    (def port (:port server))
    (repeat 20
      (t/together 10 (fn [i] (break-off port (even? i))))
      (t/same [200 text] (h/brief (h/fetch port "GET" "/a.txt"))))
    (t/same "" (string (server :err)))))

(t/test "if no descriptor is left, the answer is 503, and later ones are correct again"
  (with [server
         (t/start-forms
           ~[(import kqnet/http)
             (def files (http/static ,root))
             (defn starved [req]
               (def held @[])
               (if (= "/a.txt" (req :route))
                 (while (def f (file/open "/dev/null")) (array/push held f)))
               (defer (each f held (file/close f))
                 (files req)))
             (def server (http/server starved "127.0.0.1" 0))
             (print (last (net/localname server)))
             (flush)])]
    (def port (:port server))
    (each method ["GET" "HEAD"]
      (def {:status status :headers headers} (h/fetch port method "/a.txt"))
      (t/same [503 "1"] [status (headers "retry-after")] method))
    (t/same 200 ((h/fetch port "GET" "/sub/") :status))
    (t/same "" (string (server :err)))))

(t/test "a client that reads nothing of a file is cut off after :write-timeout, and its descriptors are closed"
  (def files (http/static root))
  (with [server (http/server files host 0 :write-timeout 0.1)]
    (leaves-none "a client that takes nothing"
      (with [c (h/client server)]
        (:send c "GET" "/left")
        (t/wait-until "the end of the connection" |(and (pos? ((kqnet/stats server) :accepted))
                                                        (zero? ((kqnet/stats server) :active))))
        (t/check (first (protect (:head c))) "a head")))))

(t/test "large files that are asked for at once are sent one after another"
  (with [c (h/client plain)]
    (:write (c :conn) (string (h/request "GET" "/left") (h/request "GET" "/a.txt") (h/request "GET" "/left")))
    (each [size body] [[(* 32 mebibyte) nil] [36 text] [(* 32 mebibyte) nil]]
      (def response (:receive c "GET"))
      (t/same [200 size] [(response :status) (length (response :body))])
      (when body (t/same body (response :body))))))

(t/test "files of all sizes arrive whole, however the client takes them"
  (def content (string/join (seq [n :range [0 100000]] (string/format "%08d " n))))
  (each size [1 4095 4096 4097 16384 16385 32768 32769 65536 (length content)]
    (make "sized" (string/slice content 0 size))
    (with [c (h/client plain)]
      # The second answer waits in the server until the client has read the first.
      (:write (c :conn) (string (h/request "GET" "/sized") (h/request "GET" "/sized" ["Range: bytes=1-"])))
      (t/check (= (string/slice content 0 size) ((:receive c "GET") :body)) (string "a file of " size " bytes"))
      (def {:status status :body body} (:receive c "GET"))
      (if (= size 1)
        (t/same [416 ""] [status body])
        (t/check (= [206 (string/slice content 1 size)] [status body]) (string "a part of " (dec size) " bytes"))))))

(t/test "a file whose Content-Length says something else is an error that says so"
  (def files (http/static root))
  (def told (ev/chan 10))
  (defn longer [req]
    (def response (files req))
    (put (response :headers) "Content-Length" "100")
    response)
  (with [server (http/server longer host 0 :on-error (fn [_ err _] (ev/give told err) nil))]
    (leaves-none "a wrong length"
      (t/check (< (length (t/ask server (h/request "GET" "/left"))) 1000) "not more than was announced"))
    (t/same "a response's body is longer than its Content-Length" (ev/take told))))

(t/test "while one client takes a very large file as quickly as it can, others are served"
  (unless (= 0 (os/execute ["sh" "-c" "command -v curl >/dev/null 2>&1"] :p)) (t/skip "curl is not installed"))
  (make-sparse "endless" (* 64 1024 mebibyte) [])
  (defer (os/rm (in-root "endless"))
    (with [server (start-server)]
      (def port (:port server))
      (with [fast (t/start "curl" "-s" "-o" "/dev/null" "-w" "%{size_download}" (string "http://127.0.0.1:" port "/endless"))]
        (with [c (h/client port)]
          (repeat 50 (t/same [200 text] (h/brief (:ask c "GET" "/a.txt")))))
        (t/check (nil? (fast :status)) "the file is still being sent")))))

(t/test "a program that may not read files cannot serve a folder"
  (t/same [0 "operation forbidden by sandbox\n" ""]
          (let [[status out err]
                (t/run-forms ~[(import kqnet/http)
                               (sandbox :fs-read)
                               (print (last (protect (http/static ,root))))])]
            [status (string/replace "kqnet/http/static: " "" out) err])))

# Responses, one after the other. What earlier ones had in common is used again.

(defn- without-date [response]
  (put (response :headers) "date" nil)
  [(response :status) (response :headers) (response :body)])

(t/test "each kind of response comes out the same, however many others came before it"
  (def requests
    (seq [path :in ["/a.txt" "/empty" "/sub/page.html" "/with%20space.txt" "/left"]
          [method & headers] :in [["GET"] ["HEAD"] ["HEAD" "Range: bytes=0-1"] ["GET" "Range: bytes=0-1"]
                                  ["GET" "Range: bytes=99999999-"] ["GET" `If-Match: "other"`] ["GET" "If-None-Match: *"]
                                  ["POST"] ["OPTIONS"]]
          # All of the large file takes too long.
          :unless (and (= path "/left") (= method "GET") (empty? headers))]
      [method path headers]))
  (def alone (map |(without-date (h/fetch plain ;$)) requests))
  (each [_ headers] alone (put headers "connection" nil))
  (with [c (h/client plain)]
    (repeat 3
      (loop [[request expected] :in (map tuple requests alone)
             # The server takes note of what comes several times.
             :repeat 3]
        (t/same expected (without-date (:ask c ;request)) (string/format "%q" request)))
      (gccollect))))

(t/test "what middleware does to a response does not reach the next one"
  (def files (http/static root))
  (defn changes [req]
    (def response (files req))
    (when (= "change" (req :query-string))
      (def {:headers headers :body body} response)
      (each name (keys headers) (put headers name nil))
      (for i 0 40 (put headers (string "X-" i) "x"))
      (if (buffer? body) (buffer/push (buffer/clear body) "changed"))
      (put response :more (range 10))
      (put response :status 201)
      (put response :headers nil)
      (if-not (buffer? body) (put response :body "changed")))
    response)
  (with [server (http/server changes host 0)]
    (each [path & headers] [["/a.txt"] ["/empty"] ["/left" "Range: bytes=0-9999"]]
      (def expected (without-date (h/fetch server "GET" path headers)))
      (put (in expected 1) "connection" nil)
      (with [c (h/client server)]
        (repeat 4
          (t/same [201 @{"content-length" "7"} "changed"]
                  (without-date (:ask c "GET" (string path "?change") headers)))
          (t/same expected (without-date (:ask c "GET" path headers)) path)
          (gccollect))))))

(t/test "a response that a program keeps stays as it was"
  (def files (http/static root))
  (def kept @[])
  (defn keeps [req] (last (array/push kept (files req))))
  (with [server (http/server keeps host 0)]
    (with [c (h/client server)]
      (repeat 3
        (for i 0 100 (:ask c "GET" "/a.txt" (if (even? i) [(string "Range: bytes=" (% i 36) "-")])))
        (gccollect))))
  (t/same 300 (length kept))
  (loop [i :range [0 300]
         :let [{:status status :headers headers :body body} (kept i) from (% (% i 100) 36)]]
    (t/same (if (even? i) [206 (string/slice text from)] [200 text]) [status (string body)])
    (t/same [tag (string (length body)) "Sun, 09 Sep 2001 01:46:40 GMT" (if (even? i) (string "bytes " from "-35/36"))]
            (map headers ["ETag" "Content-Length" "Last-Modified" "Content-Range"]))))

(t/test "on a kept connection, each response is of the file as it is then"
  (with [c (h/client plain)]
    (for i 0 30
      (def content (string/repeat (string i) (inc (% i 3))))
      (make "changing.txt" content)
      (when (even? i) (os/touch (in-root "changing.txt") modified (+ modified i)))
      (repeat 3
        (def {:status status :headers headers :body body} (:ask c "GET" "/changing.txt"))
        (t/same [200 content (string (length content))] [status body (headers "content-length")])
        (when (even? i)
          (t/same (string/format "Sun, 09 Sep 2001 01:%02d:%02d GMT" (+ 46 (div (+ 40 i) 60)) (% (+ 40 i) 60))
                  (headers "last-modified")))
        (t/same [304 ""] (h/brief (:ask c "GET" "/changing.txt" [(string "If-None-Match: " (headers "etag"))])))))
    (os/rm (in-root "changing.txt"))
    (t/same not-found (h/brief (:ask c "GET" "/changing.txt")))))

(t/test "a request counts as it is when it reaches the files, whatever middleware has done to it"
  (def files (http/static root))
  (def crowd (tabseq [i :range [0 50]] (keyword "key-" i) i))
  (defn moved [req] (put req :route "/a.txt") req)
  (def ways
    [moved
     (fn [req] (merge-into req crowd) (moved req))
     (fn [req] (moved (merge req crowd)))
     (fn [req] (table/to-struct (moved req)))
     (fn [req] (table/setproto @{:route "/a.txt"} req))
     (fn [req] (struct/with-proto (table/to-struct (moved (merge req))) :extra 1))
     (fn [req]
       (def {:method method :headers headers :connection conn} req)
       (each key [:method :headers :route :connection] (put req key nil))
       (merge-into req {:more 1 :connection conn :headers headers :method method})
       (moved req))
     (fn [req] (put req :headers (table/setproto @{} (req :headers))) (moved req))
     # A table may be its own prototype, and a header's name is a string.
     (fn [req]
       (def headers (merge-into (req :headers) {:if-none-match "no" 'range "bytes=0-0" :range "bytes=0-0"}))
       (table/setproto headers headers)
       (moved req))])
  (def asked ["If-None-Match: *"])
  (each [i way] (pairs ways)
    (with [server (http/server (fn [req] (files (way req))) host 0)]
      (each path ["/elsewhere" "/elsewhere?with=query"]
        (t/same [200 text] (h/brief (h/fetch server "GET" path)) (string i))
        (t/same 304 ((h/fetch server "GET" path asked) :status) (string i))
        (t/same 405 ((h/fetch server "PUT" path) :status) (string i)))))
  (with [server (http/server (fn [req] (files (put req :method "HEAD"))) host 0)]
    (t/same [200 ""] (h/brief (h/fetch server "HEAD" "/a.txt"))))
  (t/check (string/has-prefix? "expected a request with a :route, got " (t/raised |(files {:method "GET"}))) "no route"))

# What other code sees of a file's body.

(t/test "middleware gets a file as bytes, or as something to iterate over in pieces"
  (def files (http/static root))
  (make-sparse "pieces" (+ 200000 5) [0 65534 (- 200005 4)])
  (def expected (string (slurp (in-root "pieces"))))
  (defn body [name & headers] ((files {:method "GET" :route name :headers (struct ;headers)}) :body))
  (t/same text (string (body "/a.txt")))
  (t/check (bytes? (body "/a.txt")) "bytes")
  (def whole (body "/pieces"))
  (t/check (= expected (string ;(seq [piece :in whole] piece))) "all of the file")
  (t/check (= expected (string ;(map identity whole))) "all of it again")
  (def part (body "/pieces" "range" "bytes=65530-165530"))
  (t/check (= (string/slice expected 65530 165531) (string ;(seq [piece :in part] piece))) "a part of it")
  (:close whole)
  (t/same "pieces is closed: its response has ended" (t/raised |(each _ whole)))
  (:close part)
  (:close part))

(t/test "middleware may change how a file is sent"
  (def files (http/static root))
  (def expected (string (slurp (in-root "pieces"))))
  (defn doubled [req]
    (def {:body body :headers headers} (files req))
    {:status 200 :headers (put (merge headers) "Content-Length" nil)
     :body (coro (each piece body (yield piece) (yield piece)))})
  (defn chunked [req]
    (def response (files req))
    (put (response :headers) "Content-Length" nil)
    response)
  (defn wrong [req]
    (def response (files req))
    (put (response :headers) "Content-Length" "5")
    response)
  (with [server (http/server doubled host 0)]
    (t/same (* 2 (length expected)) (length ((h/fetch server "GET" "/pieces") :body))))
  (with [server (http/server chunked host 0)]
    (def {:headers headers :body body} (h/fetch server "GET" "/pieces"))
    (t/same [nil (string (length expected))] [(headers "transfer-encoding") (headers "content-length")])
    (t/check (= expected body) "all of the file"))
  (def told (ev/chan 10))
  (with [server (http/server wrong host 0 :on-error (fn [_ err _] (ev/give told err) nil))]
    (with [c (h/client server)]
      (:send c "GET" "/pieces")
      (:head c)
      (:rest c))
    (t/same "a response's body is longer than its Content-Length" (ev/take told))))

(t/test "a response that is kept does not keep its file open"
  (def files (http/static root))
  (var kept nil)
  (defn keeps [req] (or kept (set kept (files req))))
  (def told (ev/chan 10))
  (with [server (http/server keeps host 0 :on-error (fn [_ err _] (ev/give told err) {:status 500}))]
    (t/same 200 ((h/fetch server "GET" "/pieces") :status))
    (t/same 500 ((h/fetch server "GET" "/pieces") :status))
    (t/same "pieces is closed: its response has ended" (ev/take told))))

(t/test "a response that two clients are given at once is sent to one of them, and whole"
  (def size (* 12 mebibyte))
  (make-sparse "shared" size [])
  (def files (http/static root))
  (var kept nil)
  (defn keeps [req] (if (= "/shared" (req :route)) (or kept (set kept (files req))) (files req)))
  (def told (ev/chan 10))
  (with [server (http/server keeps host 0 :on-error (fn [_ err _] (ev/give told err) {:status 500}))]
    (with [c (h/client server)]
      (:send c "GET" "/shared")
      (t/same (string size) (((:head c) :headers) "content-length"))
      (t/same 500 ((h/fetch server "GET" "/shared") :status))
      (t/same "shared is being sent in another response: each needs a file of its own" (ev/take told))
      (t/same size (length (:take c size)))
      (t/same [200 text] (h/brief (:ask c "GET" "/a.txt"))))))

(t/test "a handler that was made on another thread serves files on this one"
  (def files (http/static root))
  (def answers (ev/thread-chan 1))
  (ev/thread (fn [_]
               (def {:status status :body body} (files {:method "GET" :route "/a.txt" :headers {}}))
               (ev/give answers [status (string body)])))
  (t/same [200 text] (ev/take answers)))

# While the folder changes.

(t/test "if a folder is replaced, or its link changed, the new folder is served"
  (each name ["one" "two"]
    (os/mkdir (string place "/" name))
    (spit (string place "/" name "/which.txt") name))
  (def current (string place "/current"))
  (os/symlink (string place "/one") current)
  (with [server (serve current)]
    (defn which [] (h/brief (h/fetch server "GET" "/which.txt")))
    (t/same [200 "one"] (which))
    (os/symlink (string place "/two") (string current "-new"))
    (os/rename (string current "-new") current)
    (t/wait-until "the other folder" |(= [200 "two"] (tuple ;(which))))
    (os/rename (string place "/two") (string place "/old"))
    (os/mkdir (string place "/two"))
    (spit (string place "/two/which.txt") "three")
    (t/wait-until "a new folder of that name" |(= [200 "three"] (tuple ;(which))))))

(t/test "whatever is swapped in while clients ask, nothing outside the folder is served"
  (make "swap.txt" "inside")
  (make "swapped/secret.txt" "inside")
  (with [swapper (t/start-forms
                   ~[(def root ,root)
                     (def outside ,outside)
                     (defn in-root [name] (string root "/" name))
                     (print "swapping")
                     (flush)
                     (forever
                       # In turn: a file, a link, a FIFO and a file again in place of a file; a link in place of a folder.
                       (os/symlink (string outside "/secret.txt") (in-root "swap.new"))
                       (os/rename (in-root "swap.new") (in-root "swap.txt"))
                       (os/rename (in-root "swapped") (in-root "swapped.old"))
                       (os/symlink outside (in-root "swapped"))
                       (os/link (in-root "pipe") (in-root "swap.new"))
                       (os/rename (in-root "swap.new") (in-root "swap.txt"))
                       (os/rm (in-root "swapped"))
                       (os/rename (in-root "swapped.old") (in-root "swapped"))
                       (spit (in-root "swap.new") "inside")
                       (os/rename (in-root "swap.new") (in-root "swap.txt")))])]
    (t/same "swapping" (:line swapper))
    (def seen @{})
    (t/together 4
      (fn [_]
        (with [c (h/client plain)]
          (repeat 500
            (each path ["/swap.txt" "/swapped/secret.txt"]
              (def answer (h/brief (:ask c "GET" path)))
              (put seen (tuple ;answer) true)
              (t/check (or (deep= answer [200 "inside"]) (deep= answer not-found)) (string/format "%q" answer)))))))
    (t/check (seen [200 "inside"]) "sometimes the file")
    (t/check (seen (tuple ;not-found)) "sometimes none")))

(t/test "what is not a regular file is not served, and does not block: sockets, FIFOs, devices"
  (def socket (string place "/s"))
  (with [listener (kqnet/listen :unix socket)]
    (os/rename socket (in-root "socket"))
    (each path ["/socket" "/pipe" "/socket/" "/pipe/x"]
      (t/same not-found (h/brief (get-file path)) path)))
  (os/rm (in-root "socket"))
  (os/symlink "/dev/zero" (in-root "zero"))
  (each server [plain open]
    (t/same not-found (h/brief (h/fetch server "GET" "/zero")))))

(t/test "a long path costs no more than a short one"
  (def trace (t/scratch "trace"))
  (unless (and t/linux? (= 0 (os/execute ["sh" "-c" (string "strace -o " trace " -e trace=%file true >/dev/null 2>&1")] :p)))
    (t/skip "strace is not installed, or is not allowed to trace"))
  # The server ends by itself, since strace would survive the end of a process around it.
  (with [server (t/start "timeout" "-k" "1" "55" "strace" "-f" "-o" trace "-e" "trace=%file" (dyn *executable*) "-e"
                  (t/source ~[(import kqnet/http)
                              (def files (http/static ,root))
                              (defn served [req] (if (= "/end" (req :route)) (os/exit 0)) (files req))
                              (def server (http/server served "127.0.0.1" 0))
                              (print (last (net/localname server)))
                              (flush)]))]
    (def port (:port server))
    (defer (do (t/ask port (h/request "GET" "/end")) (:wait server))
      # A call with an empty name asks about a descriptor.
      (defn calls [] (count |(not (string/find `, "", ` $)) (string/split "\n" (slurp trace))))
      (def before (calls))
      (each name ["a" "sub" ".a" "%2e"]
        (t/same not-found (h/brief (h/fetch port "GET" (string (string/repeat (string "/" name) (div 8000 (inc (length name)))) "/x")))))
      # One system call for each request, and one to look at the folder itself.
      (t/check (<= (- (calls) before) 8) (string (- (calls) before) " system calls"))))
  (os/rm trace))

(t/test "what may not be read is forbidden, to GET and HEAD, and stderr stays empty"
  (make "locked.txt" "locked")
  (make "locked/file.txt" "locked")
  (make "locked-index/index.html" "locked")
  (each name ["locked.txt" "locked" "locked-index/index.html"] (os/chmod (in-root name) 0))
  (defer (each name ["locked.txt" "locked"] (os/chmod (in-root name) 8r700))
    (def reads-all (first (protect (slurp (in-root "locked.txt")))))
    (def as-nobody
      (cond
        (not reads-all) []
        (= 0 (os/execute ["sh" "-c" `setpriv --reuid=65534 --regid=65534 --clear-groups "$0" -e "(os/exit 0)" >/dev/null 2>&1` (dyn *executable*)] :p))
        ["setpriv" "--reuid=65534" "--regid=65534" "--clear-groups"]
        (t/skip "this user may read everything, and there is no setpriv to become another user")))
    (with [server (t/start ;as-nobody (dyn *executable*) "-e"
                    (t/source ~[(import kqnet/http)
                                (def server (http/server (http/static ,root) "127.0.0.1" 0))
                                (print (last (net/localname server)))
                                (flush)]))]
      (def port (:port server))
      (each path ["/locked.txt" "/locked/file.txt" "/locked/" "/locked-index/"]
        (t/same [403 "Forbidden"] (h/brief (h/fetch port "GET" path)) path)
        (t/same [403 ""] (h/brief (h/fetch port "HEAD" path)) path))
      (t/same 301 ((h/fetch port "GET" "/locked") :status))
      (t/same [200 text] (h/brief (h/fetch port "GET" "/a.txt")))
      (t/same "" (string (server :err))))))

(t/test "names that no file can have are not found"
  (each path [(string "/" (string/repeat "n" 256)) (string "/" (string/repeat "n" 4000))
              (string "/sub/" (string/repeat "n" 300) "/x") "/a.txt/x/y" "/loop/x"]
    (each server [plain open]
      (t/same not-found (h/brief (h/fetch server "GET" path)) (string/slice path 0 (min 20 (length path)))))))

(t/test "of the names that begin with a dot, /.well-known/ is served, but only at the top"
  (make ".well-known/security.txt" "contact")
  (make ".well-known/.secret" "hidden")
  (make "sub/.well-known/a" "hidden")
  (t/same [200 "contact"] (h/brief (get-file "/.well-known/security.txt")))
  (each path ["/.well-known/.secret" "/sub/.well-known/a" "/.well-known2" "/.well-known/"]
    (t/same not-found (h/brief (get-file path)) path)))

# Headers other than those of the content.

(t/test "the content types are nginx's, or newer ones"
  (def nginx "/etc/nginx/mime.types")
  (unless (os/stat nginx) (t/skip "nginx is not installed"))
  (def newer
    {"application/javascript" "text/javascript" "text/xml" "application/xml" "text/mathml" "application/mathml+xml"
     "image/x-ms-bmp" "image/bmp" "application/x-rar-compressed" "application/vnd.rar" "audio/x-m4a" "audio/mp4"})
  (def groups
    (peg/match '(* (thru "{") (any (* :s* (group (* (! "}") '(to :s) (any (* :s+ (! ";") '(some (if-not (set "; \n") 1)))) :s* ";"))))) (slurp nginx)))
  (t/check (> (length groups) 50) "nginx's types")
  (each [nginx-type & ends] groups
    (each end ends
      (def ours (t/check (http/content-types end) end))
      (def bare (first (string/split ";" ours)))
      (unless (= end "deb")
        (t/same (get newer nginx-type nginx-type) bare end)))))

(t/test ":types adds content types, and replaces existing ones"
  (make "t.gltf2" "x")
  (make "t.txt" "x")
  (make ".well-known/association" "x")
  (with [server (serve root nil :types {"gltf2" "model/gltf+json" "txt" "text/x-other" "" "application/json"})]
    (defn type-of [path] (((h/fetch server "GET" path) :headers) "content-type"))
    (t/same ["model/gltf+json" "text/x-other" "text/html; charset=utf-8" "application/json" "application/octet-stream"]
            (map type-of ["/t.gltf2" "/t.txt" "/" "/.well-known/association" "/t.unknown"]))))

(t/test ":cache-control is a text or a function of the path"
  (defn control [server path & headers]
    (def response (h/fetch server "GET" path headers))
    [(response :status) ((response :headers) "cache-control")])
  (with [server (serve root nil :cache-control "max-age=60")]
    (t/same [200 "max-age=60"] (control server "/a.txt"))
    (t/same [206 "max-age=60"] (control server "/a.txt" "Range: bytes=0-1"))
    (t/same [304 "max-age=60"] (control server "/a.txt" (string "If-None-Match: " tag)))
    (each [path status & headers] [["/nowhere" 404] ["/sub" 301] ["/a.txt" 416 "Range: bytes=99-"]
                                   ["/a.txt" 412 `If-Match: "other"`]]
      (t/same [status nil] (control server path ;headers) path)))
  (def paths @[])
  (with [server (serve root nil :prefix "/x"
                       :cache-control (fn [path] (array/push paths path) (if (string/has-suffix? ".html" path) "no-cache")))]
    (t/same [200 nil] (control server "/x/with%20space.txt"))
    (t/same [200 "no-cache"] (control server "/x/sub/"))
    (t/same [200 "no-cache"] (control server "/x/"))
    (t/same @["/with space.txt" "/sub/index.html" "/index.html"] paths)
    # Only a response that is no error asks.
    (t/same [304 "no-cache"] (control server "/x/sub/" "If-None-Match: *"))
    (t/same [416 nil] (control server "/x/sub/" "Range: bytes=99-"))
    (t/same [404 nil] (control server "/x/nowhere"))
    (t/same [301 nil] (control server "/x/sub"))
    (t/same 4 (length paths)))
  # Each response has its own.
  (var number 0)
  (with [server (serve root nil :cache-control (fn [_] (if (odd? (++ number)) (string "max-age=" number))))]
    (for i 1 10 (t/same [200 (if (odd? i) (string "max-age=" i))] (control server "/a.txt"))))
  (with [server (http/server (http/static root nil :cache-control (fn [path] (error path))) host 0
                             :on-error (fn [_ err _] {:status 500 :body err}))]
    (leaves-none "a function that raises"
      (repeat 5 (t/same [500 "/left"] (h/brief (h/fetch server "GET" "/left")))))))

# Precompressed files.

(make "app.js" "the script itself")
(make "app.js.gz" "in gzip")
(make "app.js.br" "in brotli, really")
(make "app.js.zst" "in zstandard")
(make "only-gz.js" "the script itself")
(make "only-gz.js.gz" "in gzip")
(make "trap.js" "the script itself")
(make "trap.js.br/file" "a folder")
(os/symlink (string outside "/secret.txt") (in-root "trap.js.gz"))
(make "orphan.js.gz" "in gzip")
(make "big.bin" (string/repeat "original" 100000))
(make "big.bin.gz" (string/repeat "packed--" 50000))

(def- packed (serve root nil :precompressed true))

(defn- variant
  [path accept & headers]
  (def {:status status :headers h :body body}
    (h/fetch packed "GET" path [;(if accept [(string "Accept-Encoding: " accept)] []) ;headers]))
  [status (h "content-encoding") body])

(t/test ":precompressed sends the file in the coding that the client prefers"
  (each [accept coding body]
    [[nil nil "the script itself"] ["" nil "the script itself"] ["identity" nil "the script itself"]
     ["gzip" "gzip" "in gzip"] ["gzip, deflate, br, zstd" "br" "in brotli, really"]
     ["gzip, deflate, br;q=0.1, zstd" "zstd" "in zstandard"] ["zstd;q=0.5, gzip;q=0.7" "gzip" "in gzip"]
     ["br;q=0, gzip" "gzip" "in gzip"] ["*" "br" "in brotli, really"] ["*;q=0" nil "the script itself"]
     ["gzip;q=0" nil "the script itself"] ["gzip;q=0.5, identity" nil "the script itself"]
     ["deflate" nil "the script itself"] ["GZIP" "gzip" "in gzip"] ["x-gzip" "gzip" "in gzip"]]
    (t/same [200 coding body] (variant "/app.js" accept) (string accept)))
  (t/same [200 "gzip" "in gzip"] (variant "/only-gz.js" "br, gzip"))
  (t/same [200 "br" "in brotli, really"] (variant "/app.js" "gzip" "Accept-Encoding: br"))
  (t/same [200 nil text] (variant "/a.txt" "br, gzip"))
  (t/same [404 nil "Not Found"] (variant "/orphan.js" "gzip"))
  (t/same [200 nil "in gzip"] (variant "/orphan.js.gz" "gzip"))
  (t/same [200 nil "in gzip"] (variant "/app.js.gz" "gzip"))
  (t/same [200 nil "the script itself"] (variant "/trap.js" "br, gzip") "no folder, no link"))

(t/test ":precompressed is off by default"
  (def {:headers headers :body body} (get-file "/app.js" "Accept-Encoding: gzip"))
  (t/same ["the script itself" nil nil] [body (headers "content-encoding") (headers "vary")]))

(t/test "each variant has the original's type, its own tag, and Vary with every status"
  (def tags
    (seq [accept :in ["identity" "gzip" "br" "zstd"]]
      (def {:headers headers} (h/fetch packed "GET" "/app.js" [(string "Accept-Encoding: " accept)]))
      (t/same ["text/javascript; charset=utf-8" "Accept-Encoding"] [(headers "content-type") (headers "vary")])
      (headers "etag")))
  (t/same 4 (length (distinct tags)) tags)
  (def [_ gzip] tags)
  (each [status path & headers]
    [[304 "/app.js" "Accept-Encoding: gzip" (string "If-None-Match: " gzip)]
     [200 "/app.js" "Accept-Encoding: br" (string "If-None-Match: " gzip)]
     [200 "/app.js" (string "If-None-Match: " gzip)]
     [206 "/app.js" "Accept-Encoding: gzip" "Range: bytes=0-1" (string "If-Range: " gzip)]
     [200 "/app.js" "Accept-Encoding: br" "Range: bytes=0-1" (string "If-Range: " gzip)]
     [416 "/app.js" "Accept-Encoding: gzip" "Range: bytes=7-"]
     [412 "/app.js" "Accept-Encoding: br" (string "If-Match: " gzip)]
     [200 "/a.txt" "Accept-Encoding: gzip"]]
    (def response (h/fetch packed "GET" path headers))
    (t/same [status "Accept-Encoding"] [(response :status) ((response :headers) "vary")] (string/join headers ", "))))

(t/test "parts and heads of a variant are the variant's own"
  (def {:status status :headers headers :body body}
    (h/fetch packed "GET" "/app.js" ["Accept-Encoding: gzip" "Range: bytes=3-"]))
  (t/same [206 "bytes 3-6/7" "gzip" "gzip"] [status (headers "content-range") (headers "content-encoding") body])
  (def get (h/fetch packed "GET" "/big.bin" ["Accept-Encoding: gzip"]))
  (t/same [200 400000 "gzip"] [(get :status) (length (get :body)) ((get :headers) "content-encoding")])
  (def head (h/fetch packed "HEAD" "/big.bin" ["Accept-Encoding: gzip"]))
  (each response [get head] (put (response :headers) "date" nil))
  (t/same [200 (get :headers) ""] [(head :status) (head :headers) (head :body)])
  (leaves-none "the originals of variants"
    (repeat 20 (h/fetch packed "GET" "/big.bin" ["Accept-Encoding: gzip"]))))

(t/remove place)
(t/finish)
