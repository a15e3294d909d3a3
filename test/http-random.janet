###
### Clients that send random requests, cut at random places and with random pauses.
###
### Each request is answered, each connection ends with its client, although nothing times out, and an idle connection keeps nothing of
### its requests.
###

(import ./support :as t)
(import ./support/http :as h)
(t/need-spork)
(import kqnet)
(import kqnet/http)

(def- seed (% (math/floor (* 1000 (os/clock :realtime))) 1000000))

(def- rng (math/rng seed))

(defn- below [n] (math/rng-int rng n))

(defn- pick [all] (in all (below (length all))))

(defn- elsewhere
  "Reads the body in another task, and returns it after some turns of the loop."
  [req]
  (def body (ev/chan))
  (ev/go (fn []
           (def all (http/read-body req))
           (repeat (below 3) (ev/sleep 0))
           (ev/give body all)))
  (ev/take body))

(def- handler
  (http/router
    {"/quick" {:body "quick"}
     "/turn" (fn [_] (ev/sleep 0) {:body "turn"})
     "/slow" (fn [_] (ev/sleep 0.15) {:body "slow"})
     "/large" {:body (string/repeat "x" 300000)}
     "/pieces" (fn [_] {:body (coro (yield "a") (ev/sleep 0) (yield "b"))})
     "/ending" (fn [req] (http/ending req) (ev/sleep 0) {:body "ending"})
     "/gone?" (fn [req] {:body (string (http/gone? req))})
     "/read" (fn [req] {:body (http/read-body req)})
     "/elsewhere" (fn [req] {:body (elsewhere req)})
     "/chunks" (fn [req] {:body (string ;(seq [piece :in (http/body-chunks req)] piece))})}))

(def- without-body ["/quick" "/quick" "/quick" "/turn" "/slow" "/large" "/pieces" "/ending" "/gone?"])

(defn- random-request
  []
  (if (zero? (below 2))
    (h/request (pick ["GET" "GET" "GET" "HEAD"]) (pick without-body))
    (let [path (pick ["/read" "/elsewhere" "/chunks"])
          body (string/repeat "y" (pick [1 100 5000 70000]))]
      (if (zero? (below 2))
        (h/request "POST" path (pick [[] ["Expect: 100-continue"]]) body)
        (string (h/request "POST" path ["Transfer-Encoding: chunked"])
                (string/format "%x\r\n" (length body)) body "\r\n0\r\n\r\n")))))

(defn- cuts
  "Where to cut these requests: at some of their ends, and at random places."
  [requests]
  (var end 0)
  (def ends (filter (fn [_] (zero? (below 2))) (map |(+= end (length $)) requests)))
  (sorted [;ends ;(seq [_ :range [0 (below 4)]] (below end)) end]))

(defn- answers
  "How many responses these bytes have, apart from those of status 100."
  [bytes]
  (- (length (string/find-all "HTTP/1.1 " bytes)) (length (string/find-all "HTTP/1.1 100 " bytes))))

(defn- talk
  "Sends random requests. Returns what was wrong, or nil."
  [conn ends-early]
  (def requests (seq [_ :range [0 (+ 1 (below 4))]] (random-request)))
  (def got @"")
  (def end (ev/go (fn [] (while (:read conn 65536 got)))))
  (def bytes (string ;requests))
  (var from 0)
  (each to (cuts requests)
    (:write conn (string/slice bytes from to))
    (set from to)
    (case (below 4)
      0 (ev/sleep 0)
      1 (ev/sleep (pick [0.003 0.05 0.13]))))
  (def wanted (length requests))
  (def what (string/format "answers to %q" (map |(string/slice $ 0 (string/find "\r\n\r\n" $)) requests)))
  (unless ends-early (t/wait-until what |(= wanted (answers got))))
  (net/shutdown conn :w)
  (t/wait-until (string "the end after " what) |(= :dead (fiber/status end)))
  (t/same wanted (answers got) what))

(def- path (t/scratch "http-random.sock"))

(each [where options] [["TCP" []] ["TCP, with :cancel-when-gone" [:cancel-when-gone true]] ["a unix socket" []]]
  (t/test (string "each request is answered and each connection ends, on " where)
    (with [server (http/server handler ;(if (= where "a unix socket") [:unix path] ["127.0.0.1" 0])
                               :idle-timeout math/inf :head-timeout math/inf :body-timeout math/inf ;options)]
      (printf "      the seed is %d" seed)
      # A handler is not cancelled while its client waits for the response, but is if the client has ended its side.
      (def may-end-early (empty? options))
      (repeat 6
        # Janet takes a collection for the end of a connect, so the garbage is collected before.
        (gccollect)
        (def conns (seq [_ :range [0 10]] (t/connect server)))
        (t/together 10 (fn [i]
                         (talk (conns i) (and may-end-early (zero? (below 2))))
                         (:close (conns i)))))
      (t/wait-until "the ends of all connections" |(zero? ((kqnet/stats server) :active))))))

(t/test "an idle connection keeps nothing of its requests, its responses and what its handlers have made"
  (def kept (table/weak-keys 16))
  (defn watch [name x] (put kept x name) x)
  (defn handler [req]
    (watch :request req)
    (watch :headers (req :headers))
    (setdyn :made (watch :made @{}))
    (watch :response
           @{:body (watch :body
                          (case (req :path)
                            "/turn" (do (ev/sleep 0) @"turn")
                            "/read" (http/read-body req)
                            "/elsewhere" (elsewhere req)
                            "/pieces" @[(watch :piece @"a") (watch :piece @"b")]
                            "/fiber" (coro (yield (watch :piece @"a")))
                            "/ending" (do (http/ending req) @"ending")
                            @"quick"))}))
  (each around [identity |(http/logger $ :out (fn [_]))]
    (with [server (http/server (around handler) "127.0.0.1" 0)]
      (with [c (h/client server)]
        (each [method path & body] [["GET" "/quick"] ["GET" "/turn"] ["POST" "/read" [] "hello"] ["GET" "/pieces"]
                                    ["POST" "/elsewhere" [] "hello"] ["GET" "/fiber"] ["GET" "/ending"] ["HEAD" "/fiber"]]
          (t/same 200 ((:ask c method path ;body) :status))
          (t/settles 0 |(length kept) (string "what is left of " path)))))))

(t/remove path)
(t/finish)
