###
### Handlers that are cancelled because their client is gone.
###

(import ./support :as t)
(import ./support/http :as h)
(t/need-spork)
(import kqnet)
(import kqnet/http)

(def- host "127.0.0.1")

(def- kqueue?
  "Whether the system tells less about a peer than Linux does."
  (= :kqueue (kqnet/backend)))

(defn- all-ended
  [server]
  (t/wait-until "the end of all connections" |(zero? ((kqnet/stats server) :active))))

(defn- recorder
  ``Makes a handler that answers /hello at once, and otherwise waits for `gate` as `wait` does, and a table of what it saw: :entered,
  :errors, :ended (how often `defer` ran) and :answered.``
  [&opt wait]
  (def seen @{:entered 0 :ended 0 :answered 0 :errors @[] :gate (ev/chan)})
  (default wait (fn [req] (ev/take (seen :gate)) {:body "answered"}))
  [(fn [req]
     (if (= "/hello" (req :path))
       {:body "hello"}
       (do
         (update seen :entered inc)
         (defer (update seen :ended inc)
           (try
             (let [response (wait req)]
               (update seen :answered inc)
               response)
             ([err fib]
               (array/push (seen :errors) err)
               (propagate err fib)))))))
   seen])

(defn- vanish
  "Sends a request whose answer is left unread, and then another one, so that closing resets the connection."
  [server text]
  (def conn (t/send server (h/request "GET" "/hello")))
  # The answer has come when there is something to read.
  (:read conn 1)
  (:write conn text)
  conn)

(defn- cancelled
  "Checks that the handler's wait was cancelled once, with its own error, and that it cleaned up."
  [seen]
  (t/wait-until "the end of the handler" |(= 1 (seen :ended)))
  (t/same [1 1 0] [(seen :entered) (length (seen :errors)) (seen :answered)])
  (t/check (http/gone-error? (first (seen :errors))) (string/format "its error, not %q" (seen :errors))))

(defn- kinds
  "The ways to ask for it: functions of a handler and the server's other options, each of which starts a server."
  [or-ended]
  {"the server's option" (fn [handler & more]
                           (http/server handler host 0 :cancel-when-gone (if or-ended :or-ended true) ;more))
   "middleware" (fn [handler & more]
                  (http/server (http/cancel-when-gone handler :or-ended or-ended) host 0 ;more))})

(eachp [name start] (kinds false)
  (t/test (string "with " name ", a reset cancels the handler's wait, and is reported as 499 in the log and nowhere else")
    (def traces @"")
    (def told @[])
    (def lines @[])
    (def [handler seen] (recorder))
    (defn on-error [_ err _] (array/push told err) nil)
    (def logged (http/logger handler :format (fn [{:path path :status status}] (string path " " status))
                             :out (fn [line] (array/push lines (string/trimr line)))))
    (with [server (with-dyns [:err traces] (start logged :on-error on-error))]
      (def conn (vanish server (h/request "GET" "/wait")))
      (t/wait-until "the handler" |(= 1 (seen :entered)))
      (:close conn)
      (cancelled seen)
      (all-ended server)
      (t/same ["/hello 200" "/wait 499"] lines)
      (with [other (http/server (http/metrics (fn [_] "")) host 0)]
        (def page ((h/fetch other "GET" "/metrics") :body))
        (t/check (string/find (string `http_requests_total{listener="127.0.0.1:` (t/port server) `",method="GET",status="none"} 1`) page)
                 page)))
    (t/same "" (string traces))
    (t/same [] told))

  (t/test (string "with " name ", a client that has only ended its side is answered")
    (def [handler seen] (recorder))
    (with [server (start handler)]
      (with [conn (t/send server (h/request "GET" "/wait"))]
        (net/shutdown conn :w)
        (t/wait-until "the handler" |(= 1 (seen :entered)))
        (repeat 10 (ev/sleep 0.001))
        (ev/give (seen :gate) true)
        (t/check (string/has-suffix? "answered" (t/receive conn)) "an answer"))
      (t/same [] (seen :errors)))))

(eachp [name start] (kinds true)
  (t/test (string "with " name " and :or-ended, so does a client that closes its connection or ends its side")
    (each leave [(fn [conn] (:close conn)) (fn [conn] (net/shutdown conn :w))]
      (def [handler seen] (recorder))
      (with [server (start handler)]
        (with [conn (t/send server (h/request "GET" "/wait"))]
          (t/wait-until "the handler" |(= 1 (seen :entered)))
          (leave conn)
          (cancelled seen)
          (all-ended server)))
      # Or before the handler has begun.
      (def [handler seen] (recorder))
      (with [server (start handler)]
        (with [conn (t/connect server)]
          (:write conn (h/request "GET" "/wait"))
          (leave conn)
          (cancelled seen)
          (all-ended server))))))

(t/test "a client that closes a TCP connection looks like one that has ended its side, until the server writes"
  (def [handler seen] (recorder))
  (with [server (http/server handler host 0 :cancel-when-gone true)]
    (def conn (t/send server (h/request "GET" "/wait")))
    (t/wait-until "the handler" |(= 1 (seen :entered)))
    (:close conn)
    (repeat 10 (ev/sleep 0.001))
    (t/same [] (seen :errors))
    (ev/give (seen :gate) true)
    (all-ended server)
    (t/same 1 (seen :answered))))

(t/test "over a unix socket a client that closes is noticed, and one that ends its side is answered"
  (when kqueue? (t/skip "only Linux tells one from the other"))
  (def [handler seen] (recorder))
  (with [server (http/server handler :unix (t/scratch "app.sock") :cancel-when-gone true)]
    (with [conn (t/send server (h/request "GET" "/wait"))]
      (net/shutdown conn :w)
      (t/wait-until "the handler" |(= 1 (seen :entered)))
      (repeat 10 (ev/sleep 0.001))
      (ev/give (seen :gate) true)
      (t/check (string/has-suffix? "answered" (t/receive conn)) "an answer"))
    (merge-into seen {:entered 0 :ended 0 :answered 0})
    (def conn (t/send server (h/request "GET" "/wait")))
    (t/wait-until "the handler" |(= 1 (seen :entered)))
    (:close conn)
    (cancelled seen)
    (all-ended server)))

(t/test "gone?: tells a client on a unix socket that has closed from one that has ended its side, on Linux"
  (def results (ev/chan 1))
  (def gate (ev/chan))
  (defn handler [req]
    (ev/take gate)
    (ev/give results [(http/gone? req) (http/gone? req :or-ended true)])
    {:body "answered"})
  (each where [[host 0] [:unix (t/scratch "app.sock")]]
    (with [server (http/server handler ;where)]
      (each [expected leave]
        [[[false false] (fn [_])]
         [[false true] (fn [conn] (net/shutdown conn :w))]
         [[(and (= :unix (first where)) (not kqueue?)) true] (fn [conn] (:close conn))]]
        (def conn (t/send server (h/request "GET" "/")))
        (t/wait-until "the handler" |(= 1 ((kqnet/stats server) :active)))
        (leave conn)
        (ev/give gate true)
        (t/same expected (ev/take results) (string/format "%q" where))
        (:close conn)
        (all-ended server)))))

(t/test "the wait of a body that is being sent is cancelled too, and the log has the status that was sent"
  (def lines @[])
  (var cleaned 0)
  (def gate (ev/chan))
  (defn handler [_]
    {:body (coro (defer (++ cleaned) (yield "first") (ev/take gate)))})
  (def logged (http/logger handler :format (fn [{:status status :bytes bytes}] (string status " " bytes))
                           :out (fn [line] (array/push lines (string/trimr line)))))
  (with [server (http/server logged host 0 :cancel-when-gone true)]
    (def conn (t/send server (h/request "GET" "/")))
    # What has come is left unread, so that closing resets the connection.
    (:read conn 1)
    (t/same 0 cleaned)
    (:close conn)
    (t/wait-until "the end of the body" |(= 1 cleaned))
    (all-ended server)
    (t/same ["200 5"] lines)))

(t/test "a wait within with-deadline, a fiber or a gather is cancelled, and all of them clean up"
  (def ended @{})
  (each [name wait]
    [["deadline" (fn [gate] (ev/with-deadline 1000 (ev/take gate)))]
     ["fiber" (fn [gate] (def f (fiber/new (fn [] (defer (put ended "inner" true) (ev/take gate))) :ti)) (def v (resume f)) (if (= :error (fiber/status f)) (propagate v f)))]
     ["gather" (fn [gate] (ev/gather (ev/take gate) (defer (put ended "gathered" true) (ev/take gate))))]
     ["sleep" (fn [_] (ev/sleep 1000))]
     ["thread" (fn [gate] (ev/select gate (ev/chan)))]]
    (def [handler seen] (recorder (fn [req] (wait (ev/chan)))))
    (with [server (http/server handler host 0 :cancel-when-gone true)]
      (def conn (vanish server (h/request "GET" "/wait")))
      (t/wait-until "the handler" |(= 1 (seen :entered)))
      (repeat 3 (ev/sleep 0))
      (:close conn)
      (cancelled seen)
      (all-ended server)))
  (t/same @{"inner" true "gathered" true} ended))

(t/test "a handler may catch the error, and its answer is dropped"
  (def traces @"")
  (def [handler seen] (recorder))
  (with [server (with-dyns [:err traces]
                  (http/server (fn [req] (try (handler req) ([err] (t/check (http/gone-error? err) err) {:body "too late"})))
                               host 0 :cancel-when-gone true))]
    (def conn (vanish server (h/request "GET" "/wait")))
    (t/wait-until "the handler" |(= 1 (seen :entered)))
    (:close conn)
    (cancelled seen)
    (all-ended server))
  (t/same "" (string traces)))

(t/test "another error of a cancelled handler is reported as any other"
  (def told @[])
  (var entered false)
  (defn handler [_]
    (set entered true)
    (try (ev/sleep 1000) ([_] (error "meant"))))
  (with [server (http/server handler host 0 :cancel-when-gone :or-ended :on-error (fn [_ err _] (array/push told err) nil))]
    (with [conn (t/send server (h/request "GET" "/"))]
      (t/wait-until "the handler" |(do entered))
      (net/shutdown conn :w)
      (all-ended server)
      (t/same @["meant"] told))))

(t/test "ending and cancel-when-gone watch the same client, in either order"
  (each first? [true false]
    (def closed (ev/chan 1))
    (defn watch [req]
      (def ending (http/ending req))
      (ev/go (fn [] (ev/take ending) (ev/give closed true))))
    (def [handler seen] (recorder (fn [req] (when first? (watch req)) (ev/sleep 1000))))
    (def inner (http/cancel-when-gone handler))
    (with [server (http/server (fn [req] (unless (or first? (= "/hello" (req :path))) (watch req)) (inner req)) host 0)]
      (def conn (vanish server (h/request "GET" "/wait")))
      (t/wait-until "the handler" |(= 1 (seen :entered)))
      (repeat 3 (ev/sleep 0))
      (:close conn)
      (t/same true (ev/take closed))
      (cancelled seen)
      (all-ended server))))

(t/test "a client that leaves while the server drains is noticed"
  (def [handler seen] (recorder))
  (def server (http/server handler host 0 :cancel-when-gone true))
  (def conn (vanish server (h/request "GET" "/wait")))
  (t/wait-until "the handler" |(= 1 (seen :entered)))
  (def drained (t/background |(kqnet/drain server)))
  (repeat 3 (ev/sleep 0))
  (:close conn)
  (cancelled seen)
  (t/same [true 0] (ev/take drained)))

(t/test "kept and pipelined requests are answered, and no task is left"
  (def before (t/tasks))
  (with [server (http/server (fn [req] (when (= "/wait" (req :path)) (ev/sleep 0)) {:body (req :path)}) host 0 :cancel-when-gone :or-ended)]
    (with [c (h/client server)]
      (each path ["/" "/wait" "/" "/wait"]
        (t/same path ((:ask c "GET" path) :body)))
      (:write (c :conn) (string (h/request "GET" "/wait") (h/request "GET" "/a") (h/request "GET" "/wait")))
      (t/same ["/wait" "/a" "/wait"] (seq [_ :range [0 3]] ((:receive c "GET") :body))))
    (all-ended server))
  (t/wait-until "no more tasks than before" |(<= (t/tasks) before)))

(t/test "a request that is over is not cancelled any more, whatever its task does then"
  (var result nil)
  (def gate (ev/chan))
  (with [server (http/server (fn [req]
                               {:status 101 :headers {"Upgrade" "x"}
                                :detached (fn [conn _] (set result (protect (ev/take gate))))})
                             host 0 :cancel-when-gone :or-ended)]
    (with [conn (t/send server (h/request "GET" "/" ["Upgrade: x"]))]
      (:read conn 1)
      (net/shutdown conn :w)
      (repeat 10 (ev/sleep 0.001))
      (t/same nil result)
      (ev/give gate "given"))
    (all-ended server)
    (t/same [true "given"] result)))

(t/test "wrong arguments are refused"
  (t/check (string/find "the handler is nil" (t/raised |(http/cancel-when-gone nil))) "nil")
  (t/same "kqnet/http/cancel-when-gone: :or-ended must be true or false, got 5" (t/raised |(http/cancel-when-gone "" :or-ended 5)))
  (t/same false (http/gone-error? "the client is gone"))
  (t/same false (http/gone-error? nil)))

(t/finish)
