###
### Each program in examples/ does what its first comment says.
###

(import ./support :as t)
(import ./support/multipart :as m)
(import ./support/websocket :as w)

(def- from (t/need-spork))
(print "with " from)
(import kqnet)

(defn- example [name] (string t/project "/examples/" name ".janet"))

(defn- scratch-folder
  "Makes a new folder with files, given as names and contents in turn."
  [& files]
  (def folder (t/scratch "folder"))
  (os/mkdir folder)
  (each [name content] (partition 2 files) (spit (string folder "/" name) content))
  folder)

(defn- start
  "Starts an example. Returns its process and the port in the address that it prints."
  [name & args]
  (def process (t/start-janet (example name) ;args))
  [process (scan-number (first (peg/match '(* (? "http://") "127.0.0.1:" ':d+ (? "/") -1) (:line process))))])

(defn- ends
  "Fails unless a process ends with status 0 on SIGTERM, and says nothing on stderr."
  [process]
  (:signal process :term)
  (t/same 0 (:wait process) (process :err))
  (t/same "" (string (process :err)) "what it said on stderr"))

(defn- request
  "Sends a request. Returns its status, its headers as text, and its body."
  [port method path &opt body headers]
  (default body "")
  (def answer
    (t/ask port (string method " " path " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                        "Content-Length: " (length body) "\r\n" (or headers "") "\r\n" body)))
  (def end (string/find "\r\n\r\n" answer))
  (t/check end answer)
  [(scan-number (string/slice answer 9 12)) (string/slice answer 0 end) (string/slice answer (+ end 4))])

(defn- has
  "Fails unless a text contains a part."
  [part text]
  (t/check (string/find part text) (string/format "%q in %q" part text)))

(t/test "hello answers"
  (def [process port] (start "hello" "0"))
  (def [status headers body] (request port "GET" "/"))
  (t/same [200 "Hello, world!\n"] [status body])
  (has "Content-Type: text/plain" headers)
  (t/same 404 (first (request port "GET" "/elsewhere")))
  (ends process))

(t/test "json-api adds notes and lists them"
  (unless (first (protect (require "spork/json")))
    (t/skip (string "spork/json cannot be imported: " from)))
  (def [process port] (start "json-api" "0"))
  (t/same [200 "[]"] (let [[status _ body] (request port "GET" "/notes")] [status body]))
  (t/same 201 (first (request port "POST" "/notes" `{"text": "buy milk"}`)))
  (def [_ headers body] (request port "GET" "/notes"))
  (has "Content-Type: application/json" headers)
  (has `"text":"buy milk"` body)
  (has `"id":1` body)
  (each wrong ["" "{" "[]" "7" `{"text": 7}`]
    (t/same 400 (first (request port "POST" "/notes" wrong)) wrong))
  (has `"text":"buy milk"` (last (request port "GET" "/notes/1")))
  (t/same 404 (first (request port "GET" "/notes/2")))
  (t/same 413 (first (request port "POST" "/notes" (string/repeat "x" (* 2 1024 1024)))))
  (def [status headers] (request port "DELETE" "/notes"))
  (t/same 405 status)
  (has "Allow: GET, HEAD, OPTIONS, POST" headers)
  (t/same 404 (first (request port "GET" "/")))
  (ends process))

(t/test "static-site serves a folder, and logs"
  (def folder (scratch-folder "index.html" "<p>start" "a.css" "p {}"))
  (defer (t/remove folder)
    (def [process port] (start "static-site" folder "0"))
    (t/same [200 "<p>start"] (let [[status _ body] (request port "GET" "/")] [status body]))
    (def [status headers body] (request port "GET" "/a.css"))
    (t/same [200 "p {}"] [status body])
    (has "Content-Type: text/css" headers)
    (def [etag] (peg/match '(* (thru "ETag: ") '(to "\r\n")) headers))
    (t/same 304 (first (request port "GET" "/a.css" "" (string "If-None-Match: " etag "\r\n"))))
    (def [status _ body] (request port "GET" "/a.css" "" "Range: bytes=0-0\r\n"))
    (t/same [206 "p"] [status body])
    (def [status _ body] (request port "GET" "/../../etc/passwd"))
    (t/same 404 status)
    (has "There is no such page" body)
    (t/wait-until "lines of the log" |(string/find `"GET /../../etc/passwd HTTP/1.1" 404` (process :out)))
    (has `"GET /a.css HTTP/1.1" 206` (process :out))
    (ends process)))

(t/test "events: pieces arrive as they happen, and end with the client"
  (def [process port] (start "events" "0"))
  (has "new EventSource" (last (request port "GET" "/")))
  (defn watch []
    (def conn (t/send port "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    [conn @""])
  (defn event [[conn seen] what]
    (while (not (string/find what seen))
      (t/check (:read conn 4096 seen) (string what " in " seen))))
  (def first-one (watch))
  (event first-one "Content-Type: text/event-stream")
  (event first-one "data: ")
  (event first-one ", 1 watching\n\n")
  (def second-one (watch))
  (event second-one ", 2 watching\n\n")
  (:close (first second-one))
  (buffer/clear (first-one 1))
  (event first-one ", 1 watching\n\n")
  # This server never has another client.
  (:signal process :term)
  (t/same 0 (:wait process) (process :err)))

(t/test "upload takes a file larger than the default limit of a body, and serves it again"
  (def folder (scratch-folder))
  (defer (t/remove folder)
    (def [process port] (start "upload" folder "0"))
    (def content (string/repeat "0123456789abcdef" (* 3 64 1024)))
    (t/same [201 "3145728 bytes\n"]
            (let [[status _ body] (request port "PUT" "/big.txt" content)] [status body]))
    (t/check (= content (string (slurp (string folder "/big.txt")))) "the same content")
    (def [status _ body] (request port "GET" "/big.txt"))
    (t/same 200 status)
    (t/check (= content body) "the same content")
    (each name ["/" "/../x" "/.hidden" "/a%2fb" "/a/b"]
      (t/same 400 (first (request port "PUT" name "x")) name))
    (defn post [& parts]
      (def body (m/body ;parts))
      (t/ask port (string "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" m/content-type
                          "\r\nContent-Length: " (length body) "\r\n\r\n" body)))
    (has "one.txt: 3145728 bytes\ntwo.txt: 1 bytes\n"
         (post (m/part "file" content "one.txt") (m/part "file" "x" "C:\\two.txt")))
    (t/check (= content (string (slurp (string folder "/one.txt")))) "the same content")
    (has "400 Bad Request" (post (m/part "file" "x" ".hidden")))
    (each name ["one.txt" "two.txt"] (os/rm (string folder "/" name)))
    # An upload that breaks off leaves no file.
    (:close (t/send port "PUT /part.txt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nsome"))
    (t/same 201 (first (request port "PUT" "/after.txt" "x")))
    (t/wait-until "the partial file is gone" |(deep= @["after.txt" "big.txt"] (sort (os/dir folder))))
    (ends process)))

(t/test "unix-socket serves on a socket's file for its group, and removes it"
  (def path (t/scratch "app.sock"))
  (def process (t/start-janet (example "unix-socket") path))
  (t/same (string "unix:" path "") (:line process))
  (t/same "rw-rw----" (os/stat path :permissions))
  (defn ask [headers]
    (with [conn (net/connect :unix path)]
      (:write conn (string "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" headers "\r\n"))
      (t/receive conn)))
  (has "Hello, unknown client!" (ask ""))
  (has "Hello, 10.1.2.3!" (ask "X-Forwarded-For: 10.1.2.3\r\n"))
  (ends process)
  (t/same nil (os/stat path) "the socket's file"))

(t/test "threads answers from each thread, and drains all of them"
  (unless (= :linux (os/which)) (t/skip "Linux spreads connections over the listeners; macOS does not"))
  (def [process port] (start "threads" (string (t/free-port)) "3"))
  (def seen @{})
  (t/wait-until "answers from 3 threads"
                (fn []
                  (put seen (last (request port "GET" "/")) true)
                  (deep= @["thread 1\n" "thread 2\n" "thread 3\n"] (sort (keys seen)))))
  (ends process)
  # A listener without :reuse-port does not share its port.
  (with [taken (kqnet/listen "127.0.0.1" 0)]
    (def other (t/start-janet (example "threads") (string (t/port taken)) "2"))
    (t/same 1 (:wait other))
    (t/wait-until "its words" |(other :err-ended))
    (has "cannot listen on 127.0.0.1:" (other :err))))

(t/test "line-protocol keeps the values that clients put"
  (def [process port] (start "line-protocol" "0"))
  # Several lines come in one piece, and one line comes in several pieces.
  (def answers (t/ask port "put colour dark green\nget colour\nget shape\nsit\nquit\n"))
  (t/same "ok\ndark green\nnone\nerror: expected put NAME VALUE, get NAME, or quit\n" answers)
  (with [conn (t/connect port)]
    (def seen @"")
    (each piece ["ge" "t col" "our\nq" "uit\n"]
      (:write conn piece)
      (when (string/find "\n" piece) (:read conn 100 seen)))
    (t/same "dark green\n" (string seen)))
  # A line that never ends is not kept for ever.
  (t/same "" (t/ask port (string/repeat "x" 5000)))
  (ends process))

(t/test "unedited runs on core's functions, and on kqnet"
  (defn echoes [& args]
    (def process (t/start-janet ;args (example "unedited") "0"))
    (def port (scan-number (first (peg/match '(* "127.0.0.1:" ':d+ -1) (:line process)))))
    (with [conn (t/send port "hello")]
      (t/same "hello" (string (:read conn 5))))
    [process port])
  (defn second-one [port & args]
    (def process (t/start-janet ;args (example "unedited") (string port)))
    (t/wait-until "its address or its end" |(or (process :status) (not (empty? (process :out)))))
    process)
  (def [process port] (echoes "-l" "kqnet/install"))
  # This shows which one it runs on: kqnet does not share a port that is taken.
  (def other (second-one port "-l" "kqnet/install"))
  (t/same 1 (:wait other))
  (has "address already in use" (other :err))
  (:close process)
  (echoes))

(t/test "websocket-chat: what one guest says, all hear, and pages of other sites may not connect"
  (def [process port] (start "websocket-chat" "0"))
  (has "new WebSocket" (last (request port "GET" "/")))
  (with [one (w/connect port "/chat")]
    (t/same [:text "guest 1 is here"] (:receive one))
    (with [other (w/connect port "/chat")]
      (each guest [one other] (t/same [:text "guest 2 is here"] (:receive guest)))
      (:send other (w/frame :text "hello"))
      (each guest [one other] (t/same [:text "guest 2: hello"] (:receive guest))))
    (t/same [:text "guest 2 has left"] (:receive one))
    (t/same 403 (first (request port "GET" "/chat" nil
                                (string (string/join [;w/handshake "Origin: https://evil.example"] "\r\n") "\r\n"))))
    (:signal process :term)
    (t/same [:close (w/close-payload 1001 "the server is ending")] (:receive one))
    (:send one (w/frame :close)))
  (t/same 0 (:wait process) (process :err)))

(def- tested
  ["events" "hello" "json-api" "line-protocol" "static-site" "threads" "unedited" "unix-socket" "upload" "websocket-chat"])

(t/test "every example has a test here"
  (t/same (map |(string $ ".janet") tested) (sort (os/dir (string t/project "/examples")))))

(t/finish)
