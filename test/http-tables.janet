###
### Tables of requests that are over are used again only when nothing refers to them any more.
###
### Collections are made to be frequent here, and programs keep, change and drop what belongs to a request in every way.
###

(import ./support :as t)
(import ./support/http :as h)
(t/need-spork)
(import kqnet/http)
(import kqnet/_native :as native)

(def- header-sets
  [[] ["Accept: */*"] ["Accept: */*" "User-Agent: x"] ["X-Own: 1" "Accept: a" "Accept: b"]
   ["Cookie: a=1" "Accept: */*" "Referer: /" "Accept-Language: de" "Accept-Encoding: gzip"]])

(defn- headers-of
  "The headers of request `n` as lines, with a secret of its own."
  [n]
  [;(in header-sets (% n (length header-sets))) (string "Authorization: " n)])

(defn- path-of
  "The path of request `n`, with a query in every third one."
  [n]
  (string "/" n (if (zero? (% n 3)) (string "?n=" n) "")))

(defn- ask-many
  "Sends requests `from` to `to` in one write, and returns the bodies of the answers."
  [c from to]
  (:write (c :conn) (string ;(seq [n :range [from to]] (h/request "GET" (path-of n) (headers-of n)))))
  (seq [_ :range [from to]] ((:receive c "GET") :body)))

(defn- with-collections-each
  "Calls `f` while Janet collects after every `bytes` of allocation."
  [bytes f]
  (def before (gcinterval))
  (gcsetinterval bytes)
  (defer (gcsetinterval before) (f)))

(defn- header-count
  "How many different headers request `n` has, with Host and Authorization."
  [n]
  (+ 2 (length (distinct (map |(first (string/split ":" $)) (in header-sets (% n (length header-sets))))))))

(defn- check-request
  "Checks that request `n`, which is over, has what was sent."
  [req n]
  (t/same (string "/" n) (req :route))
  (t/same (path-of n) (req :path))
  (t/same (string n) (get-in req [:headers "authorization"]))
  (t/same (header-count n) (length (req :headers)))
  (t/same (if (zero? (% n 3)) (string n)) (get-in req [:query "n"]))
  (t/same (if (zero? (% n 3)) 9 7) (length req) "keys without :buffer"))

(t/test "what a program keeps of a request stays as it is while later requests are served"
  (def kept @{})
  (def weak (table/weak-values 10))
  (defn handler [req]
    (def n (scan-number (string/slice (req :route) 1)))
    (case (% n 7)
      0 (put kept n {:req req})
      1 (put kept n {:fn (fn [] req)})
      2 (put kept n {:headers (req :headers)})
      3 (put kept n {:over (table/setproto @{} req)})
      4 (put weak n req)
      5 (put kept n {:fiber (coro (yield nil) req)})
      nil)
    {:body (req :route)})
  (with-collections-each 20000
    (fn []
      (with [server (http/server handler "127.0.0.1" 0)]
        (with [c (h/client server)]
          (for round 0 40
            (def from (* round 100))
            (t/same (seq [n :range [from (+ from 100)]] (string "/" n)) (ask-many c from (+ from 100)))
            (when (= round 20) (gccollect))))
        (each n (keys kept)
          (def {:req req :fn f :headers headers :over over :fiber fiber} (kept n))
          (when req (check-request req n))
          (when f (check-request (f) n))
          (when headers (t/same (string n) (headers "authorization")))
          (when over (t/same (path-of n) (over :path)))
          (when fiber
            (resume fiber)
            (check-request (resume fiber) n)))
        (eachp [n req] weak (check-request req n))))))

(t/test "a request gets tables of its own, whatever earlier ones were changed to"
  (def seen @[])
  (defn handler [req]
    (def n (scan-number (string/slice (req :route) 1)))
    (array/push seen [(length req) (length (req :headers)) (length (curenv)) (get req :added) (dyn :mine)])
    (setdyn :mine n)
    (case (% n 6)
      0 (for i 0 (% n 50) (put req [:added i] i) (put (req :headers) i i) (setdyn (keyword "k" i) i))
      1 (do (table/clear (req :headers)) (table/clear req))
      2 (do (table/setproto req @{:added "by the prototype"}) (table/setproto (req :headers) req))
      3 (each key (keys req) (put req key nil))
      4 (do (put req :added (req :headers)) (put (req :headers) "x" req)))
    {:body "ok"})
  (with-collections-each 20000
    (fn []
      (with [server (http/server handler "127.0.0.1" 0)]
        (with [c (h/client server)]
          (for round 0 20 (ask-many c (* round 60) (* (inc round) 60)))))))
  (t/same 1200 (length seen))
  (for n 0 1200
    (t/same [(if (zero? (% n 3)) 10 8) (header-count n) 0 nil nil] (in seen n) (string "request " n))))

(t/test "a task that outlives its request keeps the environment and the request"
  (def answers (ev/chan 1000))
  (def go-on (ev/chan))
  (defn handler [req]
    (def n (scan-number (string/slice (req :route) 1)))
    (setdyn :mine n)
    (when (zero? (% n 10))
      (ev/go (fn []
               (ev/take go-on)
               (ev/give answers [n (dyn :mine) (req :route) (get-in req [:headers "authorization"])]))))
    {:body "ok"})
  (with-collections-each 20000
    (fn []
      (with [server (http/server handler "127.0.0.1" 0)]
        (with [c (h/client server)]
          (for round 0 20 (ask-many c (* round 100) (* (inc round) 100)))
          (gccollect)
          (repeat 200 (ev/give go-on true))
          (repeat 200
            (def [n mine route secret] (ev/take answers))
            (t/same [n (string "/" n) (string n)] [mine route secret])))))))

(t/test "dead tables are kept for later requests, and let go when there are none"
  (defn handler [req] {:body "ok"})
  (defn ask-200 [c]
    (:write (c :conn) (string/repeat (h/request "GET" "/") 200))
    (repeat 200 (:receive c "GET")))
  (defn serve-requests []
    (with [server (http/server handler "127.0.0.1" 0)]
      (with [c (h/client server)]
        (gccollect)
        (gccollect)
        (t/same 0 (native/http-spare-tables) "nothing was served")
        (repeat 10 (ask-200 c))
        (gccollect)
        (def spare (native/http-spare-tables))
        # The newest ones are freed by the collector.
        (t/check (<= 5000 spare 6000) (string "most of 6000 tables, not " spare))
        (repeat 2 (ask-200 c))
        (t/same (- spare 1200) (native/http-spare-tables) "1200 are in use again")
        (gccollect)
        (t/check (<= 600 (native/http-spare-tables) 1200) "as many as were needed last")
        (gccollect)
        (t/same 0 (native/http-spare-tables) "nothing was served meanwhile"))))
  (with-collections-each math/int32-max serve-requests))

(t/finish)
