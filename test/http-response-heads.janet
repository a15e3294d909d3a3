###
### The head of a response is what its handler returned, whichever responses came before it.
###
### The server keeps the beginnings of heads that came several times, so each test has every response several times.
###

(import ./support :as t)
(import ./support/http :as h)
(t/need-spork)
(import kqnet/http)

(defn- serve [handler & options] (http/server handler "127.0.0.1" 0 ;options))

(def- often "How often a response comes." 4)

(defn- without-date [response]
  (put (response :headers) "date" nil))

(defn- heads
  "The statuses and the headers, without Date, of the responses to requests on one connection."
  [where & requests]
  (with [c (h/client where)]
    (seq [request :in requests]
      (def response (:ask c ;(if (string? request) ["GET" request] request)))
      [(response :status) (without-date response)])))

# This comes first, since later nothing is empty.
(t/test "a status of 0 is refused before any response was remembered, and afterwards"
  (def errors @[])
  (defn handler [{:path path}]
    (if (= path "/0") {:status 0 :detached (fn [conn _] (:close conn))} {:status 200}))
  (defn on-error [_ err _] (array/push errors err) nil)
  (with [server (serve handler :on-error on-error)]
    (repeat often
      (t/same 500 (first (first (heads server "/0"))))
      (heads server "/")))
  (t/same often (length errors))
  (t/check (all |(string/find "status" $) errors) (string/format "%q" errors)))

(t/test "a status and headers that come again are written again, with the length of the new body"
  (var body "")
  (with [server (serve (fn [_] {:status 201 :headers {"Content-Type" "text/x" "X-Number" 5} :body body}))]
    (for size 0 (* 3 often)
      (set body (string/repeat "x" size))
      (t/same [[201 @{"content-type" "text/x" "x-number" "5" "content-length" (string size)}]]
              (tuple ;(heads server "/"))))))

(t/test "responses that differ in their status or in one header are told apart"
  (def shared {"s" "1"})
  (def responses
    [{:status 200}
     {:status 200 :headers shared}
     {:status 500 :headers shared}
     {:status 201}
     {:status 200 :headers {}}
     {:status 200 :headers {"a" "1"}}
     {:status 200 :headers {"a" "2"}}
     {:status 200 :headers {"b" "1"}}
     {:status 404 :headers {"a" "1"}}
     {:status 200 :headers {"a" "1" "b" "1"}}
     {:status 200 :headers {"a" 1}}
     {:status 200 :headers {"a" ["1" "2"]}}
     {:headers {:a "1"}}
     {:status 999 :headers {"a" "1"}}])
  (def expected
    [[200 @{}]
     [200 @{"s" "1"}]
     [500 @{"s" "1"}]
     [201 @{}]
     [200 @{}]
     [200 @{"a" "1"}]
     [200 @{"a" "2"}]
     [200 @{"b" "1"}]
     [404 @{"a" "1"}]
     [200 @{"a" "1" "b" "1"}]
     [200 @{"a" "1"}]
     [200 @{"a" @["1" "2"]}]
     [200 @{"a" "1"}]
     [999 @{"a" "1"}]])
  (each [_ headers] expected (put headers "content-length" "0"))
  (with [server (serve |(responses (scan-number (string/slice ($ :path) 1))))]
    (def each-one (map |(string "/" $) (range (length responses))))
    # In a row, and each of them several times.
    (repeat often (t/same expected (tuple ;(heads server ;each-one))))
    (eachp [i path] each-one
      (t/same (tuple ;(array/new-filled often (expected i))) (tuple ;(heads server ;(array/new-filled often path)))))
    (repeat often (t/same expected (tuple ;(heads server ;each-one))))))

(t/test "what a program changes in a table of headers, or in a table that it returns, is in the next response"
  (def headers @{"a" "1" "b" "2"})
  (def response @{:status 200 :headers headers})
  (with [server (serve (fn [_] response))]
    (defn check [status expected]
      (repeat often
        (t/same [[status (merge @{"content-length" "0"} expected)]] (tuple ;(heads server "/")))))
    (check 200 {"a" "1" "b" "2"})
    (put headers "a" "3")
    (check 200 {"a" "3" "b" "2"})
    (put headers "b" nil)
    (check 200 {"a" "3"})
    (put headers "c" "4")
    (check 200 {"a" "3" "c" "4"})
    (put response :status 202)
    (check 202 {"a" "3" "c" "4"})
    (table/clear headers)
    (check 202 {})
    (put response :headers nil)
    (check 202 {})))

(t/test "a value that is a buffer, an array or a tuple of buffers is written as it is at the time"
  (def buffer @"0")
  (def array @["0"])
  (with [server (serve (fn [_] {:headers {"a" buffer "b" array "c" [buffer]}}))]
    (for number 0 (* 3 often)
      (def text (string number))
      (buffer/clear buffer)
      (buffer/push buffer text)
      (put array 0 text)
      (t/same [[200 @{"a" text "b" text "c" text "content-length" "0"}]] (tuple ;(heads server "/"))))))

(t/test "a name that is a buffer is written as it is at the time"
  (def name @"x0")
  (def headers @{name "value"})
  (with [server (serve (fn [_] {:headers headers}))]
    (for number 0 (* 3 often)
      (buffer/clear name)
      (buffer/push name "x" (string number))
      (t/same [[200 @{(string name) "value" "content-length" "0"}]] (tuple ;(heads server "/"))))))

(t/test "a string that takes the place of a collected one in memory is not taken for it"
  (var number 0)
  (defn handler [_]
    (++ number)
    {:headers {"X-Number" (string/format "%08d" number)}})
  (with [server (serve handler)]
    (with [c (h/client server)]
      (for expected 1 2000
        (t/same (string/format "%08d" expected) (get-in (:ask c "GET" "/") [:headers "x-number"]))
        (when (zero? (% expected 7)) (gccollect))))))

(t/test "a string that was sent often and collected is not taken for a new one"
  (var value nil)
  (with [server (serve (fn [_] {:headers {"X-Value" value}}))]
    (for number 0 200
      (set value (string/format "%08d" number))
      (t/same (tuple ;(array/new-filled often [200 @{"x-value" value "content-length" "0"}]))
              (tuple ;(heads server ;(array/new-filled often "/"))))
      (gccollect))))

(t/test "headers that the server decides on are decided on for each response"
  (def responses
    {"/close" {:headers {"Connection" "close" "a" "1"}}
     "/option" {:headers {"Connection" "x-option" "a" "1"}}
     "/length" {:headers {"Content-Length" "3" "a" "1"} :body "12345"}
     "/told" {:headers {"Content-Length" "3" "a" "1"}}
     "/coding" {:headers {"Transfer-Encoding" "chunked" "a" "1"} :body "12345"}
     "/pieces" {:headers {"a" "1"} :body ["12" "345"]}
     "/plain" {:headers {"a" "1"} :body "12345"}})
  (with [server (serve |(responses ($ :path)))]
    (repeat often
      (t/same [[200 @{"a" "1" "content-length" "0" "connection" "close"}]] (tuple ;(heads server "/close")))
      (t/same [[200 @{"a" "1" "content-length" "5"}]
               [200 @{"a" "1" "content-length" "5"}]
               [200 @{"a" "1" "content-length" "3"}]
               [200 @{"a" "1" "content-length" "0" "connection" "x-option"}]
               [200 @{"a" "1" "content-length" "5"}]
               [200 @{"a" "1" "transfer-encoding" "chunked"}]
               [200 @{"a" "1" "content-length" "5"}]
               [200 @{"a" "1" "content-length" "5" "connection" "close"}]]
              (tuple ;(heads server "/plain" "/length" ["HEAD" "/told"] "/option" "/coding" "/pieces"
                             ["HEAD" "/plain"] ["GET" "/plain" ["Connection: close"]]))))))

(t/test "a length that the handler declares is that of each response that has it, and of no other"
  (def told (ev/chan 20))
  (defn handler [{:path path}]
    (case path
      "/three" {:headers {"Content-Length" "3" "a" "1"}}
      "/four" {:headers {"Content-Length" 4 "a" "1"}}
      "/pieces" {:headers {"Content-Length" "5" "a" "1"} :body ["12" "345"]}
      "/more" {:headers {"Content-Length" "3" "a" "1"} :body ["12" "345"]}
      {:headers {"a" "1"}}))
  (with [server (serve handler :on-error (fn [_ err _] (ev/give told err) nil))]
    (repeat often
      (t/same (tuple ;(map |[200 @{"a" "1" "content-length" $}] ["3" "4" "0" "5" "0" "0"]))
              (tuple ;(heads server ["HEAD" "/three"] ["HEAD" "/four"] ["HEAD" "/"] "/pieces" "/three" "/")))
      (t/ask server (h/request "GET" "/more"))
      (t/same "a response's body is longer than its Content-Length" (ev/take told)))))

(t/test "a handler's Date takes the place of the server's, and each response without one has the server's"
  (with [server (serve |(if (= "/own" ($ :path)) {:headers {"Date" "today"}} {:headers {}}))]
    (with [c (h/client server)]
      (repeat often
        (t/same "today" (get-in (:ask c "GET" "/own") [:headers "date"]))
        (t/check (string/has-suffix? " GMT" (get-in (:ask c "GET" "/") [:headers "date"])) "a date")))))

(t/test "headers that cannot be sent are refused, however often responses without headers came before"
  (var headers nil)
  (with [server (with-dyns [:err @""] (serve (fn [_] {:headers headers}) :on-error (fn [_ why &] {:status 500 :body why})))]
    (repeat often (t/same 200 ((h/fetch server "GET" "/") :status)))
    (each [wrong why]
      [["text" "a response's :headers must be a table or a struct, got \"text\""]
       [7 "a response's :headers must be a table or a struct, got 7"]
       [["a" "1"] "a response's :headers must be a table or a struct, got <tuple "]
       [{"a b" "1"} "header name \"a b\" is not a token"]
       [{"a" "1\n"} "value of header \"a\" has a control byte"]
       [{7 "1"} "a header's name must be a string, got 7"]]
      (set headers wrong)
      (repeat often
        (def response (h/fetch server "GET" "/"))
        (t/same 500 (response :status))
        (t/check (string/find why (response :body)) (string why ", not " (response :body)))))))

(t/test "values that may identify a user are not kept when their response is over"
  (def seen (table/weak-values 8))
  (def names
    ["Set-Cookie" "Authentication-Info" "X-Auth" "X-CSRF-Token" "Session" "X-Api-Key" "x-secret"])
  (var headers nil)
  (defn handler [req]
    (when (= "/secret" (req :path)) {:headers headers}))
  (with [server (serve |(or (handler $) {:body "hello"}))]
    (with [c (h/client server)]
      (each name [;names "Location"]
        # The strings must not be constants of this test.
        (def value (if (= name "Location") (string "/next?" (length names)) (string "secret of " name)))
        (put seen name value)
        (set headers {name value})
        (repeat often (t/same value (get-in (:ask c "GET" "/secret") [:headers (string/ascii-lower name)])))))
    (set headers nil)
    (with [c (h/client server)] (:ask c "GET" "/"))
    (t/settles 0 |(length (keys seen)) "what the responses had")))

(t/test "few and short values are kept when their responses are over"
  (def seen (table/weak-values 200))
  (var headers nil)
  (with [server (serve |(if (= "/" ($ :path)) {:headers headers} {}))]
    (with [c (h/client server)]
      (for number 0 100
        (def value (string "value " number))
        (def long (string/repeat (string number) 2000))
        (put seen number value)
        (put seen (string number) long)
        (each wanted [value long]
          (set headers {"X-Value" wanted})
          (repeat often (t/same wanted (get-in (:ask c "GET" "/") [:headers "x-value"])))))
      (set headers nil)
      (:ask c "GET" "/other"))
    (t/settles true |(>= 16 (length (keys seen))) "at most as many as there are places")
    (t/same [] (tuple ;(filter string? (keys seen))))))

(t/finish)
