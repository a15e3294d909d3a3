###
### Programs that were written for net/ and spork/http run on kqnet, unmodified: janet -l kqnet/install.
###

(import ./support :as t)

(print "on " (t/need-spork))

(defn- scratch-program
  "Writes a program to a file, calls a function with its path, and removes it."
  [forms f]
  (def path (t/scratch "app.janet"))
  (spit path (t/source forms))
  (defer (os/rm path) (f path)))

(def- net-program
  '[(def listener (net/server "127.0.0.1" 0 (fn [conn] (defer (:close conn) (:write conn (:read conn 10))))))
    (print (last (net/localname listener)))
    (flush)
    # In core, a second server may share the port.
    (print (if (first (protect (net/server "127.0.0.1" (last (net/localname listener)) (fn [conn]))))
             "shared" "taken"))
    (flush)
    (def other (net/listen "127.0.0.1" 0))
    (ev/spawn (:close other))
    # Core returns nil.
    (print (if (= other (net/accept-loop other (fn [conn]))) "listener" "nothing"))
    (flush)])

(def- http-program
  '[(import spork/http)
    (def listener (http/server (fn [req] {:status 200 :body (req :path)}) "127.0.0.1" 0))
    (print (last (net/localname listener)))
    (flush)
    (print (if (first (protect (http/server "x" "127.0.0.1" (last (net/localname listener)))))
             "shared" "taken"))
    (flush)])

(t/test "a program on net/ runs on kqnet"
  (scratch-program net-program
    (fn [path]
      (with [process (t/start-janet "-l" "kqnet/install" path)]
        (t/same "hello" (with [conn (t/send (:port process) "hello")] (t/receive conn)))
        (t/same "taken" (:line process))
        (t/same "listener" (:line process))
        (t/same "" (string (process :err)))))))

(t/test "the same program without kqnet/install runs on core"
  (scratch-program net-program
    (fn [path]
      (with [process (t/start-janet path)]
        (:port process)
        (t/same "shared" (:line process))
        (t/same "nothing" (:line process))))))

(t/test "a program on spork/http runs on kqnet"
  (scratch-program http-program
    (fn [path]
      (with [process (t/start-janet "-l" "kqnet/install" path)]
        (def port (:port process))
        (t/check (string/has-suffix? "/a?b"
                                     (with [conn (t/send port "GET /a?b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")]
                                       (t/receive conn)))
                 "the body")
        (t/same "taken" (:line process))))))

(t/test "kqnet/install says so when it is loaded after a module that may have kept core's functions"
  (def [status _ err] (t/run-forms '[(import spork/http) (import kqnet/install)]))
  (t/same 0 status)
  (t/check (string/find "kqnet/install: loaded too late: " err) "a warning")
  (t/check (string/find "janet -l kqnet/install PROGRAM" err) "what to do"))

(t/test "kqnet/install names a function that was compiled before it with core's functions"
  (each uses ['(defn serve [] (net/server "127.0.0.1" 0 print))
              '(defn- serve [] (fn [] (let [l (net/listen "127.0.0.1" 0)] (net/accept-loop l print))))
              '(var serve (fn [l] (net/accept l)))]
    (scratch-program ~[(defn harmless [] (net/connect "127.0.0.1" 1)) ,uses (import kqnet/install)]
      (fn [path]
        (with [process (t/start-janet path)]
          (t/same 0 (:wait process))
          (t/wait-until "the end of its errors" |(process :err-ended))
          (t/check (string/find "the function serve was compiled before" (process :err)) (string (process :err))))))))

(t/test "kqnet/install says nothing when a program imports it first"
  (scratch-program '[(defn harmless [] (net/connect "127.0.0.1" 1))
                     (import kqnet/install)
                     (defn serve [] (net/server "127.0.0.1" 0 print))]
    (fn [path]
      (with [process (t/start-janet path)]
        (t/same 0 (:wait process))
        (t/wait-until "the end of its errors" |(process :err-ended))
        (t/same "" (string (process :err)))))))

(t/test "kqnet/install says nothing when it is loaded first"
  (def [status out err] (t/run-forms '[(import kqnet/install) (import spork/http)]))
  (t/same [0 "" ""] [status out err]))

(t/finish)
