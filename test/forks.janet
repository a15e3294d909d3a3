###
### Programs that fork: what the child does has no effect on the parent, and the child can serve, too.
###

(import ./support :as t)
(import kqnet)

(def- setup
  "Forms of a server that says which process answered, and does what a client asks for."
  '[(var who "parent")
    (def actions @{})
    (defn say [text] (print text) (flush))
    (defn ask [port text]
      (with [conn (net/connect "127.0.0.1" port)]
        (:write conn text)
        (string (:read conn 100))))
    (defn handle [conn]
      (def text (string (:read conn 100)))
      (when-let [action (actions text)] (action conn))
      (:write conn (string who " " text))
      (:close conn))
    (defn child
      "Runs a function in a forked process, which then ends. Returns the process."
      [f]
      (or (os/posix-fork)
          (do
            (set who "child")
            (def [ok err] (protect (f)))
            (unless ok (eprint "child: " err))
            (os/exit (if ok 0 1)))))
    (def l (kqnet/server "127.0.0.1" 0 handle))
    (def port (last (net/localname l)))
    (put actions "end" (fn [_] (ev/spawn (ev/sleep 0) (os/exit 0))))])

(defn- serving
  "Starts a program that serves, given as more forms. Calls a function with its port and the program."
  [forms f]
  (with [program (t/start-forms ['(import kqnet) ;setup ;forms '(say port)])]
    (def port (:port program))
    (f port program)
    (t/same (map |(string "parent " $) (range 30)) (t/together 30 |(t/ask port (string $))))
    (t/same "parent end" (t/ask port "end"))
    (t/same 0 (:wait program) (string (program :err)))
    (t/wait-until "the end of its errors" |(program :err-ended))
    # A leak sanitizer reports for a forked process that it may see too much.
    (t/same [] (filter |(not (or (empty? $) (string/find "was not suspended" $)))
                       (string/split "\n" (program :err))))))

(def- kqueue? (= :kqueue (kqnet/backend)))

(defn- needs-loop
  []
  (when (= :poll (t/event-loop))
    (t/skip "on poll(2), the copies of the parent's fibers in the child take what is meant for the parent; this is so with core, too"))
  (when kqueue? (t/skip "Janet's own loop does not survive a fork here")))

(t/test "a child may end at once"
  (serving '[(put actions "fork" (fn [_] (os/proc-wait (child (fn [])))))]
    (fn [port _]
      (repeat 3 (t/same "parent fork" (t/ask port "fork"))))))

(each [way form] [["its method" '(:close l)] ["ev/close" '(ev/close l)] ["a drain" '(kqnet/drain l 0)]
                  ["the collector" '(do (set who nil) (gccollect))]]
  (t/test (string "a child may close its copy of the listener by " way)
    (serving ~[(put actions "fork" (fn [_] (os/proc-wait (child (fn [] ,form)))))]
      (fn [port _]
        (repeat 3 (t/same "parent fork" (t/ask port "fork")))))))

(t/test "a unix socket's file outlives a child, however the child closes it"
  (each form ['(do) '(:close u) '(ev/close u) '(kqnet/drain u 0)]
    (def path (t/scratch "socket"))
    (defer (protect (os/rm path))
      (serving ~[(def u (kqnet/server :unix ,path handle))
                 (put actions "fork" (fn [_] (os/proc-wait (child (fn [] ,form)))))]
        (fn [port _]
          (t/same "parent fork" (t/ask port "fork"))
          (t/same :socket (os/stat path :mode) (string/format "%q" form))
          (t/same "parent unix" (with [conn (net/connect :unix path)]
                                  (:write conn "unix")
                                  (t/receive conn)))))
      (t/same nil (os/stat path) "the file after the parent's end"))))

(t/test "a child that runs its loop while clients come takes none of the parent's clients"
  (needs-loop)
  (serving '[(put actions "fork" (fn [_]
                                   (child (fn []
                                            (def stop (ev/chan))
                                            (protect (ev/with-deadline 1 (ev/take stop)))))))]
    (fn [port _]
      (t/same "parent fork" (t/ask port "fork"))
      (repeat 10
        (t/same (map |(string "parent " $) (range 20)) (t/together 20 |(t/ask port (string $))))))))

(t/test "handlers that are about to run when another one forks run in the parent only"
  (needs-loop)
  (with [program (t/start {:in :pipe} (dyn *executable*) "-e"
                          (t/source ['(import kqnet) ;setup
                                     '(put actions "fork" (fn [conn]
                                                            (child (fn []
                                                                     (:close conn)
                                                                     (repeat 20 (ev/sleep 0.002))))))
                                     '(say port)
                                     # Meanwhile all clients connect, so they are accepted in one turn.
                                     '(file/read stdin :line)]))]
    (def port (:port program))
    (def conns (seq [i :range [0 20]] (t/send port (if (zero? i) "fork" (string i)))))
    (ev/write (in (program :proc) :in) "go\n")
    (t/same ["parent fork" ;(seq [i :range [1 20]] (string "parent " i))] (map t/receive conns))
    (t/same "parent end" (t/ask port "end"))
    (t/same 0 (:wait program) (string (program :err)))))

(t/test "timeouts of parent and child are separate"
  (needs-loop)
  (serving '[(put actions "fork" (fn [_] (child (fn [] (ev/sleep 0.01)))))
             (put actions "sleep" (fn [_] (ev/sleep 0.02)))]
    (fn [port _]
      (repeat 5
        (t/same ["parent fork" ;(seq [_ :range [0 5]] "parent sleep")]
                (t/together 6 |(t/ask port (if (zero? $) "fork" "sleep"))))))))

(t/test "a thread that was started while many files were open may fork"
  (needs-loop)
  (with [program (t/start-forms ~[(def files (seq [_ :range [0 400]] (os/open "/dev/null" :r)))
                                  (def ports (ev/thread-chan 1))
                                  (def start (ev/thread-chan 1))
                                  (defn serve
                                    [path]
                                    (ev/give ports nil)
                                    (ev/take start)
                                    (setdyn *syspath* path)
                                    (def kqnet (require "kqnet"))
                                    (def stop (ev/chan))
                                    (var process nil)
                                    (defn handle [conn]
                                      (def text (string (:read conn 100)))
                                      (case text
                                        "fork" (unless (set process (os/posix-fork))
                                                 (:close conn)
                                                 (ev/take (ev/chan)))
                                        "end" (ev/chan-close stop))
                                      (:write conn (string "parent " text))
                                      (:close conn))
                                    (def l ((get-in kqnet ['server :value]) "127.0.0.1" 0 handle))
                                    (ev/give ports (last (net/localname l)))
                                    (ev/take stop)
                                    (os/proc-kill process)
                                    (os/exit 0 true))
                                  (ev/thread serve (dyn *syspath*) :n)
                                  (ev/take ports)
                                  (each file files (:close file))
                                  (ev/give start nil)
                                  (print (ev/take ports))
                                  (flush)])]
    (def port (:port program))
    (t/same "parent fork" (t/ask port "fork"))
    (repeat 10
      (t/same (map |(string "parent " $) (range 10)) (t/together 10 |(t/ask port (string $)))))
    (t/ask port "end")
    (t/same 0 (:wait program) (string (program :err)))))

(t/test "a child that forks again ends normally, whatever it did before"
  (needs-loop)
  (each before ['(do) '(ev/sleep 0) '(kqnet/server "127.0.0.1" 0 handle)]
    (serving ~[(def idle (net/connect "127.0.0.1" port))
               (put actions "fork" (fn [_]
                                     (os/proc-wait
                                       (child (fn []
                                                (def grandchild (child (fn [] ,before)))
                                                ,before
                                                (def own (child (fn [])))
                                                (each process [grandchild own]
                                                  (assert (zero? (os/proc-wait process)))))))))]
      (fn [port _]
        (repeat 3 (t/same "parent fork" (t/ask port "fork")))))))

(t/test "a server that is started in the child works beside the parent's"
  (needs-loop)
  (serving '[(put actions "fork" (fn [conn]
                                   (child (fn []
                                            (:close conn)
                                            (def own (kqnet/server "127.0.0.1" 0 handle))
                                            (say (last (net/localname own)))
                                            (ev/take (ev/chan))))))]
    (fn [port program]
      (t/same "parent fork" (t/ask port "fork"))
      (def own (:port program))
      (repeat 5
        (t/same (map |(string "child " $) (range 20)) (t/together 20 |(t/ask own (string $))))
        (t/same (map |(string "parent " $) (range 20)) (t/together 20 |(t/ask port (string $)))))
      (t/same "child end" (t/ask own "end")))))

(t/test "a program may fork before it has served anything"
  (needs-loop)
  (with [program (t/start-forms ['(import kqnet) ;(slice setup 0 6)
                                 '(child (fn []
                                           (def own (kqnet/server "127.0.0.1" 0 handle))
                                           (put actions "end" (fn [_] (ev/spawn (ev/sleep 0) (os/exit 0))))
                                           (say (last (net/localname own)))
                                           (ev/take (ev/chan))))
                                 ;(slice setup 6)
                                 '(say port)])]
    (def ports [(:port program) (:port program)])
    (def answers (map |(t/ask $ "x") ports))
    (t/same ["child x" "parent x"] (sort (array ;answers)))
    (repeat 5
      (each [port answer] (map tuple ports answers)
        (t/same (seq [_ :range [0 20]] answer) (t/together 20 (fn [_] (t/ask port "x"))))))
    (each port ports (t/ask port "end"))
    (t/same 0 (:wait program) (string (program :err)))))

(t/test "forked workers share one listener"
  (needs-loop)
  (with [program (t/start-forms ['(import kqnet) ;(slice setup 0 6)
                                 '(def l (kqnet/listen "127.0.0.1" 0))
                                 '(defn work [] (kqnet/accept-loop l handle))
                                 '(put actions "end" (fn [_] (ev/spawn (ev/sleep 0) (os/exit 0))))
                                 '(child work)
                                 '(say (last (net/localname l)))
                                 '(work)])]
    (def port (:port program))
    (def seen @{})
    (t/wait-until "answers of both"
                  (fn []
                    (each answer (t/together 20 (fn [_] (t/ask port "x"))) (put seen answer true))
                    (= 2 (length seen))))
    (t/same ["child x" "parent x"] (sort (keys seen)))
    # Each worker ends when it is told to. One that is about to end may accept once more.
    (t/wait-until "the end of both"
                  (fn []
                    (def [listening conn] (protect (t/connect port)))
                    (when listening
                      (protect (:write conn "end"))
                      (protect (t/receive conn))
                      (:close conn))
                    (not listening)))
    (t/same 0 (:wait program) (string (program :err)))))

(t/test "a child goes on with the connection of the handler that forked"
  (needs-loop)
  (serving '[(put actions "fork" (fn [conn]
                                   (child (fn []
                                            (:write conn "child: ")
                                            (def text (:read conn 10))
                                            (:write conn text)))
                                   (:close conn)
                                   (error "closed")))
             # The handler's error is intended.
             (setdyn *err* @"")]
    (fn [port program]
      (with [conn (t/send port "fork")]
        (t/same "child: " (string (:read conn 7)))
        (:write conn "and more")
        (t/same "and more" (t/receive conn)))
      # The message and the stack trace come one line after the other.
      (t/wait-until "the handler's error, and the last line of its trace"
                    |(and (string/find "closed" (program :err)) (peg/match '(* (thru "in kqnet-connection") (thru "\n") -1) (program :err))))
      (buffer/clear (program :err)))))

(t/test "if Janet's loop does not survive a fork, a server in the child is an error that says so"
  (unless kqueue? (t/skip "on this system the child gets its own loop"))
  (serving '[(put actions "fork" (fn [conn]
                                   (os/proc-wait
                                     (child (fn []
                                              (def err (last (protect (kqnet/server "127.0.0.1" 0 handle))))
                                              (os/exit (if (string/find "does not survive a fork" err) 0 1)))))))]
    (fn [port _]
      (t/same "parent fork" (t/ask port "fork")))))

(t/finish)
