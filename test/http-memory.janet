###
### How much memory connections of kqnet/http take while they wait.
###

(import ./support :as t)
(import ./support/http :as h)

# Each end of a connection takes a descriptor in its process. This process is started again with as
# many descriptors as it may have.
(unless (os/getenv "KQNET_TEST_MORE")
  (def status
    (os/execute ["sh" "-c" `ulimit -n "$(ulimit -H -n)" 2>/dev/null; exec "$0" "$@"` (dyn *executable*) ;(dyn *args*)]
                :pe (merge (os/environ) {"KQNET_TEST_MORE" "1"})))
  (os/exit status))

# Not in the process that only starts the other one.
(t/need-spork)

(def- wanted (if (os/getenv "KQNET_TEST_QUICK") 2000 10000))

(def- most
  "How many connections there can be, with some descriptors left for other things."
  (min wanted (- (t/descriptor-limit) 200)))

(def- kibibyte 1024)

(def- no-measure
  "Why memory cannot be measured here, or nil."
  (cond
    (string/has-suffix? "-asan" (os/getenv "KQNET_HOST" "")) "a sanitizer changes memory"
    (nil? (os/stat "/proc/self/statm")) "the memory of another process is not known here"))

(defn- start-server
  "A server in its own process."
  []
  (t/start-forms
    '[(import kqnet)
      (import kqnet/http)
      (var server nil)
      (def page (string/repeat "x" 100000))
      (set server
           (http/server
             (http/router {"/" (fn [_] {:body "hello"})
                           "/page" (fn [_] {:body page})
                           "/stream" (fn [_] {:body (coro (yield page) (yield "end"))})
                           "/echo" (fn [req] {:body (http/read-body req)})
                           "/pieces" (fn [req]
                                       (var size 0)
                                       (each piece (http/body-chunks req) (+= size (length piece)))
                                       {:body (string size)})
                           "/active" (fn [_] {:body (string ((kqnet/stats server) :active))})})
             "127.0.0.1" 0 :head-timeout 1000 :idle-timeout 1000))
      (print (last (net/localname server)))
      (flush)]))

(defn- wait-for
  "Waits until the server has this many connections, and has read what they sent."
  [port count]
  (t/wait-until "the connections"
                |(= (string (inc count)) ((h/fetch port "GET" "/active") :body))))

(def- at-a-time
  "How many connections are opened at once, since the backlog is limited."
  50)

(defn- measure
  ``Makes connections, and calls `act` with each. Returns how many bytes each connection takes, and how
  many the server's process takes in all.``
  [count act]
  (with [server (start-server)]
    (def port (:port server))
    (defn open [count]
      (t/together count (fn [_]
                          (def conn (t/connect port))
                          (act conn)
                          conn)))
    # This first part covers what is allocated once, and what that many connections need while they are served.
    (repeat 3 (each conn (open at-a-time) (:close conn)))
    (wait-for port 0)
    (def before (t/resident server))
    (def conns (array/new count))
    (while (< (length conns) count)
      (array/concat conns (open (min at-a-time (- count (length conns))))))
    (wait-for port count)
    (def after (t/resident server))
    (each conn conns (:close conn))
    (t/same "" (string (server :err)))
    [(math/ceil (/ (- after before) count)) after]))

(defn- report
  [count [each-one all]]
  (printf "      %d connections: %d bytes each, the process %d KiB" count each-one (div all kibibyte))
  (when (< most wanted)
    (printf "      fewer than %d: there are only %d descriptors" wanted (t/descriptor-limit))))

(defn- ask
  "Sends a request and reads its answer, which must end with this text."
  [conn request end]
  (:write conn request)
  (def got @"")
  (while (not (string/has-suffix? end got))
    (t/check (:read conn 65536 got) "an answer")))

(t/test "an idle connection costs at most 8 KiB, and 10,000 of them at most 100 MiB in all"
  (when no-measure (t/skip no-measure))
  (def request (h/request "GET" "/" ["User-Agent: some client/1.0" "Accept: */*"]))
  (def [each-one all] (measure most |(ask $ request "\r\n\r\nhello")))
  (report most [each-one all])
  (t/check (<= each-one (* 8 kibibyte)) (string "at most 8 KiB, not " each-one))
  (t/check (< all (* 100 1024 kibibyte)) (string "less than 100 MiB, not " all)))

(t/test "a connection that has sent nothing costs at most 8 KiB"
  (when no-measure (t/skip no-measure))
  (def count (min most 2000))
  (def [each-one all] (measure count (fn [conn])))
  (report count [each-one all])
  (t/check (<= each-one (* 8 kibibyte)) (string "at most 8 KiB, not " each-one)))

(t/test "a connection that has sent half a head costs at most 10 KiB"
  (when no-measure (t/skip no-measure))
  (def request (h/request "GET" "/" ["User-Agent: some client/1.0" "Accept: */*"
                                     (string "Cookie: session=" (string/repeat "x" 200))]))
  (def half (string/slice request 0 (div (length request) 2)))
  (def count (min most 5000))
  (def [each-one all] (measure count |(:write $ half)))
  (report count [each-one all])
  (t/check (<= each-one (* 10 kibibyte)) (string "at most 10 KiB, not " each-one)))

(def- garbage
  "How many bytes of the bodies of requests may wait for a collection (src/http/request_body.rs)."
  (* 16 1024 kibibyte))

(t/test "an idle connection does not keep the memory that large bodies needed"
  (when no-measure (t/skip no-measure))
  (def count (min most 1000))
  (def body (string/repeat "x" 100000))
  (each [what request end garbage]
    [["a response" (h/request "GET" "/page") body 0]
     ["a streamed response" (h/request "GET" "/stream") "end\r\n0\r\n\r\n" 0]
     ["a request" (h/request "POST" "/echo" [] (string body "end")) "xend" garbage]
     ["a request in pieces" (h/request "POST" "/pieces" [] body) "\r\n\r\n100000" 0]
     ["a large head" (h/request "GET" "/" [(string "Cookie: " (string/repeat "x" 15000))]) "hello" 0]]
    (def [each-one all] (measure count |(ask $ request end)))
    (print "      " what ":")
    (report count [each-one all])
    # The C library may keep some of what was freed.
    (def allowed (+ 16 (div garbage count kibibyte)))
    (t/check (<= each-one (* allowed kibibyte)) (string "at most " allowed " KiB after " what ", not " each-one))))

(t/finish)
