###
### The server of kqnet/http as a whole: middleware, options, draining, signals, events, uploads, threads.
###
### Its clients include some that leave and some that are slow.
###

(import ./support :as t)
(import ./support/http :as h)
(t/need-spork)
(import kqnet)
(import kqnet/http)

(def- host "127.0.0.1")

(defn- serve [handler & options] (http/server handler host 0 ;options))

(defn- active [server] ((kqnet/stats server) :active))

(defn- hello [_] {:status 200 :body "hello"})

# Middleware.

(t/test "router: a path's route, the default, and 404 without a default"
  (def routes {"/" hello
               "/404" 404
               "/string" "text"
               "/buffer" @"bytes"
               "/response" {:status 201 :body "made"}})
  (with [server (serve (http/router routes))]
    (each [path status body] [["/" 200 "hello"] ["/?a=b" 200 "hello"] ["/404" 404 "Not Found"]
                              ["/string" 200 "text"] ["/buffer" 200 "bytes"] ["/response" 201 "made"]
                              ["/nowhere" 404 "Not Found"] ["/string/" 404 "Not Found"]]
      (t/same [status body] (h/brief (h/fetch server "GET" path)) path)))
  (with [server (serve (http/router (merge routes {:default |{:status 202 :body ($ :path)}})))]
    (t/same [202 "/nowhere?a"] (h/brief (h/fetch server "GET" "/nowhere?a")))
    (t/same [200 "hello"] (h/brief (h/fetch server "GET" "/")))))

(t/test "cookies: the handler gets a table of them"
  (defn show [{:cookies cookies}]
    {:body (string/join (seq [name :in (sort (keys cookies))] (string name "=" (cookies name))) " ")})
  (with [server (serve (http/cookies show))]
    (t/same [200 "a=1 b=two"] (h/brief (h/fetch server "GET" "/" ["Cookie: a=1; b=two"])))
    (t/same [200 "a=1 b=two c=3"] (h/brief (h/fetch server "GET" "/" ["Cookie: a=1" "X-A: b" "Cookie: b=two; c=3"])))
    (t/same [200 ""] (h/brief (h/fetch server "GET" "/")))))

(defn- with-log
  "Calls a function with a file to log to. Returns the lines that are in the file afterwards."
  [f]
  (def path (t/scratch "log"))
  (defer (os/rm path)
    (with [out (file/open path :w)]
      (f out))
    (filter |(not (empty? $)) (string/split "\n" (slurp path)))))

(defn- log-of
  "The lines that a logger writes for requests."
  [options requests &opt handler]
  (with-log
    (fn [out]
      (with [server (serve (http/logger (or handler hello) ;options :out out))]
        (each [method path & headers] requests (h/fetch server method path headers))))))

(t/test "logger: prints the line of spork/http, to (dyn :out)"
  (def lines
    (with-log
      (fn [out]
        (with [server (serve (with-dyns [:out out] (http/logger hello)))]
          (h/fetch server "GET" "/path?a=b")
          (h/fetch server "POST" "/" [] "body")))))
  (def line (peg/compile ~{:main (* ':method " 200 " ':path " elapsed " :d+ "." (3 :d) "ms" -1)
                           :method :a+
                           :path (to " ")}))
  (t/same [["GET" "/path?a=b"] ["POST" "/"]] (map |(peg/match line $) lines)))

(def- common-line
  "A line of the Common Log Format, or of the Combined Log Format."
  (peg/compile
    ~{:field (any (+ "\\\\" "\\\"" (if-not (set "\"\\\n") 1)))
      :quoted (* `"` ':field `"`)
      :day (* (2 :d) "/" (3 :a) "/" (4 :d))
      :time (* (2 :d) ":" (2 :d) ":" (2 :d))
      :host '(some (+ :w (set ".:-%")))
      :main (* :host " - - [" :day ":" :time " +0000] " :quoted " " '(3 :d) " " '(+ :d+ "-")
               (? (* " " :quoted " " :quoted)) -1)}))

(defn- fields [lines] (map |(t/check (peg/match common-line $) (string "the format, not " $)) lines))

(t/test "logger :common"
  (defn handler [{:route route}]
    (case route
      "/fiber" {:status 201 :body (coro (yield "a"))}
      "/file" {:headers {"Content-Length" "3"} :body (coro (yield "abc"))}
      "/empty" {}
      "/204" {:status 204}
      (hello nil)))
  (t/same [["127.0.0.1" "GET /a?b=c HTTP/1.1" "200" "5"]
           ["127.0.0.1" "GET /fiber HTTP/1.1" "201" "1"]
           ["127.0.0.1" "GET /file HTTP/1.1" "200" "3"]
           ["127.0.0.1" "HEAD / HTTP/1.1" "200" "-"]
           ["127.0.0.1" "BREW /empty HTTP/1.1" "200" "-"]
           ["127.0.0.1" "GET /204 HTTP/1.1" "204" "-"]]
          (fields (log-of [:format :common]
                          [["GET" "/a?b=c"] ["GET" "/fiber"] ["GET" "/file"] ["HEAD" "/"] ["BREW" "/empty"] ["GET" "/204"]]
                          handler))))

(t/test "logger :combined"
  (t/same [["127.0.0.1" "GET / HTTP/1.1" "200" "5" "http://h/" "curl/8"]
           ["127.0.0.1" "GET / HTTP/1.1" "200" "5" "-" "-"]
           ["127.0.0.1" "GET / HTTP/1.1" "200" "5" "one" "-"]]
          (fields (log-of [:format :combined]
                          [["GET" "/" "Referer: http://h/" "User-Agent: curl/8"]
                           ["GET" "/"]
                           ["GET" "/" "Referer: one" "Referer: two"]]))))

(t/test "logger: a client cannot add fields or lines"
  (def lines
    (log-of [:format :combined]
            [["GET" `/"a\` `User-Agent: a" "b\" 200` `Referer: \`]
             ["GET" `/\" "x\"` "User-Agent: \xC2\x85\x1B[0m"]]))
  (t/same [["127.0.0.1" `GET /\"a\\ HTTP/1.1` "200" "5" `\\` `a\" \"b\\\" 200`]
           # The target contains a space.
           ["127.0.0.1" `GET /\\\" \"x\\\" HTTP/1.1` "400" "23" "-" "-"]]
          (fields lines)))

(t/test "logger: the version of an HTTP/1.0 client"
  (def lines
    (with-log
      (fn [out]
        (with [server (serve (http/logger hello :format :common :out out))]
          (t/ask server "GET / HTTP/1.0\r\n\r\n")))))
  (t/same [["127.0.0.1" "GET / HTTP/1.0" "200" "5"]] (fields lines)))

(t/test "logger: writes to a buffer in (dyn :out)"
  (def out @"")
  (with [server (serve (with-dyns [:out out] (http/logger hello :format :common)))]
    (t/same 200 ((h/fetch server "GET" "/") :status))
    (t/same [["127.0.0.1" "GET / HTTP/1.1" "200" "5"]] (fields [(string/trimr out)]))))

(t/test "logger: the error for a wrong option names it"
  (t/same "kqnet/http/logger: unknown option :formt; the options are :format, :out"
          (t/raised |(http/logger hello :formt :common)))
  (t/same "kqnet/http/logger: :out must be a file, a buffer or a function, got 5"
          (t/raised |(http/logger hello :out 5)))
  (def err (t/raised |(http/logger hello :format :apache)))
  (t/check (and (string/find "kqnet/http/logger" err) (string/find ":apache" err)) err))

# Metrics.

(def- metrics-grammar
  "The grammar of the Prometheus text format, version 0.0.4."
  (peg/compile
    ~{:name '(* (+ :a (set "_:")) (any (+ :w (set "_:"))))
      :label-name '(* (+ :a "_") (any (+ :w "_")))
      :label-value (% (any (+ (/ "\\\\" "\\") (/ `\"` `"`) (/ "\\n" "\n") '(if-not (set "\"\\\n") 1))))
      :label (group (* :label-name `="` :label-value `"`))
      :labels (group (? (* "{" (? (* :label (any (* "," :label)) (? ","))) "}")))
      :value (number (* (? (set "+-")) :d+ (? (* "." :d+)) (? (* (set "eE") (? (set "+-")) :d+))))
      :sample (group (* (constant :sample) :name :labels " " :value "\n"))
      :help (group (* "# HELP " (constant :help) :name " " '(to "\n") "\n"))
      :type (group (* "# TYPE " (constant :type) :name " " '(+ "counter" "gauge" "histogram") "\n"))
      :main (* (any (+ :help :type :sample)) -1)}))

(defn- parse-metrics
  "Checks the format. Returns a table from each name to a table from labels (a struct) to the value."
  [text]
  (def lines (t/check (peg/match metrics-grammar text) (string "the format, not " text)))
  (def found @{})
  (var last-type nil)
  (each line lines
    (match line
      [:help name] (t/check (not (found name)) (string "one block for " name))
      [:type name] (do
                     (t/check (not (found name)) (string "one type for " name))
                     (set last-type name)
                     (put found name @{}))
      [:sample name labels value] (do
                                    (def suffix (if (string/has-prefix? last-type name) (string/slice name (length last-type))))
                                    (t/check (has-value? ["" "_bucket" "_sum" "_count"] suffix)
                                             (string "the type before its samples, not before " name))
                                    (unless (found name) (put found name @{}))
                                    (def labels (from-pairs labels))
                                    (def labels (table/to-struct labels))
                                    (t/check (nil? ((found name) labels))
                                             (string/format "no two samples of %s for %q" name labels))
                                    (put (found name) labels value))))
  found)

(t/test "metrics: the statistics are in Prometheus's text format"
  (with [server (serve (http/metrics hello))]
    (def [_ port] (net/localname server))
    (def here {"listener" (string "127.0.0.1:" port)})
    (t/same [200 "hello"] (h/brief (h/fetch server "GET" "/")))
    (defn ask [] (h/fetch server "GET" "/metrics"))
    (def response (ask))
    (t/same "text/plain; version=0.0.4; charset=utf-8" ((response :headers) "content-type"))
    (def metrics (parse-metrics (response :body)))
    (t/same 2 (get-in metrics ["kqnet_accepted_total" here]))
    (t/same 3 (get-in (parse-metrics ((ask) :body)) ["kqnet_accepted_total" here]))
    (t/check (pos? (get-in metrics ["kqnet_active" here])) "the connection that asks")
    (each name ["kqnet_active_peak" "kqnet_batches_total" "kqnet_aborted_total"]
      (t/check (number? (get-in metrics [name here])) name))
    (each name ["kqnet_pauses_total" "kqnet_paused_seconds_total"]
      (each reason ["error" "full" "rate"]
        (t/same 0 (get-in metrics [name (struct "reason" reason ;(kvs here))]))))
    # The name of every counter says that it is one.
    (each [_ name kind] (filter |(= :type (first $)) (peg/match metrics-grammar (response :body)))
      (t/same (= kind "counter") (string/has-suffix? "_total" name) name))))

(t/test "metrics: requests by method and status, refused requests, bytes and durations"
  (defn handler [req]
    (case (req :route)
      "/raise" (error "meant")
      "/404" {:status 404}
      "/read" {:body (http/read-body req)}
      (hello nil)))
  (with [server (serve (http/metrics handler) :on-error (fn [& _]) :max-body 100)]
    (def here (string "127.0.0.1:" (t/port server)))
    (defn labels [& pairs] (struct "listener" here ;pairs))
    (repeat 3 (h/fetch server "GET" "/"))
    (h/fetch server "HEAD" "/")
    (h/fetch server "GET" "/404")
    (h/fetch server "GET" "/raise")
    (h/fetch server "POST" "/read" [] "12345678")
    (h/fetch server "POST" "/read" [] (string/repeat "x" 101))
    # A client cannot make up labels.
    (for i 0 50 (h/fetch server (string "BREW" i) "/"))
    (repeat 2 (t/ask server "GET /\r\n\r\n"))
    (:close (t/send server "GET /half"))
    (:close (t/send server "POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc"))
    (t/wait-until "the end of the connections" |(zero? ((kqnet/stats server) :active)))
    (def metrics (parse-metrics ((h/fetch server "GET" "/metrics") :body)))
    (defn of-here [name] (tabseq [[labels value] :pairs (metrics name) :when (= here (labels "listener"))] labels value))
    (t/same {(labels "method" "GET" "status" "2xx") 3
             (labels "method" "HEAD" "status" "2xx") 1
             (labels "method" "GET" "status" "4xx") 1
             (labels "method" "GET" "status" "5xx") 1
             (labels "method" "POST" "status" "2xx") 1
             (labels "method" "POST" "status" "4xx") 1
             (labels "method" "POST" "status" "none") 1
             (labels "method" "other" "status" "2xx") 50
             (labels "method" "unknown" "status" "4xx") 2}
            (table/to-struct (of-here "kqnet_http_requests_total")))
    (t/same {(labels "status" "413" "reason" "request body is too large") 1
             (labels "status" "400" "reason" "request line is not method, target and version") 2}
            (table/to-struct (of-here "kqnet_http_refused_total")))
    (t/same 1 (get-in metrics ["kqnet_http_in_flight" (labels)]) "the request that asks")
    (t/same (+ 8 3) (get-in metrics ["kqnet_http_received_bytes_total" (labels)]))
    (def texts (+ (length "Internal Server Error\n") (length "request body is too large\n")
                  (* 2 (length "request line is not method, target and version\n"))))
    (t/same (+ (* 53 5) 8 texts) (get-in metrics ["kqnet_http_sent_bytes_total" (labels)]))
    (def name "kqnet_http_request_duration_seconds")
    (def buckets (seq [[labels value] :pairs (of-here (string name "_bucket"))]
                   [(if (= "+Inf" (labels "le")) math/inf (scan-number (labels "le"))) value]))
    (def counts (map last (sort buckets)))
    (t/same [0.001 math/inf] [(first (first (sort buckets))) (first (last (sort buckets)))])
    (t/check (<= ;counts) "buckets that add up")
    (t/same (last counts) (get-in metrics [(string name "_count") (labels)]))
    (t/same 59 (last counts) "all whose head could be read")
    (t/check (pos? (get-in metrics [(string name "_sum") (labels)])) "a time")))

(t/test "metrics: they may be at another path, and other requests go to the next handler"
  (with [server (serve (http/metrics hello "/status/kqnet"))]
    (t/same [200 "hello"] (h/brief (h/fetch server "GET" "/metrics")))
    (t/check (pos? (length (parse-metrics ((h/fetch server "GET" "/status/kqnet?a") :body)))) "metrics")))

(t/test "metrics: another server may take the place of one that was closed"
  (def first-server (serve (http/metrics hello)))
  (def [_ port] (net/localname first-server))
  (h/fetch first-server "GET" "/")
  (:close first-server)
  (with [server (http/server (http/metrics hello) host port)]
    (def metrics (parse-metrics ((h/fetch server "GET" "/metrics") :body)))
    # The sum of both servers, since the first was not collected.
    (t/same 2 (get-in metrics ["kqnet_accepted_total" {"listener" (string "127.0.0.1:" port)}]))
    (t/check (first-server :read) "the first server")))

(t/test "metrics: a unix socket may have any path"
  (def path (string (t/scratch `quote"`) `\back` "\nslash"))
  (with [server (http/server (http/metrics hello) :unix path)]
    (def metrics (parse-metrics ((h/fetch server "GET" "/metrics") :body)))
    (t/check (find |(string/find path $) (map |(get $ "listener" "") (keys (metrics "kqnet_active"))))
             "the path as it is")))

# What can be a handler.

(t/test "what cannot be a handler is refused with an error that says what was meant, and nothing listens"
  (def before (t/descriptors))
  (defn none [] {:body "x"})
  (defn two [a b] {:body "x"})
  (defn three [req] (error "x"))
  (each [expected x]
    [["the handler is nil: was it defined, and did the function that makes it return it?" nil]
     ["the handler is a table of routes: did you mean (http/router {\"/\" " {"/" hello}]
     ["the handler is a table of routes: did you mean (http/router @{:default " @{:default hello}]
     ["the handler is neither a function nor a response with :status, :headers or :body, got {}" {}]
     ["the handler is neither a function nor a response with :status, :headers or :body, got {:statsu 200}" {:statsu 200}]
     ["the handler must be a function of the request, or a response, got :hello" :hello]
     ["the handler must be a function of the request, or a response, got true" true]
     ["the handler must be a function of the request, or a response, got (\"/\"" ["/" hello]]
     ["no HTTP status has the number 299" 299]
     ["the handler must take one argument, the request; <function none> does not" none]
     ["the handler must take one argument, the request; <function two> does not" two]]
    (each [who call] [["kqnet/http/server" |(http/server x host 0)]
                      ["kqnet/http/serve-forever" |(http/serve-forever x host 0)]
                      ["kqnet/http/middleware" |(http/middleware x)]
                      ["kqnet/http/metrics" |(http/metrics x)]
                      # A keyword where the handler belongs is taken for an option, which `logger` and `static` say.
                      ;(if (keyword? x) [] [["kqnet/http/logger" |(http/logger x)]])
                      ;(if (or (nil? x) (keyword? x)) [] [["kqnet/http/static" |(http/static t/project x)]])
                      [`kqnet/http/router: "/a"` (if (nil? x) |(error (string `kqnet/http/router: "/a": ` expected)) |(http/router {"/a" x}))]]
      (def err (t/raised call))
      (t/check (and (string? err) (string/has-prefix? (string who ": " expected) err))
               (string/format "%s: %s, not %q" who expected err))))
  (each call [|(http/logger :hello) |(http/logger :format :combined)]
    (def err (t/raised call))
    (t/check (string/has-prefix? "kqnet/http/logger: the handler comes first, as in (http/logger handler :" err) err))
  (each routes [nil "/" [hello] hello]
    (def err (t/raised |(http/router routes)))
    (t/check (and (string? err) (string/has-prefix? "kqnet/http/router: the routes must be a table or struct" err)) err))
  (each wrong [(fn [req] nil) (fn [] nil) (fn [req err fib more] nil)]
    (def err (t/raised |(serve hello :on-error wrong)))
    (t/check (string/has-prefix? "kqnet/http/server: :on-error must take three arguments, the request, the error and the fiber; " err) err))
  (t/settles before t/descriptors "descriptors"))

(t/test "what spork's middleware accepts as a handler is accepted"
  (each [expected x]
    [[[200 "hello"] hello]
     [[200 "hello"] (fn [&] {:body "hello"})]
     [[200 "hello"] (fn [req &opt x] {:body "hello"})]
     [[404 "Not Found"] 404]
     [[200 "text"] "text"]
     [[200 "text"] @"text"]
     [[201 ""] {:status 201}]
     [[200 "text"] @{:body "text"}]
     [[200 ""] {:headers {"X-A" "b"}}]]
    (with [server (serve x)]
      (t/same expected (h/brief (h/fetch server "GET" "/")))))
  (with [server (serve struct?)]
    (t/same 500 ((h/fetch server "GET" "/") :status) "a function in C is called; its response is none")))

(t/test "routes that are added later are used"
  (def routes @{})
  (with [server (serve (http/router routes))]
    (t/same 404 ((h/fetch server "GET" "/a") :status))
    (put routes "/a" "later")
    (t/same [200 "later"] (h/brief (h/fetch server "GET" "/a")))))

(t/test "a handler that returns no response: the client gets 500, and one line on stderr says why"
  (def program
    '[(import kqnet/http)
      (defn handler [req]
        (case (req :path)
          "/nil" nil
          "/keys" {:boby "x" :stauts 200}
          "/routes" {"/" "home"}
          "/status" {:status "200"}
          "/value" {:headers {"X-A" "a\nb"}}
          "/middleware" (http/logger http/metrics)
          {:body "fine"}))
      (def server (http/server handler "127.0.0.1" 0))
      (print (last (net/localname server)))
      (flush)])
  (with [process (t/start-forms program)]
    (def port (:port process))
    (each path ["/nil" "/keys" "/routes" "/status" "/value" "/middleware"]
      (t/same 500 ((h/fetch port "GET" path) :status) path))
    (t/same [200 "fine"] (h/brief (h/fetch port "GET" "/")))
    (def text (t/wait-until "its lines" |(if (= 6 (length (string/find-all "\n" (process :err)))) (string (process :err)))))
    (t/same ["kqnet/http: GET /nil: the handler returned nil, which is not a response"
             "kqnet/http: GET /keys: what the handler returned is not a response: it has none of :status, :headers and :body, but :boby :stauts"
             `kqnet/http: GET /routes: what the handler returned is not a response: it has none of :status, :headers and :body, but "/"`
             "kqnet/http: GET /status: a response's :status must be a number of three digits, got \"200\""
             "kqnet/http: GET /value: value of header \"X-A\" has a control byte"
             (string "kqnet/http: GET /middleware: the handler returned <function logged>, which is not a response: if the handler is "
                     "middleware, call it with the next handler first")
             ""]
            (string/split "\n" text))))

(t/test "a body that cannot be sent is refused before anything is sent, with 500 and one line on stderr"
  (def program
    '[(import kqnet/http)
      (def bodies
        {"/number" 5
         "/struct" {:a 1}
         "/table" @{:a "x" :b :keyword :c [1]}
         "/tuple" ["a" 1]
         "/array" @["a" nil]
         "/function" (fn [] "x")
         "/channel" (ev/chan)
         "/file" stdout})
      (defn handler [req] {:body (get bodies (req :path) ["fi" @"ne"])})
      (def server (http/server handler "127.0.0.1" 0))
      (print (last (net/localname server)))
      (flush)])
  (with [process (t/start-forms program)]
    (def port (:port process))
    (def whole "a response's :body must be bytes or iterable, got ")
    (def piece "a piece of a response's body must be bytes, got ")
    (each [path expected]
      [["/number" (string whole "5")]
       ["/struct" (string piece "1")]
       ["/table" (string piece "<tuple ")]
       ["/tuple" (string piece "1")]
       ["/array" (string piece "nil")]
       ["/function" (string whole "<function ")]
       ["/channel" (string whole "<core/channel ")]
       ["/file" (string whole "<core/file ")]]
      (def before (length (process :err)))
      (t/same [500 "Internal Server Error\n"] (h/brief (h/fetch port "GET" path)) path)
      (t/wait-until "its line" |(string/has-suffix? "\n" (slice (process :err) before)))
      (def said (string (slice (process :err) before)))
      (t/check (string/has-prefix? (string "kqnet/http: GET " path ": " expected) said) said)
      (t/same 1 (length (string/find-all "\n" said)) said))
    (t/same [200 "fine"] (h/brief (h/fetch port "GET" "/")))))

# Bodies.

(t/test "a body whose reading was interrupted is read from its beginning later"
  (def cancelled (ev/chan))
  (defn handler [req]
    (def reader (ev/go (fn [] (protect (http/read-body req)))))
    (t/wait-until "a part of the body" |(= "abc" (string (in req :body-begun ""))))
    (ev/cancel reader "enough")
    (ev/sleep 0)
    (ev/give cancelled true)
    {:body (if (= "/pieces" (req :path)) (string/join (map string (http/body-chunks req))) (http/read-body req))})
  (with [server (serve handler)]
    (each path ["/whole" "/pieces"]
      (with [c (h/client server)]
        (:write (c :conn) (string "POST " path " HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc"))
        (ev/take cancelled)
        (:write (c :conn) "def")
        (t/same "abcdef" ((:receive c "POST") :body) path)))))

(t/test "read-body writes to a sink: a buffer, a file, a stream or a function"
  (def path (t/scratch "sink"))
  (def body (string/repeat "0123456789" 30000))
  (def sinks @{})
  (defn handler [req]
    (def kind (string/slice (req :route) 1))
    (def pieces @[])
    (def sink (case kind
                "buffer" @"before "
                "file" (file/open path :w)
                "function" (fn [piece] (array/push pieces (string piece)))
                "wrong" 5))
    (def result (http/read-body req sink))
    (when (= kind "file") (:close sink))
    {:body (string (cond
                     (nil? result) "none"
                     (not= result sink) "another"
                     (case kind "buffer" sink "file" (slurp path) "function" (string/join pieces)))
                   " " (type (req :body)))})
  (with [server (serve handler)]
    (each headers [nil ["Transfer-Encoding: chunked"]]
      (defn post [kind]
        (if headers
          (with [conn (t/connect server)]
            (:write conn (string (h/request "POST" (string "/" kind) [;headers "Connection: close"])
                                 (string/format "%x\r\n" (length body)) body "\r\n0\r\n\r\n"))
            (last (string/split "\r\n\r\n" (t/receive conn) 0 2)))
          ((h/fetch server "POST" (string "/" kind) [] body) :body)))
      (t/same (string "before " body " nil") (post "buffer"))
      (t/same (string body " nil") (post "file"))
      (t/same (string body " nil") (post "function")))
    (t/same "none nil" ((h/fetch server "GET" "/buffer") :body) "without a body")
    (t/same 500 ((h/fetch server "POST" "/wrong" [] "x") :status)))
  (os/rm path)
  # A body that was read already, and the body of a response that a client has got.
  (with [server (serve (fn [req] (http/read-body req) {:body (http/read-body req @"again: ")}))]
    (t/same "again: abc" ((h/fetch server "POST" "/" [] "abc") :body))
    (def response (http/request "POST" (string "http://127.0.0.1:" (t/port server) "/") :body "abc"))
    (t/same "got again: abc" (string (http/read-body response @"got ")))))

# Options.

(t/test "the errors for wrong options name them, and nothing listens"
  (def before (t/descriptors))
  (each [args & words]
    [[[:max-heads 5] ":max-heads" "unknown option"]
     [[:max-head 0] ":max-head" "positive integer" "0"]
     [[:max-head 1.5] ":max-head" "positive integer" "1.5"]
     [[:max-headers -1] ":max-headers" "positive integer"]
     [[:max-body "1M"] ":max-body" "positive integer" `"1M"`]
     [[:max-requests 0] ":max-requests" "positive integer"]
     [[:head-timeout -1] ":head-timeout" "seconds" "-1"]
     [[:body-timeout "5"] ":body-timeout" "seconds"]
     [[:idle-timeout :never] ":idle-timeout" "seconds" ":never"]
     [[:write-timeout math/nan] ":write-timeout" "seconds"]
     [[:on-error "print"] ":on-error" "function"]
     [[:max-connections 0] ":max-connections" "positive integer"]
     [[:batch 0] ":batch" "positive integer"]
     [[:max-accept-rate 0] ":max-accept-rate" "positive number"]
     [[:backlog 0] ":backlog" "positive integer"]
     [[:drain-timeout 5] ":drain-timeout" "unknown option"]
     [[:max-head] ":max-head" "needs a value"]
     [["more"] "too many arguments" `"more"`]]
    (def err (t/raised |(http/server hello host 0 ;args)))
    (each word ["kqnet/http/server" ;words]
      (t/check (string/find word (string err)) (string/format "%q in %q" word err))))
  (def err (t/raised |(http/serve-forever hello host 0 :drain-timeout -1)))
  (t/check (string/find "kqnet/http/serve-forever: :drain-timeout" err) err)
  (t/settles before t/descriptors "descriptors"))

(t/test "a port that is taken is an error"
  (with [server (serve hello)]
    (def [_ port] (net/localname server))
    (t/check (string? (t/raised |(http/server hello host port))) "an error")))

(t/test "a timeout of math/inf means no limit"
  (with [server (serve hello :head-timeout math/inf :body-timeout math/inf
                       :idle-timeout math/inf :write-timeout math/inf)]
    (t/same [200 "hello"] (h/brief (h/fetch server "GET" "/")))))

(t/test "two servers in one VM have separate options"
  (defn echo [req] {:body (http/read-body req)})
  (with [small (serve echo :max-body 4)]
    (with [large (serve echo)]
      (t/same 413 ((h/fetch small "POST" "/" [] "hello") :status))
      (t/same [200 "hello"] (h/brief (h/fetch large "POST" "/" [] "hello"))))))

(t/test ":max-connections also counts kept connections"
  (with [server (serve hello :max-connections 2)]
    (def kept (seq [_ :range [0 2]] (h/client server)))
    (each c kept (t/same [200 "hello"] (h/brief (:ask c "GET" "/"))))
    (def waiting (t/background |(h/fetch server "GET" "/")))
    (each c kept (t/same [200 "hello"] (h/brief (:ask c "GET" "/"))))
    (t/same 0 (ev/count waiting))
    (:close (first kept))
    (t/same [200 "hello"] (h/brief (last (ev/take waiting))))
    (each c kept (:close c))))

(t/test "closing the listener leaves open connections as they are"
  (def server (serve hello))
  (with [c (h/client server)]
    (t/same [200 "hello"] (h/brief (:ask c "GET" "/")))
    (def port (t/port server))
    (:close server)
    (t/check (string? (t/raised |(t/connect port))) "no new ones")
    (repeat 3 (t/same [200 "hello"] (h/brief (:ask c "GET" "/"))))))

(t/test "the server may listen on a unix socket"
  (def path (t/scratch "http"))
  (def out (t/scratch "log"))
  (with [f (file/open out :w)]
    (with [server (http/server (http/logger hello :format :common :out f) :unix path :mode 8r600)]
      (t/same "rw-------" (os/stat path :permissions))
      (with [c (h/client server)]
        (repeat 3 (t/same [200 "hello"] (h/brief (:ask c "GET" "/")))))))
  (t/check (nil? (os/stat path)) "nothing left")
  (def lines (filter |(not (empty? $)) (string/split "\n" (slurp out))))
  (os/rm out)
  (t/same (array/new-filled 3 ["-" "GET / HTTP/1.1" "200" "5"]) (fields lines)))

# Draining.

(defn- gate
  "A handler that answers when it is told to, and the channel to tell it; :entered counts its calls."
  []
  (def go (ev/chan 100))
  (def state @{:entered 0 :go go})
  (put state :handler (fn [req]
                        (update state :entered inc)
                        (ev/take go)
                        {:body (req :path)})))

(t/test "drain: running requests are answered, with Connection: close"
  (def g (gate))
  (def server (serve (g :handler)))
  (def clients (seq [i :range [0 3]] (:send (h/client server) "GET" (string "/" i))))
  (t/wait-until "the handlers" |(= 3 (g :entered)))
  (def drained (t/background |(kqnet/drain server)))
  (ev/sleep 0)
  (t/check (string? (t/raised |(t/connect (t/port server)))) "no new connections")
  (t/same 0 (ev/count drained) "it waits")
  (repeat 3 (ev/give (g :go) true))
  (eachp [i c] clients
    (def response (:receive c))
    (t/same [200 (string "/" i) "close"] [;(h/brief response) ((response :headers) "connection")])
    (t/same "" (:rest c))
    (:close c))
  (t/same [true 0] (ev/take drained)))

(t/test "drain: idle connections are closed at once, and not reset"
  (def server (serve hello))
  (def clients (seq [_ :range [0 5]] (h/client server)))
  (each c (drop 1 clients) (t/same [200 "hello"] (h/brief (:ask c "GET" "/"))))
  (t/wait-until "connections" |(= 5 (active server)))
  (t/same 0 (kqnet/drain server 10))
  (each c clients
    (t/same "" (:rest c))
    (:close c)))

(t/test "drain: connections of other servers in the same VM stay open"
  (def [one other] [(serve hello) (serve hello)])
  (def [of-one of-other] (map h/client [one other]))
  (each c [of-one of-other] (t/same [200 "hello"] (h/brief (:ask c "GET" "/"))))
  (t/same 0 (kqnet/drain one 10))
  (t/same "" (:rest of-one))
  (t/same [200 "hello"] (h/brief (:ask of-other "GET" "/")))
  (t/same 0 (kqnet/drain other 10))
  (each c [of-one of-other] (:close c)))

(t/test "drain: requests that came before it are answered, though the server has not read them yet"
  # What is written to a unix socket can be read at once. Over TCP this is so only on Linux.
  (each kind [:unix ;(if t/linux? [:tcp] [])]
    (repeat 10
      (def server (if (= kind :tcp) (serve hello) (http/server hello :unix (t/scratch "drained"))))
      (def clients (seq [_ :range [0 5]] (h/client server)))
      (each c clients (:ask c "GET" "/"))
      # This task does not wait until then, so the server cannot have read these requests.
      (each c clients (:send c "GET" "/"))
      (def drained (t/background |(kqnet/drain server 10)))
      (each c clients
        (def response (:receive c))
        (t/same [200 "hello" "close"] [;(h/brief response) ((response :headers) "connection")])
        (t/same "" (:rest c))
        (:close c))
      (t/same [true 0] (ev/take drained)))))

(t/test "drain: a head that has begun may be completed, and the request is answered"
  (def server (serve hello))
  (with [c (h/client server)]
    (:ask c "GET" "/")
    (:write (c :conn) "GET / HTTP/1.1\r\nHo")
    (repeat 3 (ev/sleep 0))
    (def drained (t/background |(kqnet/drain server 10)))
    (repeat 3 (ev/sleep 0))
    (:write (c :conn) "st: h\r\n\r\n")
    (def response (:receive c))
    (t/same [200 "hello" "close"] [;(h/brief response) ((response :headers) "connection")])
    (t/same [true 0] (ev/take drained))))

(t/test "drain: of several requests in a row, the running one is the last to be answered"
  (def g (gate))
  (def server (serve (g :handler)))
  (with [c (h/client server)]
    (:write (c :conn) (string (h/request "GET" "/1") (h/request "GET" "/2") (h/request "GET" "/3")))
    (t/wait-until "the handler" |(= 1 (g :entered)))
    (def drained (t/background |(kqnet/drain server)))
    (ev/sleep 0)
    (repeat 3 (ev/give (g :go) true))
    (def response (:receive c "GET"))
    (t/same [200 "/1" "close"] [;(h/brief response) ((response :headers) "connection")])
    (t/same "" (:rest c))
    (:close c)
    (t/same [true 0] (ev/take drained))
    (t/same 1 (g :entered))))

(t/test "drain: a response in pieces is sent to its end"
  (def go (ev/chan))
  (def server (serve (fn [_] {:body (coro (yield "a") (ev/take go) (yield "b"))})))
  (with [c (h/client server)]
    (:send c "GET" "/")
    (:head c)
    (t/same "1\r\na\r\n" (:take c 6))
    (def drained (t/background |(kqnet/drain server)))
    (ev/give go true)
    (t/same "1\r\nb\r\n0\r\n\r\n" (:rest c))
    (:close c)
    (t/same [true 0] (ev/take drained))))

(t/test "drain: at its deadline it returns how many handlers are left, and does not stop them"
  (def g (gate))
  (def server (serve (g :handler)))
  (def clients (seq [i :range [0 2]] (:send (h/client server) "GET" "/")))
  (t/wait-until "the handlers" |(= 2 (g :entered)))
  (t/same 2 (kqnet/drain server 0.05))
  (repeat 2 (ev/give (g :go) true))
  (each c clients
    (t/same [200 "/"] (h/brief (:receive c)))
    (:close c)))

(t/test "drain with :cancel true: remaining handlers are cancelled, and their clients get 503"
  (def g (gate))
  (def cancelled @[])
  (def server (serve (fn [req]
                       (try ((g :handler) req)
                         ([err fib] (array/push cancelled err) (propagate err fib))))))
  (def clients (seq [i :range [0 2]] (:send (h/client server) "GET" "/")))
  (t/wait-until "the handlers" |(= 2 (g :entered)))
  (t/same 2 (kqnet/drain server 0.05 :cancel true))
  (each c clients
    (def response (:receive c))
    (t/same [503 "close"] [(response :status) ((response :headers) "connection")])
    (t/same "" (:rest c))
    (:close c))
  (t/same ["the server is draining" "the server is draining"] cancelled))

(t/test "drain with :cancel true: a response that has begun is cut off, and its generator ends"
  (def ended @[])
  (def server (serve (fn [_] {:body (coro (defer (array/push ended true)
                                            (yield "a")
                                            (ev/take (ev/chan))))})))
  (with [c (h/client server)]
    (:send c "GET" "/")
    (:head c)
    (t/same 1 (kqnet/drain server 0.05 :cancel true))
    (t/same "1\r\na\r\n" (:rest c))
    (t/same [true] ended)))

(t/test "drain in a handler does not wait for that handler"
  (var result nil)
  (def server-box @[])
  (def server (serve (fn [_]
                       (set result (kqnet/drain (first server-box)))
                       {:body "drained"})))
  (array/push server-box server)
  (def response (h/fetch server "GET" "/"))
  (t/same [200 "drained" "close" 0] [;(h/brief response) ((response :headers) "connection") result]))

# Serving until a signal.

(defn- start-forever
  "Starts a server in its own process. Returns the process and its port."
  [& forms]
  (def server (t/start-forms ~[(import kqnet/http) ,;forms]))
  (def line (:line server))
  (def [port] (t/check (peg/match '(* "http://127.0.0.1:" (number :d+) "/" -1) line)
                       (string "an address, not " line)))
  [server port])

(defn- outcome
  "How a request ended: :answered completely, :refused without a byte of an answer, or :cut off."
  [c]
  (try
    (do
      (:send c "GET" "/")
      (def response (:receive c))
      (cond
        (not= (response :body) (string/repeat "x" 100)) :cut
        (= "close" ((response :headers) "connection")) :last
        :answered))
    ([_] (if (empty? (c :buf)) :refused :cut))))

(each signal [:term :int]
  (t/test (string "serve-forever: no request that the server has taken is cut off by " (if (= signal :term) "SIGTERM" "SIGINT"))
    (def [server port]
      (start-forever
        '(var taken 0)
        '(defn handler [_]
           (++ taken)
           (ev/sleep 0.002)
           {:body (string/repeat "x" 100)})
        '(def left (http/serve-forever handler "127.0.0.1" 0))
        '(print taken " " left)))
    (def counts @{:answered 0 :last 0 :refused 0 :cut 0})
    (var signalled false)
    (defn ask [c]
      (def result (outcome c))
      (update counts result inc)
      (when (and (>= (counts :answered) 300) (not signalled))
        (set signalled true)
        (:signal server signal))
      result)
    (defn keep-asking [i]
      # Half of them use one connection, and half a new one for each request, until the port is closed.
      (var going true)
      (while going
        (match (protect (h/client port))
          [true c] (defer (:close c)
                     (while (and (= :answered (ask c)) (even? i))))
          (set going false))))
    # Janet's net/connect frees its error if a collection runs while a refused connection is pending.
    (def interval (gcinterval))
    (gcsetinterval 1e9)
    (t/together 20 keep-asking)
    (gcsetinterval interval)
    (t/same 0 (:wait server))
    (def [taken left] (map scan-number (string/split " " (:line server))))
    (t/same 0 left)
    (t/same 0 (counts :cut))
    (t/same taken (+ (counts :answered) (counts :last)) "all that were taken are answered")
    (t/check (pos? (counts :last)) "some requests were running when the signal came")
    (t/check (peg/match '(* (? (* "draining, " :d+ " still running; send the signal again to stop now\n")) -1) (server :err))
             (string "no more than a line on stderr, not " (server :err)))))

(defn- start-stuck
  "A server whose handlers never answer."
  [drain-timeout]
  (start-forever
    '(defn handler [_] (eprint "taken") (ev/take (ev/chan)))
    ~(print (http/serve-forever handler "127.0.0.1" 0 :drain-timeout ,drain-timeout))
    '(flush)
    '(os/exit 0)))

(t/test "serve-forever: at :drain-timeout it returns how many requests are left"
  (def [server port] (start-stuck 0.05))
  (with [c (:send (h/client port) "GET" "/")]
    (t/wait-until "the handler" |(= "taken\n" (string (server :err))))
    (:signal server :term)
    (t/same "1" (:line server))
    (t/same 0 (:wait server))))

(t/test "serve-forever: a second signal ends the wait"
  (def [server port] (start-stuck 1000))
  (with [c (:send (h/client port) "GET" "/")]
    (t/wait-until "the handler" |(= "taken\n" (string (server :err))))
    (:signal server :term)
    # When the first signal has arrived, the port is free. The server would count an attempt to connect.
    (t/wait-until "the free port" |(first (protect (:close (kqnet/listen host port)))))
    # Only one that comes later than this counts.
    (ev/sleep 0.3)
    (:signal server :int)
    (t/same "1" (:line server))
    (t/same 0 (:wait server))))

(t/test "serve-forever: a signal that is sent twice, as by timeout(1), is one signal"
  (def server
    (t/start-forms
      '[(import kqnet/http)
        (defn handler [_] (eprint "taken") (ev/sleep 0.5) {:body "answered"})
        (print "left " (http/serve-forever handler "127.0.0.1" 0 :drain-timeout 1000))]))
  (def [port] (peg/match '(* "http://127.0.0.1:" (number :d+)) (:line server)))
  (with [c (:send (h/client port) "GET" "/")]
    (t/wait-until "the handler" |(= "taken\n" (string (server :err))))
    (:signal server :term)
    (:signal server :int)
    (t/same "answered" ((:receive c "GET") :body))
    (t/same "left 0" (:line server))
    (t/same 0 (:wait server))))

(t/test "serve-forever: the program goes on after it, and ends"
  (def [server port] (start-forever
                       '(def left (http/serve-forever "hello" "127.0.0.1" 0))
                       '(print "left " left)))
  (with [c (h/client port)]
    (t/same [200 "hello"] (h/brief (:ask c "GET" "/")))
    (:signal server :term)
    (t/same "left 0" (:line server))
    (t/same 0 (:wait server))
    (t/same "" (:rest c))
    (t/same "" (string (server :err)))))

(t/test "serve-forever: it prints the address of a unix socket"
  (def path (t/scratch "forever"))
  (with [server (t/start-forms ~[(import kqnet/http) (http/serve-forever "hello" :unix ,path)])]
    (t/same (string "unix:" path) (:line server))
    (:signal server :term)
    (t/same 0 (:wait server))
    (t/check (nil? (os/stat path)) "nothing left")))

# Streams of events.

(t/test "events arrive as they are yielded"
  (def events (ev/chan))
  (with [server (serve (fn [_]
                         {:headers {"Content-Type" "text/event-stream"}
                          :body (coro
                                  (forever
                                    (def event (ev/take events))
                                    (unless event (break))
                                    (yield (string "data: " event "\n\n"))))}))]
    (with [c (h/client server)]
      (:send c "GET" "/")
      # The head does not wait for the first event.
      (t/same "text/event-stream" (((:head c) :headers) "content-type"))
      (each event ["one" "two" "three"]
        (ev/give events event)
        # The next event is not given before this one has arrived.
        (def text (string "data: " event "\n\n"))
        (def wanted (string/format "%x\r\n%s\r\n" (length text) text))
        (t/same wanted (:take c (length wanted))))
      (ev/give events nil)
      (t/same "0\r\n\r\n" (:take c 5)))))

(t/test "when a client leaves, the generator ends and its defer runs"
  (each headers [{"Content-Type" "text/event-stream"} {"Content-Length" "1000000000"}]
    (var ended false)
    (defn events [_]
      {:headers headers
       :body (coro
               (defer (set ended true)
                 (forever
                   (yield "data: tick\n\n")
                   (ev/sleep 0.001))))})
    (with [server (serve events)]
      (with [c (h/client server)]
        (:send c "GET" "/")
        (:head c)
        (t/same false ended))
      (t/wait-until "the end of the generator" |(do ended))
      (t/wait-until "the end of the connection" |(zero? (active server))))))

(t/test "when the generator's pieces are not sent, it ends and its defer runs"
  (def ended @{})
  (defn body [req]
    (def body (coro (defer (put ended (req :path) true) (yield "a") (yield "b"))))
    # The generator has begun.
    (resume body)
    body)
  (with [server (serve (fn [req] {:status (if (= "/304" (req :path)) 304 200) :body (body req)}))]
    (each [method path] [["HEAD" "/head"] ["GET" "/304"]]
      (with [conn (t/send server (h/request method path ["Connection: close"]))]
        (t/receive conn))
      (t/same true (ended path) path))))

(t/test "when a client leaves while the generator waits, the generator ends at the next event"
  (def events (ev/chan))
  (var ended false)
  (with [server (serve (fn [_] {:body (coro (defer (set ended true)
                                              (forever (yield (ev/take events)))))}))]
    (with [c (h/client server)]
      (:send c "GET" "/")
      (:head c))
    (def giving (ev/go (fn [] (protect (forever (ev/give events "tick"))))))
    (t/wait-until "the end of the generator" |(do ended))
    (ev/cancel giving "enough")))

(t/test "a defer may wait, and an error in it does not end the server"
  (var ended 0)
  (with [server (serve (fn [{:path path}]
                         {:body (coro
                                  (defer (do
                                           (ev/sleep 0.001)
                                           (++ ended)
                                           (if (= path "/fail") (error "meant to be raised")))
                                    (forever (yield "tick") (ev/sleep 0.001))))})
                       :on-error (fn [&] nil))]
    (each path ["/" "/fail" "/"]
      (with [c (h/client server)]
        (:send c "GET" path)
        (:head c)))
    (t/wait-until "the ends of the generators" |(= 3 ended))
    (t/wait-until "the ends of the connections" |(zero? (active server)))))

# Clients that leave, or are slow.

(t/test "clients that vanish leave nothing on stderr, and the server goes on"
  (with [server
         (t/start-forms
           '[(import kqnet)
             (import kqnet/http)
             (def piece (string/repeat "x" 100000))
             (var server nil)
             (defn handler [req]
               (case (req :route)
                 "/large" {:body (string/repeat piece 10)}
                 "/stream" {:body (coro (repeat 10 (yield piece)))}
                 "/slow" (do (ev/sleep 0.001) {:body piece})
                 "/echo" {:body (http/read-body req)}
                 "/pieces" (do (each piece (http/body-chunks req)) {:body "read"})
                 "/active" {:body (string ((kqnet/stats server) :active))}
                 {:body "hello"}))
             (set server (http/server handler "127.0.0.1" 0))
             (print (last (net/localname server)))
             (flush)])]
    (def port (:port server))
    (def sent
      [(h/request "GET" "/large") (h/request "GET" "/stream") (h/request "GET" "/slow") (h/request "GET" "/")
       (string/repeat (h/request "GET" "/large") 5)
       (string (h/request "POST" "/echo" ["Content-Length: 1000"]) "half a body")
       (string (h/request "POST" "/pieces" ["Transfer-Encoding: chunked"]) "5\r\nhello\r\n5\r\nhe")
       "GET / HTTP/1.1\r\nHo" "" "\x16\x03\x01"])
    (defn vanish [i]
      (def conn (t/connect port))
      (:write conn (sent (% i (length sent))))
      # Some clients have read a part of the answer, and some have left everything unread: these reset.
      (when (and (even? (div i (length sent))) (< (% i (length sent)) 5)) (:read conn 1000))
      (:close conn))
    (repeat 5 (t/together 60 vanish))
    (t/wait-until "the ends of all connections" |(= "1" ((h/fetch port "GET" "/active") :body)))
    (t/same nil (server :status))
    (t/same "" (string (server :err)))))

(def- plain-memory?
  "Whether memory can be measured: not with a sanitizer, and not in an emulator, whose own memory it would be."
  (not t/slow?))

(t/test "clients that send their heads byte by byte cost only their buffers, and delay nobody"
  (unless plain-memory? (t/skip "a sanitizer or an emulator changes memory"))
  (unless t/linux? (t/skip "the memory of another process is not known here"))
  (with [server
         (t/start-forms
           '[(import kqnet/http)
             (def server (http/server (fn [_] {:body "hello"}) "127.0.0.1" 0 :head-timeout 1000))
             (print (last (net/localname server)))
             (flush)])]
    (def port (:port server))
    (def count 300)
    (repeat 10 (h/fetch port "GET" "/"))
    (def before (t/resident server))
    (def clients (seq [_ :range [0 count]] (t/connect port)))
    (def head (h/request "GET" "/" ["X-A: some value" "Connection: close"]))
    (for i 0 (- (length head) 1)
      (each conn clients (:write conn (string/slice head i (inc i))))
      (when (zero? (% i 20))
        (t/same [200 "hello"] (h/brief (h/fetch port "GET" "/")))))
    (t/same [200 "hello"] (h/brief (h/fetch port "GET" "/")))
    (def each-one (div (- (t/resident server) before) count))
    (print "      " each-one " bytes for each")
    # All of them are answered in the end.
    (each conn clients (:write conn "\n"))
    (each conn clients
      (t/check (string/has-suffix? "\r\n\r\nhello" (t/receive conn)) "an answer")
      (:close conn))
    (t/check (< each-one 12288) (string "at most 12 KiB for each, not " each-one))))

# Bodies.

(t/test "many requests with bodies may follow each other"
  (def sizes [0 1 100 2047 2048 5000 70000])
  (with [server (serve (fn [req] {:body (string/format "%d %s" (length (http/read-body req)) (req :path))}))]
    (with [c (h/client server)]
      (def count 140)
      (defn body [i] (string/repeat (string/from-bytes (+ 97 (% i 26))) (sizes (% i (length sizes)))))
      (def sent
        (t/background
          (fn []
            (for i 0 count
              (def body (body i))
              (:write (c :conn)
                      (if (even? i)
                        (h/request "POST" (string "/" i) [] body)
                        (string (h/request "POST" (string "/" i) ["Transfer-Encoding: chunked"])
                                (if (empty? body) "" (string/format "%x\r\n%s\r\n" (length body) body))
                                "0\r\n\r\n")))))))
      (for i 0 count
        (t/same [200 (string (length (body i)) " /" i)] (h/brief (:receive c "POST"))))
      (t/same true (first (ev/take sent))))))

(t/test "an upload of 16 MiB in pieces is not held in memory"
  (with [server
         (t/start-forms
           '[(import kqnet/http)
             (defn handler [req]
               (var size 0)
               (var sum 0)
               (each piece (http/body-chunks req)
                 (+= size (length piece))
                 # This reads something of each body.
                 (+= sum (first piece) (last piece)))
               {:body (string size)})
             (def server (http/server handler "127.0.0.1" 0 :max-body 20000000))
             (print (last (net/localname server)))
             (flush)])]
    (def port (:port server))
    (def size 16777216)
    (def piece (string/repeat "x" 65536))
    (h/fetch port "POST" "/" [] "small")
    (def before (if plain-memory? (t/peak server)))
    (each chunked [false true]
      (with [c (h/client port)]
        (:send c "POST" "/" [(if chunked "Transfer-Encoding: chunked" (string "Content-Length: " size))])
        (repeat (div size (length piece))
          (when chunked (:write (c :conn) "10000\r\n"))
          (:write (c :conn) piece)
          (when chunked (:write (c :conn) "\r\n")))
        (when chunked (:write (c :conn) "0\r\n\r\n"))
        (t/same [200 (string size)] (h/brief (:receive c)))
        # The connection can still be used, too.
        (t/same [200 "5"] (h/brief (:ask c "POST" "/" [] "small")))))
    (unless before (t/skip "the peak of a process's memory cannot be measured here"))
    (def grown (- (t/peak server) before))
    (print "      grown by " (div grown 1024) " KiB")
    (t/check (< grown 12582912) (string "at most 12 MiB more, not " grown))))

(t/test ":max-body may need more than 32 bits, and must be a whole number"
  (with [server (serve (fn [req] {:body (http/read-body req)}) :max-body 5000000000)]
    (t/same [200 "hello"] (h/brief (h/fetch server "POST" "/" [] "hello"))))
  (t/check (string/find ":max-body" (t/raised |(serve hello :max-body 1.5))) "an error that names it"))

(t/test "the collector runs less often with many connections, and as before without them"
  (def before (gcinterval))
  (defer (gcsetinterval before)
    # Below some 240,000 Janet raises the interval by itself.
    (gcsetinterval 300000)
    (with [server (serve (fn [_] {:status 200}))]
      (defn with-many [f]
        (def conns (seq [_ :range [0 320]] (t/connect server)))
        (defer (each conn conns (:close conn))
          (t/wait-until "a longer interval" |(> (gcinterval) (* 320 1024)))
          (f)))
      (with-many |(t/check (< (gcinterval) (* 320 8192)) "not much longer"))
      (t/wait-until "the interval as it was" |(= 300000 (gcinterval)))
      (with-many |(gcsetinterval 50000000))
      (t/wait-until "no connection" |(zero? ((kqnet/stats server) :active)))
      (t/same 50000000 (gcinterval)))))

(t/test "a body can be sent back while it comes"
  (with [server (serve (fn [req] {:body (http/body-chunks req)}) :max-body 10000000)]
    (with [c (h/client server)]
      (def text (string/repeat "0123456789abcdef" 500000))
      (:send c "POST" "/" [(string "Content-Length: " (length text))])
      (def sent (t/background |(:write (c :conn) text)))
      (def response (:receive c))
      (t/check (= text (response :body)) "the same text")
      (t/check (> (length (response :pieces)) 10) "in pieces")
      (t/same true (first (ev/take sent))))))

(t/test "an upload is read no faster than the handler takes it"
  (def go (ev/chan))
  (with [server (serve (fn [req]
                         (var size 0)
                         (each piece (http/body-chunks req)
                           (ev/take go)
                           (+= size (length piece)))
                         {:body (string size)})
                       :max-body 100000000)]
    (with [c (h/client server)]
      (def size 33554432)
      (def body (string/repeat "x" size))
      (:send c "POST" "/" [(string "Content-Length: " size)])
      (def sent (t/background |(:write (c :conn) body)))
      (repeat 50 (ev/sleep 0))
      (t/same 0 (ev/count sent) "it cannot all be sent")
      (def giving (ev/go (fn [] (protect (forever (ev/give go true))))))
      (t/same [200 (string size)] (h/brief (:receive c)))
      (ev/cancel giving "enough"))))

# Threads.

(t/test "several threads may serve at once"
  (def before (t/descriptors))
  (def ports (ev/thread-chan 10))
  (def ended (ev/chan 10))
  (defn thread-main [ports]
    (def box @[])
    (def server
      (http/server
        (http/router {"/" (fn [_] {:body "hello from a thread"})
                      "/echo" (fn [req] {:body (http/read-body req)})
                      "/stop" (fn [_]
                                (ev/go (fn [] (kqnet/drain (first box))))
                                {:body "stopped"})})
        "127.0.0.1" 0))
    (array/push box server)
    (ev/give ports (last (net/localname server))))
  (repeat 3
    (ev/go (fn [] (ev/give ended (protect (ev/thread (fn [] (thread-main ports))))))))
  (def all (seq [_ :range [0 3]] (ev/take ports)))
  (with [own (serve hello)]
    (def results
      (t/together 60
        (fn [i]
          (with [c (h/client (all (% i 3)))]
            [(h/brief (:ask c "GET" "/")) (h/brief (:ask c "POST" "/echo" [] (string i)))]))))
    (for i 0 60
      (t/same [[200 "hello from a thread"] [200 (string i)]] (results i)))
    (each port all (t/same [200 "stopped"] (h/brief (h/fetch port "GET" "/stop"))))
    (repeat 3 (t/same true (first (ev/take ended))))
    (t/same [200 "hello"] (h/brief (h/fetch own "GET" "/"))))
  (t/wait-until "as few descriptors as before"
                |(do (gccollect) (<= (t/descriptors) before))))

(t/finish)
