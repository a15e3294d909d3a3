###
### kqnet-serve --reload and --live: what is watched, what pages are told, and the terminal in which somebody develops.
###

(import ./support :as t)
(import ./support/http :as h)
(import ./support/programs)
(import ./support/serve :prefix "")
(t/need-spork)

(defn- folder-of [file] (string/slice file 0 (- (inc (length "/app.janet")))))

(defn- save
  "Replaces a program. A worker that has begun to read the old one goes on with that."
  [file text]
  (def other (string (folder-of file) "/.new"))
  (spit other text)
  (os/rename other file))

(defn- count-of [text process] (length (string/find-all text (process :err))))

(defn- page
  "A program that answers with a page."
  [text]
  (string/format `(import kqnet/http) (http/serve-forever (fn [_] {:headers {"Content-Type" "text/html"} :body %q}))`
                 (string "<!doctype html><p>" text "</p>")))

(defn- shows
  "Waits until the page has this text."
  [port text]
  (t/wait-until (string "a page with " text) |(string/find text (ask port))))

(t/test "with --reload, saving a file of the program runs the new version, and an error waits for the next save"
  (with-program (page "one")
    (fn [file]
      (def [process port] (start "--reload" file))
      (shows port "one")
      (t/check (not (string/find "<script>" (ask port))) "pages are as they are")
      (save file (page "two"))
      (shows port "two")
      (save file "(oh")
      (wait-for process "parse error")
      (shows port "two")
      (save file (page "three"))
      (shows port "three")
      # A file that the program imports, replaced as editors do it, in a folder that is new.
      (def folder (folder-of file))
      (os/mkdir (string folder "/lib"))
      (spit (string folder "/lib/text.janet.tmp") "(def text 4)")
      (os/rename (string folder "/lib/text.janet.tmp") (string folder "/lib/text.janet"))
      (save file (string `(import ./lib/text) ` (page "four")))
      (shows port "four")
      # Folders that are ignored are so even if they are new, and files that came with a folder count.
      (each name ["build" ".git"]
        (os/mkdir (string folder "/" name))
        (spit (string folder "/" name "/a.janet") "1"))
      (t/check (not (string/find "a.janet has changed" (process :err))) (process :err))
      (os/mkdir (string folder ".moved"))
      (spit (string folder ".moved/q.janet") "1")
      (os/rename (string folder ".moved") (string folder "/moved"))
      (wait-for process "moved/q.janet has changed")
      (t/check (not (string/find "a.janet has changed" (process :err))) (process :err))
      (def before (length (string/find-all "has changed" (process :err))))
      (spit (string folder "/lib/text.janet") "(def text 5)")
      (wait-for process "has changed" (inc before))
      (ends process))))

(t/test "with --reload, a program that does not start at first is tried again after a save"
  (with-program "(oh"
    (fn [file]
      (def port (t/free-port))
      (def process (serve "-b" port "--reload" file))
      (wait-for process "parse error")
      (save file (page "now"))
      (shows port "now")
      (ends process))))

(defn- events-of
  "Asks for the event stream of live pages. Returns a function that waits until a text has come."
  [port]
  (def conn (t/send port "GET /.kqnet/live HTTP/1.1\r\nHost: h\r\n\r\n"))
  (def seen @"")
  (fn [text]
    (while (not (string/find text seen))
      (t/check (:read conn 4096 seen 20) (string text " in " seen)))))

(t/test "with --live, pages learn of errors, of other files and, by the end of their stream, of new versions"
  (with-program (page "one")
    (fn [file]
      (def [process port] (start "--live" file))
      (shows port "<script>")
      (def comes (events-of port))
      (comes "event: version")
      (spit (string file ".css") "p {}")
      (comes ".1\n")
      (save file "(oh")
      (comes "data: ")
      (comes "parse error")
      (save file (page "two"))
      (comes "0\r\n\r\n")
      (shows port "two")
      (ends process))))

(t/test "with --live, a page says that the program does not start until it does"
  (with-program "(oh"
    (fn [file]
      (def port (t/free-port))
      (def process (serve "-b" port "--live" file))
      (wait-for process "parse error")
      (t/wait-until "an answer" |(let [{:status status :body body} (h/fetch port "GET" "/")]
                                   (and (= 503 status) (string/find "does not start" body))))
      ((events-of port) "parse error")
      (save file (page "now"))
      (shows port "now")
      (ends process))))

(t/test "with --live, the page about a program that does not start is at all addresses, and at no other"
  (with-program "(oh"
    (fn [file]
      (def ports [(t/free-port) (t/free-port)])
      (def process (serve "-b" (ports 0) "-b" (ports 1) "--live" file))
      (wait-for process "parse error")
      (each port ports
        (t/wait-until "an answer" |(= 503 ((h/fetch port "GET" "/") :status)))
        ((events-of port) "parse error"))
      (ends process))))

(t/test "with --live, other files count, but not those in folders that are left out, and nothing is left behind"
  (with-program (page "one")
    (fn [file]
      (def folder (folder-of file))
      (def temporary (t/scratch "tmp"))
      (os/mkdir temporary)
      (def process (t/start {"TMPDIR" temporary} (dyn *executable*) script "-b" (string (t/free-port)) "--live" file))
      (wait-for process "kqnet-serve: listening on ")
      (def [port] (peg/match '(* (thru "listening on 127.0.0.1:") (number :d+)) (process :err)))
      (def comes (events-of port))
      (comes ".0\n")
      (os/mkdir (string folder "/build"))
      (spit (string folder "/build/out") "x")
      (spit (string folder "/style.css") "p {}")
      (comes ".1\n")
      # A folder that comes with its files.
      (def elsewhere (t/scratch "moved"))
      (os/mkdir elsewhere)
      (spit (string elsewhere "/more.css") "p {}")
      (os/rename elsewhere (string folder "/moved"))
      (comes ".2\n")
      (t/same @[] (os/dir temporary))
      (:signal process :kill)
      (:wait process)
      (t/same @[] (os/dir temporary))
      (os/rmdir temporary))))

(t/test "files that editors keep for themselves are no change, and files that are replaced, as editors save them, are"
  (with-program (page "one")
    (fn [file]
      (def folder (folder-of file))
      (def [process port] (start "--live" file))
      (def comes (events-of port))
      (comes ".0\n")
      (each name [".app.janet.swp" "app.janet~" "#app.janet#" "4913" "app.janet.tmp" ".goutputstream-A1" "style.css.bak"
                  "style.css___jb_tmp___" ".hidden.janet"]
        (spit (string folder "/" name) "x"))
      # Emacs says in this way who edits a file. It leads nowhere.
      (os/symlink "me@here.1" (string folder "/.#app.janet"))
      # Vim moves the file away, and writes another one.
      (spit (string folder "/style.css") "p {}")
      (comes ".1\n")
      (t/check (not (string/find "has changed" (process :err))) (process :err))
      (save file (page "two"))
      (shows port "two")
      (os/rename file (string file "~"))
      (spit file (page "three"))
      (os/rm (string file "~"))
      (shows port "three")
      (ends process))))

(t/test "a source file that is saved together with another file runs the new version"
  (with-program (page "one")
    (fn [file]
      (def [process port] (start "--live" file))
      (shows port "one")
      (save file (page "two"))
      (spit (string file ".css") "p {}")
      (shows port "two")
      (ends process))))

(t/test "a folder that is moved away, deleted or replaced is watched again once it is back"
  (with-program (page "one")
    (fn [file]
      (def folder (folder-of file))
      (def away (t/scratch "away"))
      (def [process port] (start "--reload" file))
      (shows port "one")
      (os/rename folder away)
      (wait-for process (string "the folder " folder " is gone"))
      (shows port "one")
      (spit (string away "/app.janet") (page "two"))
      (os/rename away folder)
      (shows port "two")
      (save file (page "three"))
      (shows port "three")
      (t/remove folder)
      (wait-for process (string "the folder " folder " is gone") 2)
      (shows port "three")
      (os/mkdir folder)
      (save file (page "four"))
      (shows port "four")
      # Another folder of the same name.
      (os/mkdir away)
      (spit (string away "/app.janet") (page "five"))
      (os/rename folder (string folder ".old"))
      (os/rename away folder)
      (shows port "five")
      (save file (page "six"))
      (shows port "six")
      (t/remove (string folder ".old"))
      (ends process))))

(t/test "where the system cannot tell of changes, it says so in one line, and looks itself"
  (def [unshare] (programs/need "unshare"))
  (def refused `echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"`)
  (unless (zero? (first (programs/run unshare "-r" "sh" "-c" refused "sh" "true")))
    (t/skip "this user may not make a namespace in which inotify is refused"))
  (with-program (page "one")
    (fn [file]
      (def port (t/free-port))
      (def process (t/start unshare "-r" "sh" "-c" refused "sh" (dyn *executable*) script "-b" (string port) "--reload" file))
      (wait-for process "the system does not tell when files change: there are too many inotify instances")
      (shows port "one")
      # The same size, in the same second.
      (each text ["two" "six" "ten"]
        (save file (page text))
        (shows port text))
      (def folder (string (folder-of file) "/lib"))
      (os/mkdir folder)
      (spit (string folder "/a.janet") "1")
      (wait-for process "a.janet has changed")
      # A file from elsewhere.
      (def elsewhere (t/scratch "elsewhere"))
      (os/mkdir elsewhere)
      (spit (string elsewhere "/text.janet") "(def text `first`)")
      (save file (string "(import ../" (last (string/split "/" elsewhere)) "/text) (import kqnet/http)"
                         "(http/serve-forever (fn [_] {:body text/text}))"))
      (shows port "first")
      (spit (string elsewhere "/text.janet") "(def text `second`)")
      (shows port "second")
      (t/remove elsewhere)
      (t/same 1 (count-of "does not tell" process))
      (t/check (not (string/find "error" (process :err))) (process :err))
      (ends process))))

(defn- with-site
  ``Calls a function with the paths of a program, which has this text, and of an empty folder beside the program's. Both are in a
  folder whose path has no links.``
  [text f]
  (def given (t/scratch "site"))
  (os/mkdir given)
  (def folder (os/realpath given))
  (def app (string folder "/app"))
  (def lib (string folder "/lib"))
  (each new [app lib] (os/mkdir new))
  (spit (string app "/app.janet") text)
  (defer (t/remove folder) (f (string app "/app.janet") lib)))

(defn- shown-by
  "A program that runs some code and answers with the value of an expression."
  [code expression]
  (string "(import kqnet/http)\n" code "\n(http/serve-forever (fn [_] {:body (string " expression ")}))"))

(defn- text [value] (string/format "(def text %q)" value))

(t/test "with --reload, a file that the program imports from elsewhere runs the new version, and its neighbours do not"
  (with-site (shown-by "(import ../lib/text)" "text/text")
    (fn [file lib]
      (def path (string lib "/text.janet"))
      (spit path (text "one"))
      (def [process port] (start "--reload" file))
      (shows port "one")
      (each name ["other.janet" "text.txt" "text.jdn"] (spit (string lib "/" name) "1"))
      (spit path (text "two"))
      (shows port "two")
      (wait-for process (string path " has changed"))
      (t/check (not (string/find "/text.jdn has" (process :err))) (process :err))
      (t/check (not (string/find "other" (process :err))) (process :err))
      # One that is replaced, as editors save it, and one whose folder is.
      (spit (string path "~") (text "three"))
      (os/rename (string path "~") path)
      (shows port "three")
      (os/rename lib (string lib ".old"))
      (shows port "three")
      (def new (string lib ".new"))
      (os/mkdir new)
      (spit (string new "/text.janet") (text "four"))
      (os/rename new lib)
      (shows port "four")
      (spit path (text "five"))
      (shows port "five")
      (ends process))))

(t/test "with --reload, an error in a file from elsewhere waits for the next save of it, also at the start, as does one that is missing"
  (with-site (shown-by "(import ../lib/text)" "text/text")
    (fn [file lib]
      (def path (string lib "/text.janet"))
      (def port (t/free-port))
      (def process (serve "-b" port "--reload" file))
      (wait-for process "could not find module ../lib/text")
      (spit path "(oh")
      (wait-for process "parse error")
      (spit path (text "one"))
      (shows port "one")
      (spit path "(error `at the top`)")
      (wait-for process "at the top")
      (shows port "one")
      (spit path (text "two"))
      (shows port "two")
      (ends process))))

(t/test "with --reload, files that are loaded by other means than an import at the start count"
  (with-site (page "none")
    (fn [file lib]
      (def [process port] (start "--reload" file))
      (defn counts [name program &opt form]
        (default form text)
        (def path (string lib "/" name))
        (spit path (form "one"))
        (save file program)
        (shows port "one")
        (spit path (form "two"))
        (shows port "two"))
      (counts "run.janet" (shown-by (string/format "(def env (dofile %q))" (string lib "/run.janet")) "(get-in env ['text :value])"))
      (counts "asked.janet" (shown-by "" "(get-in (require `../lib/asked`) ['text :value])"))
      # In a folder in which modules are looked for, as JANET_PATH is.
      (def tree (string/format "(module/add-paths `.none` :source) (array/push module/paths [%q :source])" (string lib "/:all:.janet")))
      (counts "tree.janet" (shown-by (string tree "(import tree)") "tree/text"))
      (counts "page.raw" (shown-by (string "(put module/loaders :raw (fn [path &] @{'text @{:value (slurp path)}}))"
                                           "(module/add-paths `.raw` :raw) (import ../lib/page)") "page/text")
              identity)
      # A link, and a folder of the program that is not looked into.
      (os/symlink (string lib "/target.janet") (string (folder-of file) "/link.janet"))
      (counts "target.janet" (shown-by "(import ./link)" "link/text"))
      (os/mkdir (string (folder-of file) "/build"))
      (counts "../app/build/made.janet" (shown-by "(import ./build/made)" "made/text"))
      (ends process))))

(t/test "with --reload, a process that a worker starts does not get what the worker tells of its files by"
  (with-site ""
    (fn [file lib]
      (def out (string lib "/out"))
      (save file (shown-by (string/format "(os/execute [`sh` `-c` %q] :p)"
                                          (string "{ echo \"<$KQNET_LOADED>\"; ls -l /proc/self/fd; } > " out))
                           "(os/readlink (string `/proc/self/fd/` (get-in root-env [:kqnet/loaded :pipe])))"))
      (def [process port] (start "--reload" file))
      (shows port "pipe:")
      (def seen (slurp out))
      (t/check (string/has-prefix? "<>\n" seen) seen)
      (t/check (not (string/find (ask port) seen)) seen)
      (ends process))))

(t/test "with --live, a folder that is served counts wherever it is, also when it is made anew"
  (with-site "(import kqnet/http) (http/serve-forever (http/static `LIB`))"
    (fn [file lib]
      (save file (string/replace "LIB" lib (slurp file)))
      (os/mkdir (string lib "/css"))
      (def process (serve "-b" (string (t/free-port)) "--live" file))
      (wait-for process "kqnet-serve: listening on ")
      (def [port] (peg/match '(* (thru "listening on 127.0.0.1:") (number :d+)) (process :err)))
      (def comes (events-of port))
      (comes ".0\n")
      (spit (string lib "/css/site.css") "p {}")
      (comes ".1\n")
      (t/remove lib)
      (comes ".2\n")
      (os/mkdir lib)
      (spit (string lib "/site.css") "p {}")
      (comes ".3\n")
      (spit (string lib "/site.css") "p { color: red }")
      (comes ".4\n")
      (t/check (not (string/find "has changed" (process :err))) (process :err))
      (ends process))))

(def- kinds
  "A program with pages, parts of pages, and answers of other kinds."
  ```
  (import kqnet/http)
  (def html {"content-type" "Text/HTML; charset=utf-8"})
  (def texts
    {"/page" "\n<!-- A page -->\n<!DocType html><title>x</title>"
     "/html" "<HTML lang=en><p>x</p></HTML>"
     "/part" "<li>one</li>"
     "/header" "<header>one</header>"
     "/empty" ""})
  (def site
    (http/static
      "PUBLIC"
      (fn [{:path path :headers headers}]
        (case path
          "/pieces" {:headers html :body (coro (yield "") (yield "  <!doct") (yield "ype html>"))}
          "/page-pieces" {:headers html :body (coro (yield "\n") (yield "<!doctype html>") (yield "<p>x"))}
          "/part-pieces" {:headers html :body (coro (yield "<li>") (yield "<html>"))}
          "/plain" {:body "<html>"}
          "/not-modified" {:status (if (headers "if-none-match") 304 200) :headers {"Content-Type" "text/html" "ETag" `"a"`} :body "<html>"}
          {:headers html :body (texts path)}))))
  (http/serve-forever site)
  ```)

(defn- fetched
  "What a request gets."
  [port method path & headers]
  (def text (t/receive (t/send port (string method " " path " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
                                    (string/join (map |(string $ "\r\n") headers)) "\r\n"))))
  (def [head body] (string/split "\r\n\r\n" text 0 2))
  {:head head :body body :length (get (peg/match '(* (thru "Content-Length: ") (number :d+)) head) 0)
   :script (truthy? (string/find "EventSource" body))})

(t/test "with --live, only pages get the script, and HEAD has the length that GET has"
  (with-program ""
    (fn [file]
      (def public (string (folder-of file) "/public"))
      (os/mkdir public)
      (spit (string public "/small.html") "<!doctype html>")
      (spit (string public "/large.html") (string "<!doctype html>" (string/repeat "x" 100000)))
      (spit (string public "/part.html") "<li>")
      (spit file (string/replace "PUBLIC" public kinds))
      (def [process port] (start "--live" file))
      (each [path script?]
        [["/page" true] ["/html" true] ["/part" false] ["/header" false] ["/empty" false] ["/plain" false]
         ["/page-pieces" true] ["/part-pieces" false]
         ["/small.html" true] ["/large.html" true] ["/part.html" false]]
        (def got (fetched port "GET" path))
        (t/same script? (got :script) path)
        (def head (fetched port "HEAD" path))
        (t/same "" (head :body) path)
        (when (head :length) (t/same (got :length) (head :length) path))
        (when (got :length) (t/same (length (got :body)) (got :length) path))
        (t/check (string/has-prefix? "HTTP/1.1 200" (head :head)) path))
      # What the browser says comes before what the text looks like.
      (t/same true ((fetched port "GET" "/part" "Sec-Fetch-Dest: document") :script))
      (t/same true ((fetched port "GET" "/part-pieces" "Sec-Fetch-Dest: iframe") :script))
      (t/same false ((fetched port "GET" "/page" "Sec-Fetch-Dest: empty") :script))
      (t/same false ((fetched port "GET" "/page" "HX-Request: true") :script))
      (t/same false ((fetched port "GET" "/page" "X-Requested-With: XMLHttpRequest") :script))
      (t/same false ((fetched port "POST" "/page" "Content-Length: 0") :script))
      # A page from the browser's cache would not have it.
      (t/same true ((fetched port "GET" "/not-modified" "Sec-Fetch-Dest: document" `If-None-Match: "a"`) :script))
      (t/check (string/has-prefix? "HTTP/1.1 304" ((fetched port "GET" "/not-modified" `If-None-Match: "a"`) :head)) "others")
      (ends process))))

(defn- in-terminal
  "Starts a program in a terminal of its own, which is closed on SIGUSR1."
  [& args]
  (def [python] (programs/need "python3"))
  (t/start python (string t/project "/test/support/terminal.py") ;(map string args)))

(defn- writes
  "Waits until a program in a terminal has written a text as often as `count` says."
  [process text &opt count]
  (default count 1)
  (t/wait-until text |(or (>= (length (string/find-all text (process :out))) count)
                          (if (process :status) (t/fail text (string (process :out) (process :err)))))))

(t/test "closing the terminal ends --reload, and so does the end of a shell between them"
  (with-program (page "one")
    (fn [file]
      (each shell [[] ["sh" "-c" `"$@"; exit` "sh"]]
        (def port (t/free-port))
        (def pid-file (string file ".pid"))
        (def process (in-terminal ;shell (dyn *executable*) script "-b" port "--pid" pid-file "--reload" file))
        (writes process "listening on ")
        (def pid (string/trim (slurp pid-file)))
        (:signal process :usr1)
        (:wait process)
        (t/wait-until "its end" |(not (alive? pid)))
        (t/same nil (os/stat pid-file) "the end of a stop")
        (t/same false (first (protect (t/connect port))) "nobody listens")))))

(t/test "kill -HUP of --reload runs the program again, in a terminal and without one"
  (with-program (page "one")
    (fn [file]
      (def port (t/free-port))
      (def pid-file (string file ".pid"))
      (def process (in-terminal (dyn *executable*) script "-b" port "--pid" pid-file "--reload" file))
      (writes process "listening on ")
      (def pid (string/trim (slurp pid-file)))
      (t/same 0 (os/execute ["kill" "-HUP" pid] :p))
      (writes process "replacing the workers")
      (shows port "one")
      (t/same 0 (os/execute ["kill" "-TERM" pid] :p))
      (t/same 0 (:wait process) (process :out))
      (def [setsid] (programs/need "setsid"))
      (def alone (t/start setsid (dyn *executable*) script "-b" (string port) "--reload" file))
      (wait-for alone "listening on ")
      (:signal alone :hup)
      (wait-for alone "replacing the workers")
      (shows port "one")
      (ends alone))))

(t/test "under nohup, --reload goes on when the terminal is closed"
  (def [nohup] (programs/need "nohup"))
  (with-program (page "one")
    (fn [file]
      (def port (t/free-port))
      (def pid-file (string file ".pid"))
      (def process (in-terminal "sh" "-c" `exec "$@" > "$0" 2>&1 < /dev/null` (string file ".log")
                                nohup (dyn *executable*) script "-b" port "--pid" pid-file "--reload" file))
      (t/wait-until "an answer" |(first (protect (ask port))))
      (def pid (string/trim (slurp pid-file)))
      (:signal process :usr1)
      (t/wait-until "the signal" |(string/find "replacing the workers" (slurp (string file ".log"))))
      (shows port "one")
      (os/execute ["kill" "-TERM" pid] :p)
      (t/same 0 (:wait process)))))

(t/finish)
