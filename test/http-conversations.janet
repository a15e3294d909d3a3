###
### What kqnet/http answers, byte for byte.
###
### The conversations of test/http/conversations.jdn are sent at once, byte by byte, and split in two at every byte. Then
### come those that need more than bytes.
###

(import ./support :as t)
(t/need-spork)
(import kqnet)
(import kqnet/http)

(def- host "127.0.0.1")

(def- patience
  "After this many seconds without an answer, the test fails."
  20)

# The handlers of the conversations.

(defn- pieces
  "A fiber that yields these pieces."
  [& all]
  (coro (each piece all (yield piece))))

(defn- respond
  "A handler that always gives the same response."
  [& pairs]
  (fn [_] (struct ;pairs)))

(defn- body [x] (respond :body x))

(defn- show-request
  [{:method method :path path :route route :query-string query-string :query query}]
  (def values
    (seq [key :in (sort (keys (or query {})))]
      (def value (query key))
      (string/format " %s=[%s]" key (string/join (map string (if (array? value) value [value])) ","))))
  (string method " " path " " route " " (if (nil? query-string) "nil" query-string) ;values))

(defn- show-headers
  [{:headers headers}]
  (string/join (seq [name :in (sort (keys headers))]
                 (def value (headers name))
                 (if (array? value)
                   (string name "=[" (string/join value ",") "]")
                   (string name "=" value)))
               " "))

(defn- meant [&] (error "meant to be raised"))

(def- sendable
  "Handlers whose responses the server sends."
  {"/" (body "hello")
   "/a" (body "a")
   "/b" (body "b")
   "/slow" (fn [_] (ev/sleep 0.001) {:body "slow"})
   "/slower" (fn [_] (ev/sleep 0.2) {:body "slower"})
   "/close" (respond :body "bye" :headers {"Connection" "close"})
   "/keep" (respond :body "stay" :headers {"Connection" "keep-alive"})
   "/request" (fn [req] {:body (show-request req)})
   "/headers" (fn [req] {:body (show-headers req)})

   "/echo" (fn [req] {:body (or (http/read-body req) "no body")})
   "/twice" (fn [req] {:body (string (http/read-body req) " " (http/read-body req))})
   "/pieces" (fn [req]
               (def all @"")
               (each piece (http/body-chunks req) (buffer/push all piece))
               {:body all})
   "/slow-pieces" (fn [req]
                    (def all @"")
                    (each piece (http/body-chunks req)
                      (ev/sleep 0.2)
                      (buffer/push all piece))
                    {:body all})
   "/gather" (fn [req]
               (var body nil)
               (ev/gather (set body (http/read-body req)))
               {:body body})
   "/delegate" (fn [req]
                 (def result (ev/chan))
                 (ev/go (fn [] (ev/give result (protect (http/read-body req)))))
                 {:body (last (ev/take result))})
   "/some" (fn [req] (resume (http/body-chunks req)) {:body "some"})
   "/ignore" (body "ignored")
   "/forbidden" (respond :status 403 :body "no")
   "/forgiving" (fn [req]
                  (try {:body (http/read-body req)}
                    ([[_ status reason]] {:body (string status " " reason)})))
   "/patient" (fn [req] (try {:body (http/read-body req)} ([_] {:body "no body came"})))

   "/empty-response" (fn [_] {})
   "/none" (respond :status 200)
   "/struct" (body "struct")
   "/table" (fn [_] @{:status 201 :headers {"X-A" "b"} :body "table"})
   "/prototype" (fn [_] (table/setproto @{:body "prototype"} @{:status 202}))
   "/buffer" (fn [_] {:body @"buffer"})
   "/keyword" (body :keyword)
   "/symbol" (body 'symbol)
   "/empty" (body "")
   "/bytes" (body "\0\r\n\x80\xFF")
   "/404" 404
   "/static-string" "static"
   "/418" (respond :status 418)
   "/299" (respond :status 299)
   "/999" (respond :status 999)
   "/204" (respond :status 204)
   "/204-body" (respond :status 204 :body "hello" :headers {"Content-Length" "5"})
   "/304" (respond :status 304 :headers {"ETag" `"a"`})
   "/304-body" (respond :status 304 :body "hello")
   "/304-length" (respond :status 304 :headers {"Content-Length" "12345"})
   "/205" (respond :status 205)
   "/declared" (respond :headers {"Content-Length" "12345"})
   "/cookies" (respond :headers {"Set-Cookie" @["a=1" "b=2"]})
   "/tuple-header" (respond :headers {"X-A" ["1" "2"]})
   "/no-header" (respond :headers {"X-A" []})
   "/number-header" (respond :headers {"X-A" 5 "X-B" 1.5 "X-C" 1000000})
   "/boolean-header" (respond :headers {"X-A" true})
   "/keyword-header" (respond :headers {:x-a :b 'x-c 'd})
   "/empty-header" (respond :headers {"X-A" ""})
   "/latin-header" (respond :headers {"X-A" "caf\xE9\tx"})
   "/table-headers" (respond :headers @{"X-A" "b"})
   "/date" (respond :headers {"Date" "Thu, 01 Jan 1970 00:00:00 GMT"})
   "/lower-date" (respond :headers {"date" "Thu, 01 Jan 1970 00:00:00 GMT"})
   "/wrong-length" (respond :body "hello" :headers {"Content-Length" "3"})
   "/lower-length" (respond :body "hello" :headers {"content-length" "5"})
   "/own-encoding" (respond :body "hello" :headers {"Transfer-Encoding" "chunked"})
   "/upgrade" (respond :status 426 :headers {"Connection" "Upgrade" "Upgrade" "h2c"})
   "example.org:443" (respond :headers {"X-Tunnel" "yes"})

   "/fiber" (fn [_] {:body (pieces "hello" " world")})
   "/tuple" (body ["hello" " world"])
   "/array" (body @["hello" " world"])
   "/kinds" (body ["string" @"buffer" :keyword 'symbol])
   "/dictionary" (body {:key "value"})
   "/alphabet" (body ["abcdefghijklmnopqrstuvwxyz"])
   "/gaps" (body ["" "a" "" "b" ""])
   "/no-pieces" (body [])
   "/events" (fn [_] {:headers {"Content-Type" "text/event-stream"}
                      :body (coro (for i 1 3
                                    (ev/sleep 0)
                                    (yield (string "data: " i "\n\n"))))})
   "/fiber-length" (fn [_] {:headers {"Content-Length" "11"} :body (pieces "hello" " world")})
   "/connection-options" (respond :headers {"Connection" ["foo, close" "bar"]})
   "/fiber-empty" (fn [_] {:headers {"Content-Length" "0"} :body (pieces)})
   "/slow-fiber" (fn [_] {:body (coro (yield "a") (ev/sleep 0.2) (yield "b"))})
   "/through" (fn [req] {:body (http/body-chunks req)})
   "/stream-echo" (fn [req] {:body [(http/read-body req)]})})

(def- failing
  "Handlers and responses that are wrong."
  {"/fail" meant
   "/fail-slow" (fn [_] (ev/sleep 0.001) (meant))
   "/fail-table" (fn [_] (error {:reason "meant"}))
   "/fail-keyword" (fn [_] (error :head-timeout))
   "/fail-read" (fn [req] (http/read-body req) (meant))
   "/fail-pieces" (fn [req] (each piece (http/body-chunks req) (meant)))
   "/fail-stream" (fn [_] (error :stream))
   "/fail-nil" (fn [_] (error :nil))
   "/fail-twice" (fn [_] (error :twice))
   "/fail-twice-table" (fn [_] (error :twice-table))
   "/fail-unsendable" (fn [_] (error :unsendable))
   "/fail-late" (fn [_] {:body (coro (yield "hello") (meant))})
   "/fail-first" (fn [_] {:body (coro (meant))})
   "/number-piece" (fn [_] {:body (coro (yield "hello") (yield 5))})
   "/too-short" (respond :headers {"Content-Length" "11"} :body ["hello"])
   "/not-empty" (respond :headers {"Content-Length" "0"} :body ["" "hello"])
   "/too-long" (respond :headers {"Content-Length" "7"} :body ["hello" " world"])

   "/bad/piece" (body ["hello" 5])
   "/bad/value" (respond :headers {"X-A" "b\r\nX-C: d"})
   "/bad/value-cr" (respond :headers {"X-A" "b\rX-C: d"})
   "/bad/value-lf" (respond :headers {"X-A" "b\nX-C: d"})
   "/bad/value-nul" (respond :headers {"X-A" "b\0"})
   "/bad/values" (respond :headers {"X-A" ["b" "c\nX-D: e"]})
   "/bad/length" (respond :headers {"Content-Length" "5\r\n\r\n"} :body "hello")
   "/bad/name" (respond :headers {"X-A: b\r\nX-C" "d"})
   "/bad/name-lf" (respond :headers {"X-A\nX-C" "d"})
   "/bad/name-nul" (respond :headers {"X\0A" "b"})
   "/bad/name-colon" (respond :headers {"X-A:" "b"})
   "/bad/name-space" (respond :headers {"X A" "b"})
   "/bad/name-empty" (respond :headers {"" "b"})
   "/bad/name-number" (respond :headers {5 "b"})
   "/bad/headers" (respond :headers "X-A: b")
   "/bad/status-string" (respond :status "200")
   "/bad/status-float" (respond :status 200.5)
   "/bad/status-99" (respond :status 99)
   "/bad/status-103" (respond :status 103 :headers {"Link" "</a.css>; rel=preload"})
   "/bad/status-101" (respond :status 101 :headers {"Connection" "Upgrade" "Upgrade" "echo"})
   "/bad/status-1000" (respond :status 1000)
   "/bad/status-negative" (respond :status -200)
   "/bad/nil" (fn [_] nil)
   "/bad/keys" (fn [_] {:Status 200 :boby "x"})
   "/bad/routes" (fn [_] {"/" "home"})
   "/bad/string" (fn [_] "a response")
   "/bad/number" (fn [_] 200)
   "/bad/tuple" (fn [_] [200 {} "hello"])
   "/bad/body" (body 5)
   "/bad/body-function" (body (fn [] "hello"))
   "/bad/body-true" (body true)})

(defn- echo-on
  "Echoes what comes on a connection, beginning with what was read already."
  [conn buf]
  (unless (empty? buf) (net/write conn (string "echo: " buf)))
  (while (net/read conn 100 (buffer/clear buf))
    (net/write conn (string "echo: " buf))))

(def- detached
  "Handlers that take over the connection."
  {"/detached" (fn [{:connection conn :buffer buf}]
                 (net/write conn (string "raw: " buf))
                 (:close conn)
                 {:detached true})
   "/detached-later" (fn [{:connection conn}]
                       (ev/go (fn []
                                (ev/sleep 0.001)
                                (net/write conn "later")
                                (:close conn)))
                       {:detached true})
   "/websocket" (respond :status 101 :headers {"Connection" "Upgrade" "Upgrade" "echo"} :detached echo-on)
   "example.org:80" (fn [_] {:detached (fn [conn _] (net/write conn "tunnel"))})
   "/tunnel" (fn [_] {:body (pieces "hello") :detached (fn [conn _] (net/write conn "tunnel"))})
   "/detached-fail" (respond :status 101 :headers {"Connection" "Upgrade"} :detached meant)})

(def- handler (http/router (merge sendable failing detached {"/probe" (body "probe")})))

(defn- on-error
  [req err fib]
  (assert (fiber? fib))
  (case err
    :nil nil
    :twice (error "meant to be raised by :on-error")
    :twice-table (error {:by :on-error})
    :unsendable {:headers {"X-A" "b\n"}}
    :stream {:status 503 :body ["hello"]}
    {:status 503 :body (string (req :path) ": " (if (bytes? err) err (string/format "%j" err)))}))

(def- no-timeouts [:head-timeout 1000 :body-timeout 1000 :idle-timeout 1000 :write-timeout 1000])

(defn- serve [& options] (http/server handler host 0 ;options))

(def- servers
  {:plain (serve ;no-timeouts)
   :small (serve ;no-timeouts :max-headers 4 :max-body 16)
   :two-requests (serve ;no-timeouts :max-requests 2)
   :hasty (serve :head-timeout 0.05 :body-timeout 0.05 :idle-timeout 0.05)
   :on-error (serve ;no-timeouts :on-error on-error)})

# The notation of the table.

(defn- lines [all] (string/join all "\r\n"))

(defn- request
  [method path body headers]
  (lines [(string method " " path " HTTP/1.1") "Host: h" ;headers "" body]))

(defn- sent-bytes
  "The bytes to send, or [:talk …]."
  [sent]
  (if (bytes? sent)
    sent
    (match (if (= :parens (tuple/type sent)) sent [])
      ['get path & headers] (request "GET" path "" headers)
      ['head path & headers] (request "HEAD" path "" headers)
      ['post path body & headers] (request "POST" path body [(string "Content-Length: " (length body)) ;headers])
      ['talk & steps] [:talk ;(map |(if (keyword? $) $ (sent-bytes $)) steps)]
      _ (lines sent))))

(defn- answer-bytes
  "The bytes of an answer, with the date masked."
  [answer]
  (match answer
    [:refused status reason]
    (answer-bytes [status (string reason "\n") "Content-Type: text/plain; charset=utf-8" :close])
    [status body & extras]
    (let [has? (fn [x] (has-value? extras x))]
      (lines [(string "HTTP/1.1 " status)
              ;(filter bytes? (filter |(not (keyword? $)) extras))
              ;(if (or (has? :no-length) (has? :chunked)) [] [(string "Content-Length: " (length body))])
              ;(if (has? :chunked) ["Transfer-Encoding: chunked"] [])
              ;(if (has? :close) ["Connection: close"] [])
              ;(if (has? :keep-alive) ["Connection: keep-alive"] [])
              ;(if (has? :no-date) [] ["Date: *"])
              "" body]))
    answer))

(defn- ends?
  "Whether the connection ends after an answer."
  [answer]
  (cond
    (= answer :end) true
    (bytes? answer) false
    (= :refused (first answer)) true
    (some |(has-value? answer $) [:close :cut :ends])))

(def- date
  "The grammar of a date (RFC 9110, 5.6.7)."
  ~{:day (+ "Mon" "Tue" "Wed" "Thu" "Fri" "Sat" "Sun")
    :month (+ "Jan" "Feb" "Mar" "Apr" "May" "Jun" "Jul" "Aug" "Sep" "Oct" "Nov" "Dec")
    :main (* "Date: " :day ", " (2 :d) " " :month " " (4 :d) " " (2 :d) ":" (2 :d) ":" (2 :d) " GMT\r\n")})

(def- epoch
  "The date header of some handlers."
  "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n")

(def- written-date (peg/compile ~(* (not ,epoch) ,date)))

(defn- mask
  "Masks the dates that the server has written."
  [text]
  (string (peg/replace-all written-date "Date: *\r\n" text)))

(def- length-of-date (- (length epoch) (length "Date: *\r\n")))

(defn- unmasked-length
  [text]
  (+ (length text) (* length-of-date (length (string/find-all "Date: *\r\n" text)))))

(defn- sorted-head
  "A head with its lines sorted, since a handler's headers come in the order of its table."
  [head]
  (def [status & headers] (string/split "\r\n" head))
  (lines [status ;(sorted headers)]))

(defn- comparable
  "A text of several responses in which the lines of each head are sorted. Takes the sizes of the bodies."
  [text sizes]
  (def parts @[])
  (var at 0)
  (each size sizes
    (def end (string/find "\r\n\r\n" text at))
    (when (and end (string/has-prefix? "HTTP/" (string/slice text at)))
      (array/push parts (sorted-head (string/slice text at end)))
      (set at end)
      (+= at (min (+ 4 size) (- (length text) at)))
      (array/push parts (string/slice text end at))))
  (string ;parts (string/slice text at)))

(defn- body-sizes
  [answers]
  (seq [answer :in answers :when (and (indexed? answer) (not= :end answer))]
    (match answer
      [:refused _ reason] (inc (length reason))
      [_ body] (length body))))

# Sending and receiving.

(defn- receive
  "Reads until the connection ends. If it was reset, the result says so."
  [conn got]
  (try
    (:read conn :all got patience)
    ([err] (buffer/push got "[" (string err) "]")))
  got)

(defn- await
  "Reads what has to come before more is sent."
  [conn wanted]
  (def got @"")
  (unless (empty? wanted)
    (try
      (:chunk conn (unmasked-length wanted) got patience)
      ([err] (buffer/push got "[" (string err) "]"))))
  (t/same wanted (mask got) "what comes before more is sent"))

(defn- turn
  "Lets the server, which is in this process, read what was sent. It can be read as soon as it was written."
  []
  (repeat 3 (ev/sleep 0)))

(defn- converse
  "Sends parts one after another, and returns everything that comes."
  [where parts]
  (with [conn (t/connect where)]
    (def got @"")
    # If the server ends the connection early, it may be closed before everything is sent.
    (def whole (protect (each part parts
                          (:write conn part)
                          (when (> (length parts) 1) (turn)))))
    (receive conn got)
    (unless (first whole) (buffer/push got ""))
    (string got)))

(defn- talk
  "Does the steps of a talk, and returns everything that comes after them."
  [where steps & more]
  (with [conn (t/connect where)]
    (var sending true)
    (each step steps
      (cond
        (= step :half-close) (do (turn) (net/shutdown conn :w))
        sending (do (unless (empty? step) (:write conn step)) (turn))
        (await conn step))
      (set sending (not sending)))
    (each part more (:write conn part))
    (string (receive conn @""))))

(def- probe (request "GET" "/probe" "" ["Connection: close"]))
(def- probe-answer ["200 OK" "probe" :close])

(defn- check-answers
  [answers got]
  (def sizes (body-sizes answers))
  (def wanted (string ;(map answer-bytes (filter |(not= :end $) answers))))
  (t/same (comparable wanted sizes) (comparable (mask got) sizes)))

(def- table
  (parse (slurp (string (string/join (slice (string/split "/" (dyn *current-file*)) 0 -2) "/")
                        "/http/conversations.jdn"))))

(defn- each-conversation
  "Calls f with the server, the bytes to send, the answers, and whether the connection stays open after them."
  [f {:about about :cases cases :to to}]
  (each [name sent answers] cases
    (def sent (sent-bytes sent))
    (def open? (not (and (pos? (length answers)) (ends? (last answers)))))
    (f (string about ": " name) (servers (or to :plain)) sent answers open?)))

# At once, and byte by byte.

(each group table
  (each-conversation
    (fn [name where sent answers open?]
      (def after (if open? [;answers probe-answer] answers))
      (t/test name
        (if (bytes? sent)
          (do
            (check-answers after (converse where [(string sent (if open? probe ""))]))
            (when open?
              # In the other order: the last bytes are not sent before the answers have come.
              (def wanted (sum (map |(unmasked-length (answer-bytes $)) answers)))
              (with [conn (t/connect where)]
                (:write conn sent)
                (def got @"")
                (:chunk conn wanted got patience)
                (:write conn probe)
                (check-answers after (string (receive conn got)))))
            (unless (group :whole)
              (check-answers after (converse where (map string/from-bytes (string sent (if open? probe "")))))))
          (check-answers after (talk where (drop 1 sent) ;(if open? [probe] []))))))
    group))

# Split in two.

(each group (filter |($ :split) table)
  (t/test (string "every split in two gives the same answers: " (group :about))
    (var count 0)
    (each-conversation
      (fn [name where sent answers open?]
        (def after (if open? [;answers probe-answer] answers))
        (when (bytes? sent)
          (def all (string sent (if open? probe "")))
          # In an emulator all splits would take a minute.
          (loop [at :range [1 (length sent) (if t/slow? 7 1)]]
            (++ count)
            (def got (converse where [(string/slice all 0 at) (string/slice all at)]))
            (try (check-answers after got)
              ([err]
                (t/fail (err :expected) (err :got) (string name ", cut at " at)))))))
      group)
    (print "      " count " splits")))

# Sizes.

(defn- fill
  "A text of this many bytes with this beginning and end."
  [size before after]
  (string before (string/repeat "a" (- size (length before) (length after))) after))

(defn- status-of
  "The status line of the answer to a request."
  [where & parts]
  (first (string/split "\r\n" (converse where parts))))

(t/test "a head as large as :max-head is accepted; with one byte more it gets 431"
  (with [server (serve ;no-timeouts :max-head 300)]
    (defn head [size] (fill size "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-A: " "\r\n\r\n"))
    (t/same "HTTP/1.1 200 OK" (status-of server (head 300)))
    (t/same "HTTP/1.1 431 Request Header Fields Too Large" (status-of server (head 301)))
    # However the head is split, and even if its end never comes.
    (for at 1 300
      (t/same "HTTP/1.1 431 Request Header Fields Too Large"
              (status-of server (string/slice (head 400) 0 at) (string/slice (head 400) at 300))))))

(t/test "a request line of 8 KiB is accepted; with one byte more it gets 414"
  (defn line [size] (fill size "GET /" " HTTP/1.1"))
  (def rest "\r\nHost: h\r\nConnection: close\r\n\r\n")
  (def where (servers :plain))
  (t/same "HTTP/1.1 404 Not Found" (status-of where (line 8192) rest))
  (t/same "HTTP/1.1 414 URI Too Long" (status-of where (line 8193) rest))
  (t/same "HTTP/1.1 414 URI Too Long" (status-of where (string/slice (line 9000) 0 8194))))

(t/test "a request line longer than :max-head gets 414"
  (with [server (serve ;no-timeouts :max-head 300)]
    (t/same "HTTP/1.1 414 URI Too Long" (status-of server (fill 300 "GET /" "")))
    (t/same "HTTP/1.1 404 Not Found"
            (status-of server (fill 300 "GET /" " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")))))

(t/test "100 headers are accepted; 101 get 431"
  (defn head [count]
    (request "GET" "/" "" ["Connection: close" ;(map |(string "X-" $ ": a") (range (- count 2)))]))
  (t/same "HTTP/1.1 200 OK" (status-of (servers :plain) (head 100)))
  (t/same "HTTP/1.1 431 Request Header Fields Too Large" (status-of (servers :plain) (head 101))))

(t/test "trailers of 8 KiB are accepted; larger ones get 431"
  (defn body [size]
    (string (request "POST" "/echo" "" ["Transfer-Encoding: chunked" "Connection: close"])
            "0\r\n" (fill size "X-A: " "\r\n\r\n")))
  (t/same "HTTP/1.1 200 OK" (status-of (servers :plain) (body 8192)))
  (t/same "HTTP/1.1 431 Request Header Fields Too Large" (status-of (servers :plain) (body 8193))))

(t/test "chunk extensions without end get 400"
  (t/same "HTTP/1.1 400 Bad Request"
          (status-of (servers :plain)
                     (request "POST" "/echo" "" ["Transfer-Encoding: chunked"])
                     (fill 1100 "5;a=" ""))))

(t/test "bodies and responses of all sizes around those of the buffers arrive whole"
  (def sizes (mapcat |[(dec $) $ (inc $)] [512 2048 4096 16384 32768 65536 131072 1000000]))
  (with [conn (t/connect (servers :plain))]
    (each size sizes
      (def body (string/repeat "0123456789abcdef" (inc (div size 16))))
      (def body (string/slice body 0 size))
      (def answer (answer-bytes ["200 OK" body]))
      (def got @"")
      # The server answers only after it has read everything.
      (:write conn (request "POST" "/echo" body [(string "Content-Length: " size)]))
      (:chunk conn (unmasked-length answer) got patience)
      (t/check (= answer (mask got)) (string "the same " size " bytes")))))

# Bodies that are too large to be read and discarded.

(t/test "if the handler does not read a large body, the client gets the whole answer"
  (with [server (serve ;no-timeouts :max-body 100000000)]
    (each [size headers] [[70000 []] [700000 []] [700000 ["Connection: close"]]]
      (repeat 5
        (check-answers
          [["200 OK" "ignored" :close]]
          (converse server [(request "POST" "/ignore" (string/repeat "x" size)
                                     [(string "Content-Length: " size) ;headers])]))))))

(t/test "if a body is refused for its size, the client gets the whole answer"
  (repeat 5
    (check-answers
      [[:refused "413 Payload Too Large" "request body is too large"]]
      (converse (servers :small)
                [(request "POST" "/echo" (string/repeat "x" 700000) ["Content-Length: 700000"])]))))

(t/test "if much follows a bad request, the client gets the whole answer"
  (repeat 5
    (check-answers
      [[:refused "400 Bad Request" "no Host header"]]
      (converse (servers :plain) [(string "GET / HTTP/1.1\r\n\r\n" (string/repeat "x" 700000))])))
  # Also in small packets.
  (check-answers
    [[:refused "400 Bad Request" "no Host header"]]
    (converse (servers :plain) ["GET / HTTP/1.1\r\n\r\n" ;(seq [_ :range [0 300]] "x")])))

(t/test "if the client goes on sending after the last answer, it gets the whole answer"
  (def body (string/repeat "x" 300000))
  (def handler (http/router {"/" {:body body} "/close" {:body body :headers {"Connection" "close"}}}))
  (with [server (http/server handler host 0 ;no-timeouts :max-requests 2)]
    (each path ["/" "/close"]
      (with [conn (t/send server (string (request "HEAD" "/" "" []) (request "GET" path "" [])))]
        # The last answer is on its way, but the client has not seen yet that it is the last.
        (repeat 20 (ev/sleep 0))
        (:write conn (request "GET" "/" "" []))
        (repeat 20 (ev/sleep 0))
        (def got (receive conn @""))
        (t/check (string/has-suffix? (string "\r\n\r\n" body) got) (string/slice got -30))))))

# Clients that read slowly or not at all.

(defn- active [server] ((kqnet/stats server) :active))

(t/test "large bodies from memory arrive whole, one after the other, however late the client reads"
  (def body (string/join (seq [n :range [0 1000000]] (string/format "%08d " n))))
  (def small (string/repeat "s" 40000))
  (def handler (http/router {"/string" (fn [_] {:body body})
                             "/buffer" (fn [_] {:body (buffer body)})
                             "/small" (fn [_] {:body small})}))
  (with [server (http/server handler host 0 ;no-timeouts)]
    (with [conn (t/connect server)]
      (def asked ["/string" "/buffer" "/small" "/small" "/string"])
      (:write conn (string ;(map |(request "GET" $ "" []) asked)))
      # The system's buffers are full before the client reads anything.
      (repeat 20 (ev/sleep 0))
      (def got @"")
      (each path asked
        (def expected (if (= path "/small") small body))
        (var end nil)
        (while (not (set end (string/find "\r\n\r\n" got))) (:read conn 65536 got))
        (t/check (string/find (string "Content-Length: " (length expected)) (string/slice got 0 end)) path)
        (def rest (+ end 4 (length expected)))
        (while (< (length got) rest) (:read conn 65536 got))
        (t/check (= expected (string/slice got (+ end 4) rest)) (string path " is whole"))
        (def more (string/slice got rest))
        (buffer/push (buffer/clear got) more)))))

(t/test "a buffer whose length changes while it is sent is an error, and the client never gets more than was announced"
  (def told (ev/chan 10))
  (each [what change] [["longer" |(buffer/push $ "and more")] ["shorter" |(buffer/popn $ 10)]]
    (def body (buffer/new-filled 64000000 (chr "x")))
    (def size (length body))
    (with [server (http/server (fn [_] {:body body}) host 0 ;no-timeouts :on-error (fn [_ err _] (ev/give told err) nil))]
      (with [conn (t/connect server)]
        (:write conn (request "GET" "/" "" []))
        (def got @"")
        (:read conn 1000 got)
        (change body)
        (receive conn got)
        (t/same "a buffer was changed while it was sent" (ev/take told))
        (t/check (< (length got) size) what)))))

(t/test "a client that reads nothing for :write-timeout loses its connection"
  (def piece (string/repeat "x" 1000000))
  (def handler (http/router {"/string" {:body (string/repeat piece 64)}
                             "/pieces" (fn [_] {:body (coro (repeat 64 (yield piece)))})}))
  (each path ["/string" "/pieces"]
    (with [server (http/server handler host 0 :write-timeout 0.05)]
      (with [conn (t/connect server)]
        (:write conn (request "GET" path "" []))
        (t/wait-until "the handler" |(= 1 (active server)))
        (t/wait-until "the end of the connection" |(zero? (active server)))
        # What is in the kernel's buffers may still come.
        (t/check (< (length (receive conn @"")) 64000000) "only a part")))))

(t/test "a slow client that reads something in every :write-timeout gets everything"
  (def piece (string/repeat "x" 1000000))
  (with [server (http/server (fn [_] {:body (coro (repeat 16 (yield piece)))}) host 0 :write-timeout 1000)]
    (with [conn (t/connect server)]
      (:write conn (request "GET" "/" "" ["Connection: close"]))
      (t/wait-until "the handler" |(= 1 (active server)))
      (repeat 20 (ev/sleep 0))
      (def got (receive conn @""))
      (t/check (string/has-suffix? "\r\n0\r\n\r\n" got) "the end")
      (t/check (> (length got) 16000000) "all"))))

(t/test "a client may take longer than :write-timeout for everything, but not for a part"
  (def body (string/repeat "0123456789abcdef" 4194304))
  (each [path answer] [["/bytes" {:body body}] ["/piece" {:body [body]}]]
    (with [server (http/server (fn [_] answer) host 0 :write-timeout 0.5)]
      (with [conn (t/connect server)]
        (:write conn (request "GET" path "" ["Connection: close"]))
        (def got @"")
        (def end (+ 1 (os/clock :monotonic)))
        (while (< (os/clock :monotonic) end)
          (:read conn 262144 got patience)
          (ev/sleep 0.01))
        (receive conn got)
        (t/check (> (length got) (length body)) (string "all, not " (length got) " bytes"))))))

(defn- busy
  "Blocks this process, and so the server, for longer than the timeouts."
  []
  (os/sleep 0.1))

(t/test "what has arrived in time is accepted, though the server was too busy to look"
  (def where (servers :hasty))
  (repeat 5
    # An idle connection, before its first request and after it.
    (with [conn (t/connect where)]
      (turn)
      (:write conn (request "GET" "/a" "" []))
      (busy)
      (def answer (answer-bytes ["200 OK" "a"]))
      (def got @"")
      (:chunk conn (unmasked-length answer) got patience)
      (turn)
      (:write conn (request "GET" "/b" "" []))
      (busy)
      (:chunk conn (unmasked-length answer) got patience)
      (check-answers [["200 OK" "a"] ["200 OK" "b"]] (string got)))
    # The remaining bytes of a head, and of a body.
    (each [first-part rest answer]
      [["GET /a HTTP/1.1\r\nHo" "st: h\r\nConnection: close\r\n\r\n" ["200 OK" "a" :close]]
       [(request "POST" "/echo" "hel" ["Connection: close" "Content-Length: 5"]) "lo" ["200 OK" "hello" :close]]]
      (with [conn (t/send where first-part)]
        (turn)
        (:write conn rest)
        (busy)
        (check-answers [answer] (string (receive conn @"")))))))

# What a handler learns.

(t/test "if a handler catches an error of reading and raises another one, that is the handler's own error"
  (defn handler [req]
    (try (http/read-body req) ([err] (error (string "no upload: " (if (tuple? err) (last err) err))))))
  (def told @[])
  (defn on-error [req err fib]
    (array/push told err)
    {:status 500 :body "told"})
  (with [server (http/server handler host 0 :body-timeout 0.05 :max-body 16 :on-error on-error)]
    (check-answers [["500 Internal Server Error" "told" :close]]
                   (converse server [(request "POST" "/" "hel" ["Content-Length: 5"])]))
    (check-answers [["500 Internal Server Error" "told" :close]]
                   (converse server [(request "POST" "/" "ff\r\n" ["Transfer-Encoding: chunked"])]))
    (t/same ["no upload: request body did not arrive in time" "no upload: request body is too large"] told)))

(t/test "a copy of a request has the same body and the same limits"
  (defn handler [req]
    {:body (if (= "/pieces" (req :path))
             (string ;(seq [piece :in (http/body-chunks (merge req {:user 1}))] piece))
             (http/read-body (merge req)))})
  (with [server (http/server handler host 0 ;no-timeouts :max-body 16)]
    (each path ["/" "/pieces"]
      (check-answers [["200 OK" "hello"] ["200 OK" "again"] [:refused "413 Payload Too Large" "request body is too large"]]
                     (converse server [(request "POST" path "hello" ["Content-Length: 5"])
                                       (request "POST" path "5\r\nagain\r\n0\r\n\r\n" ["Transfer-Encoding: chunked"])
                                       (request "POST" path "11\r\n" ["Transfer-Encoding: chunked"])])))
    (with [conn (t/send server (request "POST" "/" "" ["Content-Length: 5" "Expect: 100-continue" "Connection: close"]))]
      (def got @"")
      (:chunk conn (length "HTTP/1.1 100 Continue\r\n\r\n") got patience)
      (t/same "HTTP/1.1 100 Continue\r\n\r\n" (string got)))))

(t/test "if two tasks read one body at the same time, the second gets an error"
  (defn handler [req]
    (def results (ev/chan 2))
    (repeat 2 (ev/go (fn [] (ev/give results (protect (http/read-body req))))))
    (def [ok err] (ev/take results))
    (net/write (req :connection) (string ok " " err "\n"))
    {:body (string (last (ev/take results)))})
  (with [server (http/server handler host 0 ;no-timeouts)]
    (with [conn (t/send server (request "POST" "/" "hel" ["Content-Length: 5"]))]
      (def told "false another task reads from this connection already\n")
      (def got @"")
      (:chunk conn (length told) got patience)
      (t/same told (string got))
      (def answer ["200 OK" "hello"])
      (:write conn "lo")
      (:chunk conn (unmasked-length (answer-bytes answer)) (buffer/clear got) patience)
      (check-answers [answer] (string got)))))

(t/test "a handler that sets its own deadline for the body gets its own error"
  (defn handler [req]
    (try (ev/with-deadline 0.05 (http/read-body req)) ([err] {:status 503 :body err})))
  (with [server (http/server handler host 0 ;no-timeouts)]
    (check-answers [["503 Service Unavailable" "deadline expired"]]
                   (with [conn (t/send server (request "POST" "/" "hel" ["Content-Length: 5"]))]
                     (def got @"")
                     (:chunk conn (unmasked-length (answer-bytes ["503 Service Unavailable" "deadline expired"])) got)
                     (string got))))
  (with [server (http/server (fn [req] (ev/with-deadline 0.05 (http/read-body req))) host 0
                             ;no-timeouts :on-error (fn [_ err _] {:status 503 :body err}))]
    (check-answers [["503 Service Unavailable" "deadline expired" :close]]
                   (converse server [(request "POST" "/" "hel" ["Content-Length: 5"])]))))

(t/test "a client that leaves in the middle of its body is not an error of the handler"
  (def told @[])
  (with [server (http/server (fn [req] {:body (http/read-body req)}) host 0
                             ;no-timeouts :on-error (fn [_ err _] (array/push told err) nil))]
    (with [conn (t/send server (request "POST" "/" "hel" ["Content-Length: 5"]))]
      (t/wait-until "the handler" |(= 1 (active server))))
    (t/wait-until "the end of the connection" |(zero? (active server)))
    (t/same [] told)))

(t/test ":on-error gets the request, the error, and the fiber that raised it"
  (def told @[])
  (defn deep [] (error :why))
  (defn handler [req] (deep) 1)
  (with [server (http/server handler host 0
                             :on-error (fn [req err fib]
                                         (array/push told (req :path) err (fiber/status fib)
                                                     ((first (debug/stack fib)) :name))
                                         nil))]
    (converse server [(request "GET" "/path" "" [])])
    (t/same ["/path" :why :error "deep"] told)))

(t/test "if an answer of :on-error fails after it began, it is cut off, and no other follows"
  (def traces @"")
  (with [server (with-dyns [:err traces]
                  (http/server (fn [_] (error "meant")) host 0
                               :on-error (fn [&] {:status 503 :body (coro (yield "hello") (error "meant late"))})))]
    (with [conn (t/send server (request "GET" "/path" "" []))]
      (def got (t/receive conn))
      (t/check (string/has-prefix? "HTTP/1.1 503 " got) "the answer of :on-error")
      (t/check (string/has-suffix? "\r\n\r\n5\r\nhello\r\n" got) (string/format "nothing behind its first piece: %q" got)))
    (t/check (string/find "GET /path: error: meant late" traces) "a trace")))

(t/test "an error is reported on stderr with method, path and trace, and nothing else is"
  (with [server
         (t/start-forms
           '[(import kqnet/http)
             (defn deep [x] (error x) nil)
             (defn handler [{:route route}]
               (case route
                 "/string" (deep "meant")
                 "/table" (deep {:reason "meant so"})
                 "/late" {:body (coro (yield "hello") (deep "meant late"))}
                 "/header" {:headers {"X-A" "b\n"}}
                 {:body "good"}))
             (def server (http/server handler "127.0.0.1" 0))
             (print (last (net/localname server)))
             (flush)])]
    (def port (:port server))
    (defn ask [path] (string (t/ask port (request "POST" path "" ["Connection: close"]))))
    (defn told [& parts]
      (t/wait-until (string/format "a report with %q" parts)
                    (fn []
                      (def err (string (server :err)))
                      (when (and (string/has-suffix? "\n" err)
                                 (all |(string/find $ err) parts))
                        err))))
    (t/check (string/has-prefix? "HTTP/1.1 200" (ask "/good")) "an answer")
    (t/same "" (string (server :err)))
    (ask "/string?a=b")
    (told "POST /string?a=b" "meant" "in deep")
    (ask "/table")
    (told "POST /table" `{:reason "meant so"}`)
    (ask "/late")
    (told "POST /late" "meant late")
    (ask "/header")
    (def all (told "POST /header" "value of header \"X-A\" has a control byte"))
    (t/same 4 (length (string/find-all "kqnet/http: POST" all)) "reports")
    # Bad requests and clients that leave are not errors of the program.
    (t/ask port "GET / HTTP/9.9\r\n\r\n")
    (:close (t/send port "GET / HT"))
    (ask "/good")
    (t/same all (string (server :err)))))

(t/finish)
