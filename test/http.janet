###
### kqnet/http takes the place of spork/http: it has all its names, with the same arguments and handlers.
###

(import ./support :as t)

(print "on " (t/need-spork))

(def- spork (require "spork/http"))
(def- ours (require "kqnet/http"))

(defn- function-of [env name] (get-in env [name :value]))

(def- server (function-of ours 'server))

(defn- public-names
  [env]
  (sort (seq [[name entry] :pairs env :when (symbol? name) :unless (entry :private)] name)))

(defn- ask
  "Sends one request on a new connection. Returns status and body."
  [listener path &opt headers]
  (def response
    (with [conn (t/connect listener)]
      (:write conn (string "GET " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" (or headers "") "\r\n"))
      (t/receive conn)))
  (def [head body] (string/split "\r\n\r\n" response 0 2))
  [(scan-number (string/slice head 9 12)) body])

(t/test "every public name of spork/http exists in kqnet/http"
  (def names (tabseq [name :in (public-names ours)] name true))
  (t/same [] (filter |(not (names $)) (public-names spork))))

(t/test "what kqnet does not replace is spork's own"
  (each name ['cookies 'send-response 'read-request 'read-response 'request
              'status-messages 'request-peg 'server-handler]
    (t/check (= (function-of spork name) (function-of ours name)) (string name " unchanged"))))

(t/test "every public function has a docstring"
  (t/same [] (filter |(not (get-in ours [$ :doc])) (public-names ours))))

(t/test "handlers, routers and cookies of spork/http work"
  (def {'router {:value router} 'cookies {:value cookies}} spork)
  (def routes
    {"/" (fn [req] {:status 201 :body (get-in req [:query "name"] "nobody")})
     "/cookie" (cookies (fn [req] {:body (get-in req [:cookies "a"])}))
     "/text" "plain"
     "/gone" 410
     :default {:status 404 :body "nothing here"}})
  (with [listener (server (router routes) "127.0.0.1" 0)]
    (t/same [201 "Jane Doe"] (ask listener "/?name=Jane+Doe"))
    (t/same [200 "1"] (ask listener "/cookie" "Cookie: a=1; b=2\r\n"))
    (t/same [200 "plain"] (ask listener "/text"))
    (t/same 410 (first (ask listener "/gone")))
    (t/same [404 "nothing here"] (ask listener "/else"))))

(t/test "spork's logger and kqnet's print a line for each request"
  (each logger [(function-of spork 'logger) (function-of ours 'logger)]
    (def file (file/temp))
    (def handler (with-dyns [:out file] (logger (fn [req] {:status 201 :body "x"}))))
    (with [listener (server handler "127.0.0.1" 0)]
      (t/same [201 "x"] (ask listener "/logged?a=b")))
    (file/seek file :set 0)
    (def line (string (file/read file :all)))
    (file/close file)
    (t/check (peg/match '(* "GET 201 /logged?a=b elapsed " (some (+ :d ".")) "ms\n" -1) line) line)))

(t/test "each of many requests at once is answered"
  (with [listener (server (fn [req] {:body (req :route)}) "127.0.0.1" 0)]
    (t/same (seq [i :range [0 200]] [200 (string "/" i)])
            (t/together 200 |(ask listener (string "/" $))))))

(t/test "without a host, the server listens on all IPv4 addresses of this machine"
  (with [listener (server "hello" nil 0)]
    (t/same "0.0.0.0" (first (net/localname listener)))))

(t/test "spork's client and kqnet's server understand each other"
  (def request (function-of spork 'request))
  (def read-body (function-of ours 'read-body))
  (with [listener (server (fn [req] {:body (string/ascii-upper (or (read-body req) "none"))}) "127.0.0.1" 0)]
    (def url (string "http://127.0.0.1:" (t/port listener) "/"))
    (t/same "ABC" (string ((request "POST" url :body "abc") :body)))
    (t/same "NONE" (string ((request "GET" url) :body)))))

(t/test "closing the listener stops the server"
  (def listener (server "hello" "127.0.0.1" 0))
  (def port (t/port listener))
  (t/same [200 "hello"] (ask listener "/"))
  (:close listener)
  (t/check (string? (t/raised |(t/connect port))) "a refused connection"))

(t/test "the error for a taken address names it"
  (with [listener (server "hello" "127.0.0.1" 0)]
    (t/raises (string "cannot listen on 127.0.0.1:" (t/port listener) ": address already in use")
              (server "hello" "127.0.0.1" (t/port listener)))))

(t/finish)
