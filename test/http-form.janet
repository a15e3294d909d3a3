###
### Forms: what a handler gets of them, their limits, and what becomes of the files.
###

(import ./support :as t)
(import ./support/http :as h)
(import ./support/multipart :as m)
(import ./support/programs)
(t/need-spork)
(import kqnet)
(import kqnet/_native :as native)
(import kqnet/http)

(def- host "127.0.0.1")
(def- urlencoded "Content-Type: application/x-www-form-urlencoded")

(def- place (t/scratch "forms"))
(os/mkdir place)
(defn- in-place [name] (string place "/" name))

(def- errors
  "What the servers of this file print to stderr."
  @"")

(defn- serve
  [handler & options]
  (with-dyns [*err* errors]
    (http/server handler host 0 ;options)))

(defn- check-silence
  "Fails if a server prints something while `f` runs."
  [f]
  (buffer/clear errors)
  (f)
  (t/same "" (string errors) "what the server prints"))

(defmacro- silently
  "Fails if a server prints something while the body runs."
  [& body]
  ~(,check-silence (fn [] ,;body)))

(defn- shown
  "A value of a form as a text: a file is shown with its name, its type and its content."
  [x]
  (cond
    (http/upload? x) (string/format "<%s %s %d %s>" (x :filename) (string (x :content-type)) (x :size) (:read x :all))
    (array? x) (string "[" (string/join (map shown x) " ") "]")
    x))

(defn- show-form
  [form]
  (string/join (seq [name :in (sort (keys form))] (string/format "%q=%s" name (shown (form name)))) "\n"))

(defn- showing
  "A handler that answers with the form, which it reads with these options."
  [& options]
  (fn [req] {:body (show-form (http/form req ;options))}))

(defn- post
  [server type body]
  (h/brief (h/fetch server "POST" "/" [type] body)))

(defn- said
  "What a form with these parts is answered with."
  [options & parts]
  (with [server (serve (showing ;options))]
    (post server m/content-type (m/body ;parts))))

# What is read.

(t/test "an urlencoded form is a table of decoded strings, and of arrays for names that come twice"
  (with [server (serve (showing))]
    (each [expected body]
      [[`"a"=1` "a=1"]
       ["\"a\"=1 2\n\"b\"=é&=" "a=1+2&b=%C3%A9%26%3D"]
       [`"a"=[1 2 3]` "a=1&a=2&a=3"]
       [`"a"=[ ]` "a&a="]
       [`"a"=%zz%4%` "a=%zz%4%"]
       [`"a"=1;b=2` "a=1;b=2"]
       ["\"\"=1\n\"a\"=2" "=1&&a=2&"]
       ["" ""]
       ["\"a[]\"=[1 2]" "a%5B%5D=1&a[]=2"]]
      (t/same [200 expected] (post server urlencoded body) body)
      (t/same [200 expected] (post server (string urlencoded "; charset=UTF-8") body) body))))

(t/test "a form with parts is a table of strings and files, and of arrays for names that come twice"
  (t/same [200 "\"a\"=1\n\"b\"=[2 <x.txt text/plain 4 data> 3]\n\"c\"=<y  0 >"]
          (said []
                (m/part "a" "1") (m/part "b" "2") (m/part "b" "data" "x.txt") (m/part "b" "3")
                (string/replace "\r\nContent-Type: text/plain" "" (m/part "c" "" "y")))))

(t/test "names and filenames are read as browsers write them, and a filename has no folders"
  (each [name filename expected]
    [["é\"" nil nil]
     [`q%22%0D%0A` nil "\"q\\\"\\r\\n\"=x"]
     ["f" "日本.txt" "\"f\"=<日本.txt text/plain 1 x>"]
     ["f" `C:\Users\me\a.txt` "\"f\"=<a.txt text/plain 1 x>"]
     ["f" "../../etc/passwd" "\"f\"=<passwd text/plain 1 x>"]
     ["f" ".." "\"f\"=< text/plain 1 x>"]
     ["f" `a\"b%22.txt` "\"f\"=<a\"b\".txt text/plain 1 x>"]
     ["f" `old"; filename*="UTF-8''%e2%82%ac.txt` "\"f\"=<€.txt text/plain 1 x>"]]
    (if expected
      (t/same [200 expected] (said [] (m/part name "x" filename)) (or filename name))
      (t/same 400 (first (said [] (m/part name "x"))) name))))

(t/test "a file input in which no file was chosen is not in the form"
  (t/same [200 `"a"=1`] (said [:max-files 0] (m/part "f" "" "") (m/part "a" "1")))
  (t/same [200 `"f"=< text/plain 1 x>`] (said [] (m/part "f" "x" ""))))

(t/test "a request without a body has an empty form"
  (with [server (serve (showing))]
    (t/same [200 ""] (h/brief (h/fetch server "GET" "/")))
    (t/same [200 ""] (h/brief (h/fetch server "POST" "/" [] "")))))

(t/test "a form is read once, and is kept in the request"
  (with [server (serve (fn [req]
                         (def form (http/form req))
                         {:body (string (= form (http/form req) (req :form)))}))]
    (t/same [200 "true"] (post server m/content-type (m/body (m/part "a" "1"))))))

(t/test "a form can be read from a body that was read already"
  (with [server (serve (fn [req]
                         (http/read-body req)
                         {:body (show-form (http/form req))}))]
    (t/same [200 `"a"=1`] (post server m/content-type (m/body (m/part "a" "1"))))
    (t/same [200 `"a"=1`] (post server urlencoded "a=1"))))

(t/test "a body that was read without being kept is not taken for an empty one"
  (def steps
    {"form" http/form
     "parts" (fn [req] (each part (http/parts req) (break)))
     "chunks" (fn [req] (each piece (http/body-chunks req) (break)))
     "sink" (fn [req] (http/read-body req @""))
     "body" http/read-body})
  (defn after
    "What the second step of a handler raises after the first."
    [first second body type]
    (with [server (serve (fn [req]
                           ((steps first) req)
                           (def [ok err] (protect ((steps second) req)))
                           {:body (if ok "fine" err)}))]
      (last (post server type body))))
  (def form (m/body (m/part "a" "1")))
  (each [type body] [[m/content-type form] [urlencoded "a=1"]]
    (each second ["body" "chunks" "sink"]
      (t/check (string/find "http/form has read the body of this request already; its fields are in (req :form)"
                            (after "form" second body type))
               second))
    (each first ["chunks" "sink"]
      (t/check (string/find "kqnet/http/form: http/body-chunks, or http/read-body with a sink, has read the body"
                            (after first "form" body type))
               first)))
  (t/check (string/has-prefix? "kqnet/http/parts: http/form has read the body" (after "form" "parts" form m/content-type))
           "parts")
  (each second ["form" "parts" "body"]
    (t/check (string/find ": http/parts has read the body of this request already" (after "parts" second form m/content-type))
             second)
    (t/same "fine" (after "body" second form m/content-type)))
  (t/same "fine" (after "form" "body" "" urlencoded)))

(t/test "a form that was refused is refused again"
  (with [server (serve (fn [req]
                         (def [_ first] (protect (http/form req :max-field 3)))
                         (def [ok again] (protect (http/form req)))
                         {:body (string/format "%q %q" ok (= first again))}))]
    (t/same [200 "false true"] (post server m/content-type (m/body (m/part "a" "1234") (m/part "b" ""))))
    (t/same [200 "false true"] (post server urlencoded "a=1234&b"))))

(t/test "only one task may read a form: another one gets an error until it is there"
  (def form (m/body (m/part "a" "1") (m/part "f" "data" "name")))
  (each [type body] [[m/content-type form] [urlencoded "a=1"]]
    (def called (ev/chan))
    (with [server (serve (fn [req]
                           (def read (t/background |((http/form req) "a")))
                           (ev/sleep 0)
                           (def early (string (last (protect (http/form req)))))
                           (ev/give called true)
                           (def first (ev/take read))
                           {:body (string/format "%s\n%q %q" early first ((http/form req) "a"))}))]
      (with [c (h/client server)]
        (:write (c :conn) (h/request "POST" "/" [type (string "Content-Length: " (length body))]))
        (ev/take called)
        (:write (c :conn) body)
        (def [status text] (h/brief (:receive c "POST")))
        (def [early values] (string/split "\n" text))
        (t/same [200 `(true "1") "1"`] [status values])
        (t/check (string/has-prefix? "kqnet/http/form: another task is reading the form of this request; " early) early)))))

(t/test "what follows a part in a buffer is not moved for each part"
  (def parts 2000)
  (def buf (buffer (m/body ;(seq [_ :range [0 parts]] (m/part "a" "1")))))
  (def parser (native/form-type (string/slice m/content-type (length "Content-Type: ")) 8192))
  (def data @"")
  (var moves 0)
  (var ends 0)
  (forever
    (def before (length buf))
    (def event (native/multipart-next parser buf data math/int-max))
    (unless (= before (length buf)) (++ moves))
    (if (= event :end) (++ ends))
    (unless event (break)))
  (t/same [parts parts 0] [ends (length data) (length buf)])
  (t/check (< moves 30) (string moves " moves")))

(t/test "a body that is split at any byte gives the same form"
  (def body (m/body (m/part "a" "\r\n--\r\n") (m/part "f" "\r\n------WebKit\r" "x")))
  (def expected [200 "\"a\"=\r\n--\r\n\n\"f\"=<x text/plain 15 \r\n------WebKit\r>"])
  (def taken (ev/chan))
  # Between the two halves it waits until the server has read the first one. Over TCP, Nagle's algorithm would hold back the
  # second half until the system has acknowledged the first one, which takes 40 ms.
  (with [server (http/server (fn [req]
                               (ev/give taken true)
                               {:body (show-form (http/form req :memory 3))})
                             :unix (t/scratch "split"))]
    (with [c (h/client server)]
      (def head (h/request "POST" "/" [m/content-type (string "Content-Length: " (length body))]))
      (for cut 0 (length body)
        (:write (c :conn) (string head (string/slice body 0 cut)))
        (ev/take taken)
        (repeat 3 (ev/sleep 0))
        (:write (c :conn) (string/slice body cut))
        (t/same expected (h/brief (:receive c "POST")) (string "cut at " cut)))
      (:write (c :conn) (h/request "POST" "/" [m/content-type "Transfer-Encoding: chunked"]))
      (each byte body (:write (c :conn) (string "1\r\n" (string/from-bytes byte) "\r\n")))
      (:write (c :conn) "0\r\n\r\n")
      (ev/take taken)
      (t/same expected (h/brief (:receive c "POST")) "chunks of a byte"))))

# Limits.

(t/test "each limit has a name: what is at it is accepted, and what exceeds it gets 413 and the field"
  (silently
    (each [options fine parts expected]
      [[[:max-fields 2] [(m/part "a" "1") (m/part "b" "1")] [(m/part "a" "1") (m/part "b" "2") (m/part "c" "3")]
        "the form has too many fields: it has more than 2 (:max-fields)\n"]
       [[:max-field 3] [(m/part "a" "123")] [(m/part "bio" "1234")]
        "a field of the form is too large: \"bio\" has more than 3 bytes (:max-field)\n"]
       [[:max-text 9] [(m/part "a" "12345") (m/part "bc" "1")] [(m/part "a" "12345") (m/part "bc" "12")]
        "the text of the form is too large: it has more than 9 bytes (:max-text)\n"]
       [[:max-name 3] [(m/part "abc" "1")] [(m/part "abcd" "1")]
        "a name in the form is too long: \"abcd\" has more than 3 bytes (:max-name)\n"]
       [[:max-files 1] [(m/part "a" "1" "x")] [(m/part "a" "1" "x") (m/part "b" "1" "y")]
        "the form has too many files: \"b\" is one more than 1 (:max-files)\n"]
       [[:max-file 3] [(m/part "a" "123" "x")] [(m/part "photo" "1234" "x")]
        "a file of the form is too large: \"photo\" has more than 3 bytes (:max-file)\n"]
       [[:max-file 3 :memory 1] [(m/part "a" "123" "x")] [(m/part "photo" (string/repeat "x" 200000) "x")]
        "a file of the form is too large: \"photo\" has more than 3 bytes (:max-file)\n"]
       [[:max-file 0] [(m/part "a" "" "x")] [(m/part "photo" "1" "x")]
        "a file of the form is too large: \"photo\" has more than 0 bytes (:max-file)\n"]
       [[:max-part-head 80] [(m/part "a" "1")] [(m/part "a" "1") (m/part (string/repeat "x" 80) "1")]
        "the head of a part is too large: a part may have 80 bytes of headers (:max-part-head), and 32 of them\n"]]
      (t/same 200 (first (said options ;fine)) (string/format "%q" options))
      (t/same [413 expected] (said options ;parts) (string/format "%q" options)))))

(t/test "the limits of an urlencoded form are the same"
  (silently
    (each [options fine body expected]
      [[[:max-fields 2] "a=1&b=2" "a=1&b=2&c=3" "the form has too many fields: it has more than 2 (:max-fields)\n"]
       [[:max-field 3] "a=123" "bio=1234" "a field of the form is too large: \"bio\" has more than 3 bytes (:max-field)\n"]
       [[:max-name 3] "abc=1" "abcd=1" "a name in the form is too long: \"abcd\" has more than 3 bytes (:max-name)\n"]
       [[:max-text 5] "a=123" "a=1234" "the text of the form is too large: it has more than 5 bytes (:max-text)\n"]]
      (with [server (serve (showing ;options))]
        (t/same 200 (first (post server urlencoded fine)) fine)
        (t/same [413 expected] (post server urlencoded body) body)
        (with [c (h/client server)]
          (:write (c :conn) (string (h/request "POST" "/" [urlencoded "Transfer-Encoding: chunked"])
                                    (string/format "%x\r\n%s\r\n0\r\n\r\n" (length body) body)))
          (t/same [413 expected] (h/brief (:receive c "POST")) "chunked"))))))

(t/test "the server's :max-body limits the form too"
  (silently
    (with [server (serve (showing) :max-body 100)]
      (t/same [413 "request body is too large\n"] (post server m/content-type (m/body (m/part "a" (string/repeat "x" 100))))))))

(t/test "refusals are counted by their reason, however many fields the clients make up"
  (with [server (serve (http/metrics (showing :max-field 1)))]
    (repeat 3 (t/same 413 (first (post server m/content-type (m/body (m/part (string (math/random)) "12"))))))
    (def text ((h/fetch server "GET" "/metrics") :body))
    (t/check (string/find `reason="a field of the form is too large"} 3` text) text)))

# Hostile bodies.

(t/test "a malformed form gets 400 and the reason, and nothing is printed"
  (def part (m/part "a" "1"))
  (defn changed [from to] (m/body (string/replace from to part)))
  (silently
    (with [server (serve (showing))]
      (each [expected body]
        [["the form ends before its last boundary" ""]
         ["the form ends before its last boundary" "hello"]
         ["the form ends before its last boundary: in or after the part \"a\"" part]
         ["the form ends before its last boundary: in or after the part \"a\"" (string/slice part 0 -3)]
         ["the form ends before its last boundary" (string/slice part 0 50)]
         ["malformed line after a boundary" (string/replace-all "\r" "" (m/body part))]
         ["malformed line after a boundary" (changed "x7\r\n" "x7x\r\n")]
         ["a part has no name" (changed "; name=\"a\"" "")]
         ["a part has no Content-Disposition" (changed "Content-Disposition" "X")]
         ["malformed Content-Disposition of a part" (changed "form-data" "attachment")]
         ["malformed Content-Disposition of a part" (changed `"a"` `"a`)]
         ["malformed Content-Disposition of a part" (changed `"a"` `"a"; name="b"`)]
         ["malformed filename* of a part" (changed `"a"` `"a"; filename*=x`)]
         ["malformed header of a part" (changed "\r\n\r\n" "\r\nX: \0\r\n\r\n")]
         ["malformed header of a part" (changed "\r\n\r\n" "\r\nX: a\r\n b\r\n\r\n")]
         ["a part has a header twice" (changed "\r\n\r\n" "\r\nContent-Disposition: form-data; name=b\r\n\r\n")]
         ["Content-Transfer-Encoding is not supported" (changed "\r\n\r\n" "\r\nContent-Transfer-Encoding: base64\r\n\r\n")]
         ["parts within a part are not supported" (changed "\r\n\r\n" "\r\nContent-Type: multipart/mixed\r\n\r\n")]]
        (t/same [400 (string expected "\n")] (post server m/content-type body) body))
      (each [expected type]
        [["Content-Type has no boundary" "multipart/form-data"]
         ["malformed boundary" "multipart/form-data; boundary=\"\""]
         ["malformed boundary" (string "multipart/form-data; boundary=" (string/repeat "x" 71))]
         ["Content-Type has more than one boundary" "multipart/form-data; boundary=a; boundary=b"]
         ["malformed Content-Type" "form"]
         ["more than one Content-Type" "multipart/form-data; boundary=a\r\nContent-Type: multipart/form-data; boundary=b"]]
        (t/same [400 (string expected "\n")] (post server (string "Content-Type: " type) "--a--") type)))))

(t/test "another type gets 415"
  (silently
    (with [server (serve (showing))]
      (t/same [415 "the body is not a form: its type is \"application/json\"\n"]
              (post server "Content-Type: application/json" "{}"))
      (t/same [415 "the body is not a form: it has no Content-Type\n"] (post server "X: y" "a=b")))
    (with [server (serve (fn [req] (each part (http/parts req)) {:status 200}))]
      (t/same [415 "the body is not a form with parts: it must be multipart/form-data\n"] (post server urlencoded "a=b")))))

(t/test "a client that waits for a 100 is told of the wrong type before it sends the body"
  (with [server (serve (showing))]
    (with [c (h/client server)]
      (:send c "POST" "/" ["Content-Type: text/plain" "Content-Length: 1000" "Expect: 100-continue"])
      (t/same 415 ((:receive c) :status)))
    (with [c (h/client server)]
      (def body (m/body (m/part "a" "1")))
      (:send c "POST" "/" [m/content-type (string "Content-Length: " (length body)) "Expect: 100-continue"])
      (t/same 100 ((:head c) :status))
      (:write (c :conn) body)
      (t/same [200 `"a"=1`] (h/brief (:receive c))))))

(t/test "a handler can catch the error of a bad form and answer itself"
  (with [server (serve (fn [req]
                         (try (showing (http/form req :max-field 1))
                           ([err] {:status 422 :body (string/format "%q" err)}))))]
    (t/same [422 `(:kqnet/reject 413 "a field of the form is too large" "\"a\" has more than 1 bytes (:max-field)")`]
            (post server m/content-type (m/body (m/part "a" "12"))))))

(t/test "wrong arguments are errors"
  (t/raises `kqnet/http/form: expected a request, got nil` (http/form nil))
  (t/raises `kqnet/http/form: expected a request, got @{}` (http/form @{}))
  (t/raises `kqnet/http/parts: expected a request, got 5` (http/parts 5))
  (t/raises `kqnet/http/parts: expected a request, got @{}` (http/parts @{}))
  (t/raises `kqnet/http/form: :max-files must be an integer that is not negative, got -1` (http/form @{:headers {}} :max-files -1))
  (t/check (string/find "unknown option :max-size" (t/raised |(http/parts @{:headers {}} :max-size 1))) "the option"))

# Files.

(defn- names [] (sort (os/dir place)))

(defmacro- leaves-nothing
  "Runs the body without collecting garbage, and waits until there are no more descriptors than before, and no new names."
  [what & body]
  ~(let [interval (gcinterval)
         names (,names)
         before (,t/descriptors)]
     (gcsetinterval 0x7fffffff)
     (defer (gcsetinterval interval)
       ,;body
       (,t/wait-until (string "no more descriptors: " ,what) |(<= (,t/descriptors) before))
       (,t/same names (,names) ,what))))

(def- large (string/repeat "0123456789abcdef" 20000))

(defn- large-form [& more] (m/body (m/part "f" large "large.txt") ;more))

(t/test "a file beyond :memory is in a temporary file without a name, and one within it has no descriptor"
  (each [memory more] [[(length large) 0] [(dec (length large)) 1] [0 1]]
    (with [server (serve (fn [req]
                           (def before (t/descriptors))
                           (def file ((http/form req :memory memory :folder place) "f"))
                           {:body (string (= large (string (:read file :all))) " " (- (t/descriptors) before) " " (length (names)))}))]
      (t/same [200 (string "true " more " 0")] (post server m/content-type (large-form)) (string memory)))))

(t/test ":memory is for all files together"
  (with [server (serve (fn [req]
                         (def before (t/descriptors))
                         (def form (http/form req :memory (* 2 (length large))))
                         {:body (string (- (t/descriptors) before))}))]
    (t/same [200 "1"] (post server m/content-type (large-form (m/part "g" large "g") (m/part "h" large "h"))))))

(t/test "a file can be read in pieces"
  (each memory [0 1000]
    (with [server (serve (fn [req]
                           (def file ((http/form req :memory memory) "f"))
                           (def first-piece (:read file 2))
                           (def again (:read file 2 @"buffer: "))
                           (def rest (:read file :all))
                           {:body (string/format "%q %q %q %q %q" first-piece again rest (:read file 1)
                                                 (t/raised |(:read file 0)))}))]
      (t/same [200 `@"01" @"buffer: 23" @"4" nil "a number of bytes to read must be a positive integer or :all, got 0"`]
              (post server m/content-type (m/body (m/part "f" "01234" "x")))))))

(t/test "nothing is left of a file when its request is over, however it ends"
  (def arrived (ev/chan))
  (each [what handler status]
    [["it returns" (fn [file] {:status 200}) 200]
     ["it raises an error" (fn [file] (error "meant to be raised")) 500]
     ["it closes the file" (fn [file] (:close file) {:status 200}) 200]
     ["it is refused" (fn [file] (error [:kqnet/reject 400 "no"])) 400]]
    (leaves-nothing what
      (with [server (serve (fn [req] (handler ((http/form req :memory 10 :folder place) "f")))
                           :on-error (fn [&] nil))]
        (t/same status (first (post server m/content-type (large-form))) what))))
  (leaves-nothing "a limit is exceeded after a file has come"
    (with [server (serve (showing :memory 10 :folder place :max-files 1))]
      (t/same 413 (first (post server m/content-type (large-form (m/part "g" "x" "y")))))))
  (leaves-nothing "the client leaves in the middle of the file"
    (with [server (serve (showing :memory 10 :folder place))]
      (with [c (h/client server)]
        (:send c "POST" "/" [m/content-type "Content-Length: 1000000"])
        (def before (t/descriptors))
        (:write (c :conn) (m/part "f" large "x"))
        (t/wait-until "the temporary file" |(> (t/descriptors) before)))
      (t/wait-until "the end of the connection" |(zero? ((kqnet/stats server) :active)))))
  (leaves-nothing "the handler is cancelled by a drain"
    (with [server (serve (fn [req]
                           (http/form req :memory 10 :folder place)
                           (ev/give arrived true)
                           (ev/sleep math/inf)))]
      (with [c (h/client server)]
        (:send c "POST" "/" [m/content-type] (large-form))
        (ev/take arrived)
        (kqnet/drain server 0 :cancel true)
        (t/same 503 ((:receive c) :status))))))

(t/test "a file on a kept connection is gone before the next request"
  (with [server (serve (fn [req]
                         (if (= "/" (req :path)) (http/form req :memory 10))
                         {:body (string (t/descriptors))}))]
    (with [c (h/client server)]
      (def before ((:ask c "GET" "/count") :body))
      (repeat 3
        (t/same (string (inc (scan-number before))) ((:ask c "POST" "/" [m/content-type] (large-form)) :body))
        (t/same before ((:ask c "GET" "/count") :body))))))

(t/test "a task that outlives its request gets an error from the file"
  (def files (ev/chan 2))
  (with [server (serve (fn [req] (ev/give files ((http/form req :memory 10) "f")) {:status 200}))]
    (post server m/content-type (large-form))
    (post server m/content-type (m/body (m/part "f" "x" "small")))
    (t/wait-until "the end of the requests" |(zero? ((kqnet/stats server) :active)))
    (repeat 2
      (def file (ev/take files))
      (def expected `the file in the field "f" is closed: its request is over, or its method :close was called`)
      (t/raises expected (:read file 1))
      (t/raises expected (:save file (in-place "late")))
      (t/same nil (:close file))))
  (t/same [] (names)))

(t/test "a file is saved whole under a name, and replaces what is there"
  (each [what memory folder] [["from memory" 1000000 place] ["by a link or a copy" 10 place] ["by a copy" 10 "/dev/shm"]]
    (when (os/stat folder)
      (spit (in-place "saved") "old")
      (with [server (serve (fn [req]
                             (def file ((http/form req :memory memory :folder folder) "f"))
                             (t/same (in-place "saved") (:save file (in-place "saved")))
                             # Saving it once more makes another file.
                             (:save file (in-place "again"))
                             (spit (in-place "again") "changed")
                             {:body (:read file 4)}))]
        (leaves-nothing what
          (spit (in-place "again") "old")
          (t/same [200 "0123"] (post server m/content-type (large-form)) what)
          (t/check (= large (string (slurp (in-place "saved")))) what)
          (t/same "rw" (string/slice (os/stat (in-place "saved") :permissions) 0 2))
          (os/rm (in-place "again")))
        (os/rm (in-place "saved"))))))

(t/test "a file that cannot be saved is an error that says why, and nothing is left"
  (os/mkdir (in-place "folder"))
  (defer (os/rmdir (in-place "folder"))
    (with [server (serve (fn [req]
                           (def file ((http/form req :memory 10 :folder place) "f"))
                           {:body (string/join (map |(t/raised (fn [] (:save file $))) [(in-place "none/x") (in-place "folder") 5 ""])
                                               "\n")}))]
      (leaves-nothing "errors"
        (def [status text] (post server m/content-type (large-form)))
        (def lines (string/split "\n" text))
        (t/same 200 status)
        (t/check (string/has-prefix? (string `cannot save the file in the field "f" as ` place "/none/x: ") (lines 0)) text)
        (t/check (string/has-prefix? (string `cannot save the file in the field "f" as ` place "/folder: ") (lines 1)) text)
        (t/same ["the path to save a file as must be a path, got 5" `the path to save a file as must be a path, got ""`]
                (slice lines 2))))))

(t/test "a file whose saving was cancelled can be saved again, and nothing is left of the copy"
  (def content (string/repeat "0123456789abcdef" 400000))
  (defn handler [req]
    (def file ((http/form req :memory 10 :folder place) "f"))
    # The second name needs a copy, which takes several turns.
    (:save file (in-place "linked"))
    (def task (ev/go (fn [] (protect (:save file (in-place "cancelled"))))))
    (ev/sleep 0)
    (ev/cancel task "meant")
    (ev/sleep 0)
    (def left (names))
    (:save file (in-place "again"))
    {:body (string/format "%q %q" left (= content (string (slurp (in-place "again")))))})
  (with [server (serve handler :max-body 1e8)]
    (defer (each name ["linked" "again"] (protect (os/rm (in-place name))))
      (t/same [200 `@["linked"] true`] (post server m/content-type (m/body (m/part "f" content "x")))))))

(t/test "a folder for temporary files that does not exist is an error of the program"
  (buffer/clear errors)
  (with [server (serve (showing :memory 10 :folder (in-place "none")))]
    (t/same 500 (first (post server m/content-type (large-form))))
    (t/check (string/find (string "cannot make a temporary file in " place "/none: ") errors) errors)))

(t/test "without descriptors the client gets 503, and a line says why"
  (buffer/clear errors)
  (var files nil)
  (with [server (serve (fn [req]
                         (http/read-body req)
                         (set files @[])
                         (while (def [opened file] (protect (os/open "/dev/null" :r)))
                           (unless opened (break))
                           (array/push files file))
                         (defer (each file files (:close file))
                           {:body (show-form (http/form req :memory 10))})))]
    (t/same [503 "the server is out of descriptors or memory\n"] (post server m/content-type (large-form)))
    (t/check (peg/match '(* "kqnet/http: 503: cannot make a temporary file in " (some 1)) errors) errors)
    (t/same 1 (length (string/find-all "\n" errors)) "lines")))

(t/test "on a full disk the client gets 507, a line says why, and nothing is left"
  (unless t/linux? (t/skip "a small file system can only be mounted on Linux"))
  (programs/need "unshare" "mount")
  (def script `mount -t tmpfs -o size=64k none "$0" 2>/dev/null || exit 77; exec "$@"`)
  (def program
    ~[(import kqnet/http)
      (def server (http/server (fn [req]
                                 (when (= "POST" (req :method)) (http/form req :memory 10 :folder ,place))
                                 {:body (string (length (os/dir "/proc/self/fd")))})
                               "127.0.0.1" 0))
      (print (last (net/localname server)))
      (flush)])
  (with [process (t/start "unshare" "-m" "sh" "-c" script place (dyn *executable*) "-e" (t/source program))]
    (t/wait-until "the server" |(or (process :status) (string/find "\n" (process :out))))
    (when (process :status) (t/skip (string "no file system can be mounted here: " (process :err))))
    (def port (:port process))
    (def before ((h/fetch port "GET" "/") :body))
    (repeat 3
      (t/same [507 "there is no space for the file\n"] (post port m/content-type (large-form))))
    # The server may not have noticed yet that the last client has left.
    (t/wait-until "as many descriptors as before" |(= before ((h/fetch port "GET" "/") :body)))
    # There is space again.
    (t/same 200 (first (post port m/content-type (m/body (m/part "f" (string/repeat "x" 30000) "x")))))
    (def lines (string/split "\n" (string/trim (process :err))))
    (t/same 3 (length lines) (process :err))
    (t/check (string/has-prefix? "kqnet/http: 507: cannot write " (first lines)) (first lines))))

(t/test "a file that would exceed the largest size of the process gets 507, and the process goes on"
  (def program
    ~[(import kqnet/http)
      (def server (http/server (fn [req] (http/form req :memory 10 :folder ,place) {:body "fine"}) "127.0.0.1" 0))
      (print (last (net/localname server)))
      (flush)])
  (with [process (t/start "sh" "-c" `ulimit -f 64 && exec "$0" "$@"` (dyn *executable*) "-e" (t/source program))]
    (def port (:port process))
    (t/same [507 "there is no space for the file\n"] (post port m/content-type (large-form)))
    (t/same [200 "fine"] (post port m/content-type (m/body (m/part "f" (string/repeat "x" 20000) "x"))))))

(t/test "a sandboxed program can read forms, but makes no files that it may not make"
  (def program
    '[(import kqnet/http)
      (sandbox :fs-write :fs-temp)
      (defn handler [req]
        (def file ((http/form req :memory 5) "f"))
        (try (:save file "/tmp/no") ([err] {:body (string err)})))
      (def server (http/server handler "127.0.0.1" 0))
      (print (last (net/localname server)))
      (flush)])
  (with [process (t/start-forms program)]
    (def port (:port process))
    (t/same [200 "operation forbidden by sandbox"] (post port m/content-type (m/body (m/part "f" "12345" "x"))))
    (t/same 500 (first (post port m/content-type (m/body (m/part "f" "123456" "x")))))))

# Parts.

(t/test "parts come one after the other, with their headers and their data in pieces"
  (def seen @[])
  (with [server (serve (fn [req]
                         (each {:name name :filename filename :content-type type :headers headers :body body} (http/parts req)
                           (array/push seen [name filename type (headers "content-type") (string (buffer ;(seq [p :in body] p)))]))
                         {:status 200}))]
    (t/same 200 (first (post server m/content-type (m/body (m/part "a" "1") (m/part "f" large "x") (m/part "c" "")))))
    (t/same [["a" nil nil nil "1"] ["f" "x" "text/plain" "text/plain" large] ["c" nil nil nil ""]] seen)))

(t/test "a part comes before the rest of the body, and so do the pieces of its data"
  (with [server (serve (fn [req]
                         {:body (coro (each {:name name :body body} (http/parts req)
                                        (yield name)
                                        (each piece body (yield piece))))}))]
    (with [c (h/client server)]
      (:send c "POST" "/" [m/content-type "Transfer-Encoding: chunked"])
      (defn give [text] (:write (c :conn) (string/format "%x\r\n%s\r\n" (length text) text)))
      (defn chunk []
        (def line @"")
        (while (not (string/has-suffix? "\r\n" line)) (buffer/push line (:take c 1)))
        (string/slice (:take c (+ 2 (scan-number (string/trim line) 16))) 0 -3))
      (give (string/slice (m/part "a" "") 0 -3))
      (:head c)
      (t/same "a" (chunk))
      (give "1")
      (t/same "1" (chunk))
      (give "2\r")
      (t/same "2" (chunk))
      (give "\n!")
      (t/same "\r\n!" (chunk))
      (give (string "\r\n" (m/body)))
      (:write (c :conn) "0\r\n\r\n")
      (t/same "0\r\n\r\n" (:take c 5)))))

(t/test "what is not read of a part is skipped, and the loop may end early"
  (def seen @[])
  (with [server (serve (fn [req]
                         (each {:name name :body body} (http/parts req)
                           (array/push seen name)
                           (when (= name "b") (array/push seen (length (resume body))))
                           (when (= (req :path) (string "/" name)) (break)))
                         {:status 200}))]
    (with [c (h/client server)]
      (def body (m/body (m/part "a" large) (m/part "b" large "x") (m/part "c" "")))
      (t/same 200 ((:ask c "POST" "/" [m/content-type] body) :status))
      (t/same ["a" "b" 65536 "c"] (map |(if (number? $) (max 65536 $) $) seen))
      (array/clear seen)
      (t/same 200 ((:ask c "POST" "/a" [m/content-type] (m/body (m/part "a" "1") (m/part "b" "2"))) :status))
      (t/same ["a"] seen)
      (array/clear seen)
      (t/same 200 ((:ask c "POST" "/c" [m/content-type] (m/body (m/part "c" "1"))) :status))
      (t/same ["c"] seen "on the same connection"))))

(t/test "the body of an earlier part cannot be read"
  (with [server (serve (fn [req]
                         (def bodies (seq [{:body body} :in (http/parts req)] body))
                         {:body (t/raised |(each piece (first bodies)))}))]
    (t/same [200 `the body of the part "a" is gone: the part after it was asked for`]
            (post server m/content-type (m/body (m/part "a" "1") (m/part "b" "2"))))))

(t/test "a malformed part gets 400 when it is reached, and the limits of parts hold"
  (silently
    (each [options parts expected]
      [[[] [(m/part "a" "1") "--x"] [400 "the form ends before its last boundary: in or after the part \"a\"\n"]]
       [[:max-name 1] [(m/part "ab" "1")] [413 "a name in the form is too long: \"ab\" has more than 1 bytes (:max-name)\n"]]
       [[:max-part-head 20] [(m/part "ab" "1")]
        [413 "the head of a part is too large: a part may have 20 bytes of headers (:max-part-head), and 32 of them\n"]]]
      (with [server (serve (fn [req] (each part (http/parts req ;options) (each piece (part :body))) {:status 200}))]
        (t/same expected (post server m/content-type (string ;parts)) (string ;parts))))))

# Memory.

(t/test "an upload of 64 MiB takes no more memory than a small one"
  (def program
    ~[(import kqnet/http)
      (defn handler [req]
        (if (= "/form" (req :path))
          {:body (string (((http/form req :folder ,place) "f") :size))}
          (do
            (var size 0)
            (each part (http/parts req) (each piece (part :body) (+= size (length piece))))
            {:body (string size)})))
      (def server (http/server handler "127.0.0.1" 0 :max-body 1e9))
      (print (last (net/localname server)))
      (flush)])
  (with [process (t/start-forms program)]
    (def port (:port process))
    (def piece (string/repeat "x" 65536))
    (def count 1024)
    (def head (string/slice (m/part "f" "" "x") 0 -3))
    (def tail (string "\r\n" (m/body)))
    (defn upload [path count]
      (with [c (h/client port)]
        (def size (+ (length head) (* count (length piece)) (length tail)))
        (:send c "POST" path [m/content-type (string "Content-Length: " size)])
        (:write (c :conn) head)
        (repeat count (:write (c :conn) piece))
        (:write (c :conn) tail)
        (t/same [200 (string (* count (length piece)))] (h/brief (:receive c)))))
    (each path ["/form" "/parts"] (upload path 16))
    (def before (t/peak process))
    (each path ["/form" "/parts"]
      (upload path count)
      (when (and before (not t/slow?))
        (def grown (- (t/peak process) before))
        (printf "      %s: grown by %d KiB" path (div grown 1024))
        (t/check (< grown (* 8 1048576)) (string "at most 8 MiB more, not " grown))))))

(t/remove place)
(t/finish)
