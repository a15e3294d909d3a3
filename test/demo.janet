###
### The demo does what it is for, with and without a browser: its guest book, its statistics, and its bursts to two servers.
###

(import ./support :as t)
(import ./support/http :as h)
(import ./support/multipart :as m)
(import ./support/programs)
(import ./support/websocket :as w)

(def- from (t/need-spork))
(print "with " from)

(def- host programs/host)

(defn- modules
  "The folder in which this Janet and others find kqnet."
  []
  (dyn *syspath*))

(defn- start
  ``Starts the demo with its entries in a folder. Returns its process and its port. `extra` is for its environment; without it, there
  are no two servers for bursts.``
  [folder &opt port extra]
  (default extra {"KQNET_DEMO_WITHOUT" "the test <left> them out"})
  (def process (t/start extra (dyn *executable*) (string t/project "/demo/site.janet") (string (or port 0)) folder))
  [process (scan-number (first (peg/match '(* "http://127.0.0.1:" ':d+ "/" -1) (:line process))))])

(defn- start-with-servers
  "Starts the demo with the two servers, on this Janet."
  [folder &opt port]
  (start folder port {"KQNET_DEMO_JANET" (dyn *executable*) "KQNET_DEMO_MODULES" (modules)}))

(def- stalls?
  "Whether core's net/server stalls on this Janet and this kernel."
  (= host "1.37.1-kqueue-xnu"))

(defn- ends
  "Fails unless a process ends with status 0 on SIGTERM, without an error on stderr."
  [process]
  (:signal process :term)
  (t/same 0 (:wait process) (process :err))
  (t/check (not (string/find "error" (process :err))) (string (process :err))))

(defmacro- with-folder
  "Runs the body with the path of a folder that does not exist yet, and removes it."
  [name & body]
  ~(let [,name (,t/scratch "guest-book")]
     (defer (,t/remove ,name) ,;body)))

(defn- post
  "Posts a form with these parts."
  [port parts & headers]
  (h/fetch port "POST" "/entries" [m/content-type ;headers] (m/body ;parts)))

(defn- sign
  "Posts an entry. Returns the response."
  [port name text & files]
  (post port [(m/part "name" name) (m/part "text" text) ;files]))

(defn- book [port & headers] ((h/fetch port "GET" "/" headers) :body))

(defn- has
  "Fails unless a text contains a part."
  [part text]
  (t/check (string/find part text) (string/format "%q in %q" part text)))

(defn- has-not
  [part text]
  (t/check (not (string/find part text)) (string/format "no %q in %q" part text)))

(defn- follow
  "Opens the event stream. Returns a function that reads until a text has arrived, and returns all that has."
  [port path & headers]
  (def conn (t/send port (h/request "GET" path headers)))
  (def seen @"")
  (fn [text]
    (while (not (string/find text seen))
      (t/check (:read conn 65536 seen) (string text " in " seen)))
    (string seen)))

(t/test "an entry that is posted is in the book and has a page of its own, and the visitor's name is remembered"
  (with-folder folder
    (def [process port] (start folder))
    (has "Nobody has written" (book port))
    (def {:status status :headers headers} (sign port "Zoë; the 1st" "Hello\nthere"))
    (t/same [303 "/#entry-1"] [status (headers "location")])
    (def cookie (first (string/split ";" (headers "set-cookie"))))
    (has "SameSite=Lax" (headers "set-cookie"))
    (has `value="Zoë; the 1st"` (book port (string "Cookie: " cookie)))
    (has `<li id="entry-1">` (book port))
    (has "Hello\nthere" ((h/fetch port "GET" "/entries/1") :body))
    (each missing ["/entries/2" "/entries/x" "/entries/1/2" "/nowhere"]
      (t/same 404 ((h/fetch port "GET" missing) :status) missing))
    (t/same 405 ((h/fetch port "PUT" "/entries") :status))
    (has "kqnet_accepted_total" ((h/fetch port "GET" "/metrics") :body))
    # Also the way in which a form without a picture may be sent.
    (t/same 303 ((h/fetch port "POST" "/entries" ["Content-Type: application/x-www-form-urlencoded"] "name=A&text=B") :status))
    (ends process)))

(t/test "what a visitor sends is never HTML, in the page, in the title, in the form and in an event"
  (with-folder folder
    (def [process port] (start folder))
    (def evil `"><script>alert('1')</script>&amp;`)
    (def escaped "&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;amp;")
    (def cookie (first (string/split ";" (get-in (sign port evil evil) [:headers "set-cookie"]))))
    (each text [(book port (string "Cookie: " cookie))
                ((h/fetch port "GET" "/entries/1") :body)
                ((follow port "/events?after=0") "</li>")]
      (has escaped text)
      (has-not "<script>alert" text))
    # A cookie that this server has not made.
    (each value [`%22%3E%3Cscript%3E` "%" "%zz" "%00" "="]
      (def text (book port (string "Cookie: name=" value)))
      (has "Guest book" text)
      (has-not `"><script>` text))
    (ends process)))

(t/test "an entry that is empty or too large is refused with a page that says why, and nothing is kept"
  (with-folder folder
    (def [process port] (start folder))
    (defn refused [status text response]
      (t/same status (response :status) (response :body))
      (has "text/html" (get-in response [:headers "content-type"]))
      (has text (response :body)))
    (refused 422 "needs a name" (sign port "" "x"))
    (refused 422 "needs a name" (sign port "x" " \n "))
    (refused 422 "needs a name" (post port []))
    # A file instead of a text, and two texts instead of one.
    (refused 422 "needs a name" (post port [(m/part "name" "a" "file.txt") (m/part "text" "b")]))
    (refused 422 "needs a name" (sign port "a" "b" (m/part "text" "c")))
    (refused 422 "too long" (sign port (string/repeat "x" 161) "x"))
    (refused 413 "a field of the form is too large" (sign port "x" (string/repeat "x" 4001)))
    (refused 415 "none of PNG" (sign port "x" "x" (m/part "picture" "<svg onload='alert(1)'/>" "a.png")))
    (refused 413 "a file of the form is too large"
             (sign port "x" "x" (m/part "picture" (string "GIF89a" (string/repeat "x" (* 256 1024))) "a.gif")))
    (refused 413 "a file of the form is too large"
             (sign port "x" "x" (m/part "picture" (string "GIF89a" (string/repeat "x" 2000000)) "a.gif")))
    (refused 413 "files" (sign port "x" "x" (m/part "picture" "GIF89a" "a.gif") (m/part "picture" "GIF89a" "b.gif")))
    (refused 403 "another site" (post port [(m/part "name" "x") (m/part "text" "x")] "Origin: https://evil.example"))
    (refused 403 "another site" (post port [(m/part "name" "x") (m/part "text" "x")] "Origin: null"))
    (t/same 303 ((post port [(m/part "name" "x") (m/part "text" "x")] "Origin: http://h") :status))
    (t/same 1 (length (string/find-all `<li id="entry-` (book port))))
    (t/same [] (os/dir (string folder "/pictures")))
    (ends process)))

(t/test "a picture is served under a name of the server's own, with the type of its content"
  (with-folder folder
    (def [process port] (start folder))
    (def picture (string "GIF89a" (string/repeat "\0\xff" 1000)))
    (t/same 303 ((sign port "x" "x" (m/part "picture" picture "../../evil.html")) :status))
    (def [path] (peg/match '(* (thru `<img src="`) '(to `"`)) (book port)))
    (def {:status status :headers headers :body body} (h/fetch port "GET" path))
    (t/same [200 "image/gif" "nosniff"] [status (headers "content-type") (headers "x-content-type-options")])
    (t/check (= picture body) "the same bytes")
    (ends process)))

(t/test "the last hundred entries are kept, and the file does not grow for ever"
  (with-folder folder
    (def [process port] (start folder))
    (sign port "x" "x" (m/part "picture" "GIF89a" "a.gif"))
    (for i 2 251
      (t/same 303 ((sign port "x" (string "entry number " i)) :status)))
    (def text (book port))
    (t/same 100 (length (string/find-all `<li id="entry-` text)))
    (has "entry number 250" text)
    (has-not "entry number 150<" text)
    (t/same [] (os/dir (string folder "/pictures")) "the picture of an entry that is gone")
    (t/check (<= (length (string/split "\n" (slurp (string folder "/entries.jdn")))) 201) "lines of the file")
    (ends process)))

(t/test "open pages get each entry, the statistics and who is writing, and go on after a restart from where they were"
  (with-folder folder
    (def [process port] (start folder))
    (sign port "Ann" "the first")
    (def page (follow port "/events?after=0"))
    (page "the first")
    (page `"readers":1`)
    (def other (follow port "/events?after=1"))
    (sign port "Ben" "the second")
    (page "id: 2\nevent: entry\ndata: <li id=\"entry-2\">")
    (has-not "the first" (other "the second"))
    (with [writer (w/connect port "/writing")]
      (with [reader (w/connect port "/writing")]
        # What is sent before the server has both pages is lost.
        (t/background (fn [] (forever (:send writer (w/frame :text "Ben")) (ev/sleep 0.01))))
        (t/same [:text "Ben"] (:receive reader))))
    (ends process)
    # A crash in the middle of a write leaves a part of a line.
    (spit (string folder "/entries.jdn") `{:id 3 :name "Ca` :ab)
    (def [process port] (start folder port))
    (sign port "Dora" "the third")
    (def again (follow port "/events?after=0" "Last-Event-ID: 1"))
    (def text (again "the third"))
    (has "the second" text)
    (has-not "the first" text)
    (has "the first" (book port))
    (each wrong ["Last-Event-ID: x" "Last-Event-ID: -1e999" "Last-Event-ID: nan"]
      ((follow port "/events" wrong) "statistics"))
    (ends process)))

(defn- figure
  "A number that the page has for one of the two servers."
  [port kind name]
  (first (peg/match ~(* (thru ,(string `data-side="` kind `"`)) (thru ,(string `data-is="` name `">`)) (number :d+)) (book port))))

(t/test "a burst stalls core's net/server of an affected Janet and not kqnet, while the guest book goes on"
  (with-folder folder
    (def [process port] (start-with-servers folder))
    (def page (follow port "/events?after=0"))
    (page `"verdict":""`)
    (def burst (t/background |(h/fetch port "POST" "/bursts" ["Origin: http://h"])))
    (page `"running":true`)
    (t/same 409 ((h/fetch port "POST" "/bursts") :status) "one burst at a time")
    (t/same 409 ((h/fetch port "POST" "/bursts/restart") :status) "no restart in a burst")
    (t/same 303 ((sign port "Ann" "written during a burst") :status))
    (match (ev/take burst)
      [true {:status status :headers headers}] (t/same [303 "/#bursts"] [status (headers "location")]))
    (t/same [100 100] [(figure port "kqnet" "answered") (figure port "kqnet" "sent")])
    (page "kqnet answered 100 of 100")
    (t/same 100 (figure port "core" "sent"))
    (def answered (figure port "core" "answered"))
    (if stalls?
      (do
        (t/check (< 0 answered 100) (string answered " of 100"))
        (has (string "Stalled: " (- 100 answered) " clients wait") (book port)))
      (t/same 100 answered))
    (has "written during a burst" (book port))
    # Each burst is added to the last, until there are too many.
    (t/same 303 ((h/fetch port "POST" "/bursts") :status))
    (t/same [200 200] [(figure port "kqnet" "answered") (figure port "kqnet" "sent")])
    (t/same 303 ((h/fetch port "POST" "/bursts/restart") :status))
    (t/same [0 0] [(figure port "core" "sent") (figure port "kqnet" "sent")])
    (t/same 403 ((h/fetch port "POST" "/bursts" ["Origin: https://evil.example"]) :status))
    (t/same 403 ((h/fetch port "POST" "/crowd" ["Origin: https://evil.example"]) :status))
    (ends process)))

(defn- server-ports
  "The ports of the two servers, from the page."
  [port]
  (def ports (peg/match '(some (+ (* `data-is="link" href="http://127.0.0.1:` (number :d+)) 1)) (book port)))
  (t/same 2 (length ports))
  ports)

(t/test "the two servers end with the demo, also when it is killed, and when it is told to end in a burst"
  (with-folder folder
    (each end [:kill :term]
      (def [process port] (start-with-servers folder))
      (def ports (server-ports port))
      (each server ports (has "Answered." (t/ask server "GET / HTTP/1.1\r\n\r\n")))
      (when (= end :term)
        (t/background |(h/fetch port "POST" "/bursts"))
        ((follow port "/events?after=0") `"running":true`))
      (:signal process end)
      (def status (:wait process))
      (when (= end :term) (t/same 0 status (process :err)))
      (each server ports
        (t/wait-until (string "the end of the server on port " server)
                      |(not (first (protect (with [conn (t/connect server)])))))))))

(t/test "the log has one line for each request, and nothing between them"
  (with-folder folder
    (def [process port] (start folder))
    (repeat 2 (book port))
    (ends process)
    (def lines (string/split "\n" (string/trimr (process :out))))
    (t/same 2 (length (filter |(string/has-prefix? "GET 200 / " $) lines)))
    (t/check (not (has-value? lines "")) (process :out))))

(t/test "without the two servers, the page says why, and the rest works"
  (with-folder folder
    (def [process port] (start folder))
    (has "The two servers are missing: the test &lt;left&gt; them out." (book port))
    (t/same 409 ((h/fetch port "POST" "/bursts") :status))
    ((follow port "/events?after=0") "event: bursts\ndata: null")
    (ends process)
    (def [process port] (start folder 0 {"KQNET_DEMO_JANET" "/nowhere/janet" "KQNET_DEMO_MODULES" (modules)}))
    (has "they do not start" (book port))
    (ends process)
    # Core's server starts, and the other does not.
    (def [process port] (start folder 0 {"KQNET_DEMO_JANET" (dyn *executable*) "KQNET_DEMO_MODULES" folder}))
    (has "they do not start" (book port))
    (:signal process :term)
    (t/same 0 (:wait process) (process :err))))

(t/test "a server that has ended takes no burst until it is started again"
  (with-folder folder
    (def [process port] (start-with-servers folder))
    (def page (follow port "/events?after=0"))
    (def parent (string ((process :proc) :pid)))
    (def servers
      (seq [line :in (string/split "\n" (t/shell-says "ps -A -o ppid= -o pid="))
            :let [[of pid] (filter |(not (empty? $)) (string/split " " line))]
            :when (= of parent)]
        pid))
    (t/same 2 (length servers))
    (t/shell-says (string "kill -9 " (first servers)))
    (page "It has ended. Start it again.")
    (t/same 409 ((h/fetch port "POST" "/bursts") :status))
    (t/same 303 ((h/fetch port "POST" "/bursts/restart") :status))
    (t/same 303 ((h/fetch port "POST" "/bursts") :status))
    (t/same 100 (figure port "kqnet" "answered"))
    (ends process)))

(t/test "a crowd waits for its places, and each of it is answered"
  (with-folder folder
    (def [process port] (start folder))
    (def page (follow port "/events?after=0"))
    (def crowd (t/background |(h/fetch port "POST" "/crowd")))
    (match (ev/take crowd)
      [true {:status status :body body}] (do (t/same 200 status) (has `"answered":400,"clients":400` body)))
    (def text (page `"largest":64`))
    (t/check (peg/match '(thru (* `"full":` (range "19"))) text) "accepting paused")
    (ends process)))

(t/test-within 150 "in a browser, entries appear, bursts stall core's server alone, the page goes on after a restart, and it fits on a phone"
  (programs/need "chromium" "chromedriver" "python3")
  (unless (has-value? ["native" "1.42.0-epoll" "1.37.1-kqueue-xnu"] host)
    (t/skip (string "a browser takes long, so it runs on few hosts, not on " host)))
  (each folder ["target" "target/browser"] (os/mkdir (string t/project "/" folder)))
  (with-folder folder
    (def [process port] (start-with-servers folder))
    (sign port "Ann" "Written before the page was opened.")
    (with [browser (t/start "python3" (string t/project "/test/browser/demo.py")
                            (string "http://127.0.0.1:" port "/") "60"
                            (string t/project "/target/browser/" host "-demo")
                            (if stalls? "stalls" "answers"))]
      (t/same "open" (:line browser))
      (sign port "Ben <b>" (string "A line that appears by itself. " (string/repeat "long" 100)))
      (t/same "bursts" (:line browser))
      (t/same "restart" (:line browser))
      (:signal process :term)
      (t/same 0 (:wait process) (process :err))
      (def [process port] (start-with-servers folder port))
      (sign port "Cleo" "Written while the page was away.")
      (t/same "went on" (:line browser))
      (t/same "signed" (:line browser))
      (t/same "without a script" (:line browser))
      (t/same 0 (:wait browser) (string (browser :out) (browser :err)))
      (ends process))))

(t/finish)
