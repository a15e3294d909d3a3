###
### http-files.janet
###
### Files that kqnet/http serves: what is found, what is said of it, parts of it, and no way out.
###

(import ./support :as t)
(import ./support/http :as h)
(t/need-spork)
(import kqnet)
(import kqnet/http)

(def- host "127.0.0.1")

# A folder of files, and what must not be served beside it.

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

(defn- remove
  [path]
  (when (= :directory (os/lstat path :mode))
    (each name (os/dir path) (remove (string path "/" name)))
    (os/rmdir path))
  (when (os/lstat path) (os/rm path)))

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
  "Whether the file system takes names that are not UTF-8."
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

(defn- brief
  "Status and body."
  [{:status status :body body}]
  [status body])

(def- not-found [404 "Not Found"])

# Finding files.

(t/test "a file: its content, and what is said of it"
  (def {:status status :headers headers :body body} (get-file "/a.txt"))
  (t/same [200 text] [status body])
  (t/check (headers "date") "a date")
  (t/same @{"content-type" "text/plain; charset=utf-8"
            "content-length" "36"
            "etag" (string/format `"24-%x-0"` modified)
            "last-modified" "Sun, 09 Sep 2001 01:46:40 GMT"
            "accept-ranges" "bytes"
            "connection" "close"}
          (put headers "date" nil)))

(t/test "an empty file"
  (def {:status status :headers headers :body body} (get-file "/empty"))
  (t/same [200 "" "0"] [status body (headers "content-length")]))

(t/test "the index of a folder"
  (t/same [200 "<title>root</title>"] (brief (get-file "/")))
  (t/same [200 "<title>sub</title>"] (brief (get-file "/sub/")))
  (t/same "text/html; charset=utf-8" (((get-file "/") :headers) "content-type")))

(t/test "another index, and none"
  (with [server (serve root nil :index "home.htm")]
    (t/same [200 "<title>home</title>"] (brief (h/fetch server "GET" "/bare/")))
    (t/same not-found (brief (h/fetch server "GET" "/sub/"))))
  (with [server (serve root nil :index false)]
    (t/same not-found (brief (h/fetch server "GET" "/")))
    (t/same not-found (brief (h/fetch server "GET" "/sub/")))
    (t/same [200 "<title>page</title>"] (brief (h/fetch server "GET" "/sub/page.html")))))

(t/test "a folder with no index is not found"
  (t/same not-found (brief (get-file "/bare/"))))

(t/test "a folder with no slash is redirected to where its links work"
  (defn location [path]
    (def {:status status :headers headers} (get-file path))
    [status (headers "location")])
  (t/same [301 "/sub/"] (location "/sub"))
  (t/same [301 "/sub/?a=b&c"] (location "/sub?a=b&c"))
  (t/same [301 "/%73ub/"] (location "/%73ub"))
  (t/same [301 "/sub/"] (location "http://other/sub")))

(t/test "a redirect does not lead to another host"
  # A browser takes //sub/ for a host.
  (each path ["//sub" "///sub" "/.//sub" "http://h//sub"]
    (def {:status status :headers headers} (get-file path))
    (when (= status 301)
      (t/check (not (string/has-prefix? "//" (headers "location")))
               (string "a path, not " (headers "location"))))))

(t/test "a file with a slash behind it is not found"
  (t/same not-found (brief (get-file "/a.txt/")))
  (t/same not-found (brief (get-file "/a.txt/b"))))

(t/test "names with other characters, encoded or not"
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
    (t/same [200 body] (brief (get-file path)) path)))

(t/test "content types"
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

(t/test "what is no file is not found"
  (each path ["/nowhere" "/sub/nowhere" "/nowhere/index.html" "/pipe" "/dangling" "/loop"]
    (t/same not-found (brief (get-file path)) path)))

(t/test "HEAD: the same head, and no body"
  (each path ["/a.txt" "/" "/empty" "/nowhere" "/sub"]
    (def get (get-file path))
    (def head (h/fetch plain "HEAD" path))
    (each response [get head] (put (response :headers) "date" nil))
    (t/same [(get :status) (get :headers) ""] [(head :status) (head :headers) (head :body)] path)))

(t/test "other methods are not for files"
  (each method ["POST" "PUT" "DELETE" "OPTIONS" "get"]
    (t/same not-found (brief (h/fetch plain method "/a.txt")) method)))

(t/test "several files on one connection"
  (with [c (h/client plain)]
    (repeat 3
      (t/same [200 text] (brief (:ask c "GET" "/a.txt")))
      (t/same [200 ""] (brief (:ask c "HEAD" "/a.txt")))
      (t/same [206 "23"] (brief (:ask c "GET" "/a.txt" ["Range: bytes=2-3"])))
      (t/same not-found (brief (:ask c "GET" "/nowhere")))
      (t/same [200 ""] (brief (:ask c "GET" "/empty"))))))

# What the client has already.

(def- tag (((get-file "/a.txt") :headers) "etag"))

(defn- each-case
  "Asks for the text file with headers, and compares statuses."
  [method cases]
  (each [status & headers] cases
    (def response (h/fetch plain method "/a.txt" headers))
    (t/same status (response :status) (string/join headers ", "))
    (t/same (if (and (= method "GET") (= status 200)) text "") (response :body))
    (t/same tag ((response :headers) "etag"))))

(t/test "If-None-Match"
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

(t/test "If-Modified-Since"
  (each method ["GET" "HEAD"]
    (each-case method
               [[304 "If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT"]
                [304 "If-Modified-Since: Sun, 09 Sep 2001 01:46:41 GMT"]
                [304 "If-Modified-Since: Sunday, 09-Sep-01 01:46:40 GMT"]
                [304 "If-Modified-Since: Sun Sep  9 01:46:40 2001"]
                [200 "If-Modified-Since: Sun, 09 Sep 2001 01:46:39 GMT"]
                [200 "If-Modified-Since: yesterday"]
                [200 "If-Modified-Since: 1000000000"]
                # The tag decides where both are there.
                [200 `If-None-Match: "other"` "If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT"]
                [304 (string "If-None-Match: " tag) "If-Modified-Since: Sun, 09 Sep 2001 01:46:39 GMT"]])))

(t/test "If-Match and If-Unmodified-Since"
  (each-case "GET"
             [[200 (string "If-Match: " tag)]
              [200 "If-Match: *"]
              [412 `If-Match: "other"`]
              [412 (string "If-Match: W/" tag)]
              [200 "If-Unmodified-Since: Sun, 09 Sep 2001 01:46:40 GMT"]
              [412 "If-Unmodified-Since: Sun, 09 Sep 2001 01:46:39 GMT"]
              [200 "If-Unmodified-Since: yesterday"]
              [304 (string "If-Match: " tag) (string "If-None-Match: " tag)]]))

(t/test "a file that has changed has another tag"
  (def path (make "changing.txt" "one"))
  (defn tag [] (((get-file "/changing.txt") :headers) "etag"))
  (def before (tag))
  (spit path "three")
  (def after (tag))
  (t/check (not= before after) "another tag for another size")
  (os/touch path modified modified)
  (t/check (not= after (tag)) "another tag for another time"))

# Parts of files.

(defn- part
  "Status, Content-Range, Content-Length and body of a part of the text file."
  [& headers]
  (def {:status status :headers {"content-range" range "content-length" size} :body body}
    (get-file "/a.txt" ;headers))
  [status range size body])

(def- whole [200 nil "36" text])

(t/test "Range: parts"
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

(t/test "Range: what is not there gets 416"
  (each range ["36-" "36-40" "99999999999999999999-" "-0"]
    (t/same [416 "bytes */36" "0" ""] (part (string "Range: bytes=" range)) range)))

(t/test "Range: what is malformed, or several, or not bytes, gets all"
  (each range ["bytes=" "bytes=-" "bytes=a-b" "bytes=5-4" "bytes=1" "bytes 0-1" "bytes=0-1-2"
               "bytes=0x1-2" "bytes=+1-2" "bytes= 0 - 1" "bytes=0-1,3-4" "bytes=-1,0-" "lines=0-1" "0-1"]
    (t/same whole (part (string "Range: " range)) range))
  (t/same whole (part "Range: bytes=0-1" "Range: bytes=3-4")))

(t/test "Range of an empty file"
  (defn answer [range]
    (def {:status status :headers headers} (get-file "/empty" (string "Range: bytes=" range)))
    [status (headers "content-range")])
  (t/same [416 "bytes */0"] (answer "0-"))
  (t/same [200 nil] (answer "-1")))

(t/test "Range is for GET"
  (def {:status status :headers headers} (h/fetch plain "HEAD" "/a.txt" ["Range: bytes=0-1"]))
  (t/same [200 "36" nil] [status (headers "content-length") (headers "content-range")]))

(t/test "Range and what the client has already"
  (t/same 304 (first (part "Range: bytes=0-1" (string "If-None-Match: " tag))))
  (t/same 412 (first (part "Range: bytes=0-1" `If-Match: "other"`)))
  (t/same 206 (first (part "Range: bytes=0-1" `If-None-Match: "other"`))))

(t/test "If-Range"
  (def asked "Range: bytes=0-1")
  (each [status condition]
    [[206 tag] [200 `"other"`] [200 (string "W/" tag)] [200 (string/slice tag 1 -2)]
     [206 "Sun, 09 Sep 2001 01:46:40 GMT"] [200 "Sun, 09 Sep 2001 01:46:41 GMT"]
     [200 "Sun, 09 Sep 2001 01:46:39 GMT"] [200 "yesterday"]]
    (t/same status (first (part asked (string "If-Range: " condition))) condition))
  # It is nothing without Range.
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

(t/test "what would be refused in a target is not a file"
  (each way ["/\0" "/a.txt\0" "/a.txt#"]
    (t/same 400 ((get-file way) :status) way))
  # A slash in two bytes too many is none.
  (t/same 404 ((get-file "/..\xC0\xAFsecret.txt") :status)))

(t/test "symbolic links are not followed, wherever they are in the path"
  (each path ["/link.txt" "/linked" "/linked/" "/linked/secret.txt" "/linked/index.html" "/inner.txt"
              "/sub/inner.html" "/linked-index/" "/linked-index/index.html" "/linked/../a.txt"]
    (t/same not-found (brief (get-file path)) path)))

(t/test ":symlinks true follows them"
  (each [path body] [["/link.txt" "secret"] ["/linked/" "secret"] ["/linked/secret.txt" "secret"]
                     ["/inner.txt" text] ["/linked-index/" "secret"]]
    (t/same [200 body] (brief (h/fetch open "GET" path)) path))
  (each path ["/dangling" "/loop"]
    (t/same not-found (brief (h/fetch open "GET" path)) path)))

(t/test "the folder itself may be given by a link"
  (with [server (serve (string place "/way-in"))]
    (t/same [200 text] (brief (h/fetch server "GET" "/a.txt")))
    (t/same not-found (brief (h/fetch server "GET" "/link.txt")))))

(t/test "names that begin with a dot are not served"
  (each path ["/.hidden.txt" "/%2ehidden.txt" "/.folder/file.txt" "/.folder" "/.folder/" "/sub/.hidden"
              "/..dots.txt"]
    (t/same not-found (brief (get-file path)) path)))

(t/test ":hidden true serves them"
  (each [path body] [["/.hidden.txt" "hidden"] ["/.folder/file.txt" "hidden"] ["/..dots.txt" "dots"]]
    (t/same [200 body] (brief (h/fetch open "GET" path)) path))
  (t/same not-found (brief (h/fetch open "GET" "/../secret.txt"))))

# As one of several.

(t/test ":prefix is the path below which the folder is"
  (each prefix ["/assets" "/assets/"]
    (with [server (serve root :prefix prefix)]
      (each [path status body]
        [["/assets/a.txt" 200 text] ["/assets/" 200 "<title>root</title>"] ["/assets/sub/" 200 "<title>sub</title>"]
         ["/a.txt" 404 "Not Found"] ["/" 404 "Not Found"] ["/assetsa.txt" 404 "Not Found"]
         ["/assets../secret.txt" 404 "Not Found"] ["/assets/../a.txt" 404 "Not Found"]
         ["/assets%2fa.txt" 404 "Not Found"] ["/other/assets/a.txt" 404 "Not Found"]]
        (t/same [status body] (brief (h/fetch server "GET" path)) path))
      (each [path location] [["/assets" "/assets/"] ["/assets?a" "/assets/?a"] ["/assets/sub" "/assets/sub/"]]
        (def {:status status :headers headers} (h/fetch server "GET" path))
        (t/same [301 location] [status (headers "location")] path)))))

(t/test "what is not found is left to the next handler, with the request as it was"
  (defn next-handler [req] {:status 201 :body (string "next: " (req :method) " " (req :path))})
  (with [server (serve root next-handler)]
    (t/same [200 text] (brief (h/fetch server "GET" "/a.txt")))
    (each [method path] [["GET" "/nowhere?a=b"] ["POST" "/a.txt"] ["GET" "/../secret.txt"] ["GET" "/link.txt"] ["GET" "/bare/"]]
      (t/same [201 (string "next: " method " " path)] (brief (h/fetch server method path))))
    (t/same 304 ((h/fetch server "GET" "/a.txt" [(string "If-None-Match: " tag)]) :status))))

(t/test "two folders, one behind the other"
  (with [server (http/server (http/static (in-root "sub") (http/static (in-root "bare") nil :index "home.htm")) host 0)]
    (t/same [200 "<title>page</title>"] (brief (h/fetch server "GET" "/page.html")))
    (t/same [200 "<title>home</title>"] (brief (h/fetch server "GET" "/home.htm")))
    (t/same [200 "<title>sub</title>"] (brief (h/fetch server "GET" "/")))
    (t/same not-found (brief (h/fetch server "GET" "/nowhere")))))

(t/test "wrong arguments are errors that name them"
  (defn why [& args] (string (t/raised |(http/static ;args))))
  (each [args word] [[["/nowhere/at/all"] "/nowhere/at/all"]
                     [[text-file] text-file]
                     [[root nil :prefx "/a"] ":prefx"]
                     [[root nil :prefix] ":prefix"]
                     [[root nil :prefix 5] ":prefix"]
                     [[root nil :index true] ":index"]
                     [[root nil :hidden 1] ":hidden"]
                     [[root nil :symlinks "yes"] ":symlinks"]]
    (def err (why ;args))
    (t/check (and (string/find "kqnet/http/static" err) (string/find word err))
             (string/format "%q in the error, not %q" word err))))

# Large files.

(def- mebibyte 1048576)

(defn- make-sparse
  "A file of holes, with a mark at each of these places."
  [name size places]
  (with [f (file/open (in-root name) :wbn)]
    (file/seek f :set (dec size))
    (file/write f "\0")
    (each place places
      (file/seek f :set place)
      (file/write f "mark"))))

(defn- peak
  "The most memory that a process ever had resident, in bytes; nil where that is unknown."
  [pid]
  (when-let [[_ status] (protect (slurp (string "/proc/" pid "/status")))
             [size] (peg/match '(* (thru "VmHWM:") :s* (number :d+)) status)]
    (* 1024 size)))

(defn- start-server
  "A server of the folder in a process of its own, which prints its port."
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
    (def pid (get-in server [:proc :pid]))
    (h/fetch port "GET" "/a.txt")
    (def before (peak pid))
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
        # Those that were not cut between two reads.
        (t/check (has-value? marks 0) "the beginning")))
    (t/same "mark" ((h/fetch port "GET" "/large" ["Range: bytes=-4"]) :body))
    (t/same "mark" ((h/fetch port "GET" "/large" ["Range: bytes=33554432-33554435"]) :body))
    (t/same "" (string (server :err)))
    (unless before (t/skip "the peak of a process's memory is not known here"))
    (def grown (- (peak pid) before))
    (print "      grown by " (div grown 1024) " KiB")
    (t/check (< grown (* 16 mebibyte)) (string "at most 16 MiB more, not " grown))))

(t/test "parts of a file of 5 GiB"
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
  "Gets a large file, and does something to it when the head is there. Returns the bytes of the body."
  [server name act]
  (with [c (h/client server)]
    (:send c "GET" (string "/" name) ["Connection: close"])
    (def {:headers headers} (:head c))
    (t/same (string (* 32 mebibyte)) (headers "content-length"))
    (act)
    (length (:rest c))))

(t/test "a file that becomes shorter while it is sent: the connection ends early, and an error says so"
  (def told @[])
  (with [server (http/server (http/static root) host 0
                             :on-error (fn [req err _] (array/push told (req :path) err) nil))]
    (make-sparse "shrinking" (* 32 mebibyte) [])
    (def got (while-sent server "shrinking" |(spit (in-root "shrinking") "short")))
    (t/check (< got (* 32 mebibyte)) "fewer bytes")
    (t/wait-until "the error" |(= 2 (length told)))
    (t/same "/shrinking" (first told))
    (t/check (string/find "became shorter while it was sent" (last told)) "the reason")
    (t/same [200 text] (brief (h/fetch server "GET" "/a.txt")))))

(t/test "a file that grows while it is sent: as many bytes as were announced"
  (make-sparse "growing" (* 32 mebibyte) [])
  (def got (while-sent plain "growing"
             |(with [f (file/open (in-root "growing") :abn)] (file/write f "more"))))
  (t/same (* 32 mebibyte) got))

(t/test "a file that is replaced while it is sent: all of the old one"
  (make-sparse "replaced" (* 32 mebibyte) [])
  (def got (while-sent plain "replaced"
             |(do (make "new" "new") (os/rename (in-root "new") (in-root "replaced")))))
  (t/same (* 32 mebibyte) got)
  (t/same [200 "new"] (brief (get-file "/replaced"))))

(t/test "clients that go away within a file leave no descriptor"
  (make-sparse "left" (* 32 mebibyte) [])
  (def before (t/descriptors))
  (repeat 10
    (with [c (h/client plain)]
      (:send c "GET" "/left")
      (:head c)))
  (t/wait-until "the ends of the connections" |(zero? ((kqnet/stats plain) :active)))
  (t/settles before t/descriptors "descriptors"))

(t/test "a file that cannot be opened is an error, not the beginning of an answer"
  (with [server
         (t/start-forms
           ~[(import kqnet/http)
             (def files (http/static ,root))
             # As many descriptors as there may be.
             (def held @[])
             (defn starved [req]
               (while (def f (file/open "/dev/null")) (array/push held f))
               (def response (files req))
               # Its first piece is asked for when it is sent.
               response)
             (def server
               (http/server starved "127.0.0.1" 0
                            :on-error (fn [_ err _]
                                        (each f held (file/close f))
                                        {:status 503 :body (string err)})))
             (print (last (net/localname server)))
             (flush)])]
    (def {:status status :body body} (h/fetch (:port server) "GET" "/a.txt"))
    (t/same 503 status)
    (t/check (string/find "a.txt" body) "the name of the file")))

(remove place)
(t/finish)
