###
### Sockets that are closed here while another process still has them.
###
### Clients of the other process must do no harm to this one.
###

(import ./support :as t)
(import kqnet)

(def- host "127.0.0.1")

(def- kept-open
  "Forms that run in a child with a socket as its stdin. Closing its descriptors must not end it."
  '[(def holders @[])
    (defn share
      "Leaves a stream with a process that is not a child of this one, since the object of a child would keep the stream alive."
      [stream]
      (def shell (os/spawn ["sh" "-c" "exec 3<&0; sleep 20 <&3 >/dev/null 2>&1 & echo $!"] :p {:in stream :out :pipe}))
      (array/push holders (string/trim (:read (shell :out) 20)))
      (os/proc-wait shell)
      (:close (shell :out)))
    (defn collect
      "Overwrites freed memory."
      []
      (repeat 3
        (gccollect)
        (seq [i :range [0 2000]] (buffer/new-filled (+ 32 (% i 128)) 255))))
    (defn say [text] (print text) (flush))
    # The main fiber has no environment that could keep a closed stream alive.
    (def commands (net/connect "127.0.0.1" (os/getenv "COMMANDS")))
    (defn turns
      "Lets the loop run until the test says so, and once more."
      []
      (while (def text (:read commands 1))
        (repeat 5 (ev/sleep 0) (collect))
        (say "alive"))
      (unless (empty? holders) (os/execute ["kill" ;holders] :p))
      (os/exit 0))])

(defn- start
  "Starts such a program. Returns it with the connection on which it is told to go on."
  [in & forms]
  (with [commands (net/listen host 0)]
    (def program
      (t/start {:in in "COMMANDS" (string (t/port commands))}
               (dyn *executable*) "-e" (t/source ['(import kqnet) ;kept-open ;forms '(turns)])))
    [program (net/accept commands)]))

(defn- stays-alive
  "Has clients connect, send and leave, one by one, and checks that the program goes on."
  [[program commands] &opt client]
  (repeat 3
    (when client (client))
    (:write commands ".")
    (t/same "alive" (:line program)))
  (:close commands)
  (t/same 0 (:wait program) (string (program :err))))

(def- ways
  "The ways in which a listener called l can end, as forms."
  '{"its method" (:close l)
    "ev/close" (ev/close l)
    "net/close" (net/close l)
    "a drain" (kqnet/drain l 0)
    "the collector" (do)
    "a loop that ends" (do
                         (ev/go (fn [l] (kqnet/accept-loop l (fn [conn] (:close conn)))) l)
                         (ev/sleep 0)
                         (ev/close l))
    "a wait that is given up" (do (protect (kqnet/accept l 0.001)) (ev/close l))
    "core's loop" (do
                    (ev/go (fn [l] (net/accept-loop l (fn [conn] (:close conn)))) l)
                    (ev/sleep 0)
                    (:close l))})

(def- unregistered-by-core?
  "Whether core or the kernel makes the loop forget what is closed."
  (or (t/version-at-least? [1 42]) (= :kqueue (kqnet/backend)) (not= :epoll (t/event-loop))))

(each way (sort (keys ways))
  (t/test (string "clients of the parent do no harm after an inherited listener ended by " way)
    (with [l (net/listen host 0)]
      (def child (start l ~(let [l (kqnet/from-fd 0)] ,(ways way) nil) '(collect)))
      # Nobody accepts, so the event stays with the listener.
      (stays-alive child |(t/connect l))))

  (t/test (string "clients of a child do no harm after a listener that it has ended by " way)
    (unless (or (not= way "the collector") unregistered-by-core?)
      (t/skip "a listener that a child has too must be closed before Janet 1.42"))
    (def program
      (start (file/open "/dev/null")
             ~(let [l (kqnet/listen "127.0.0.1" 0)]
                (def port (last (net/localname l)))
                (share l)
                ,(ways way)
                (say port))
             '(collect)))
    (def port (:port (first program)))
    (stays-alive program |(t/connect port))))

(each [way form] [["its method" '(:close conn)] ["ev/close" '(ev/close conn)] ["the collector" nil]]
  (t/test (string "a child's peer does no harm after a connection that it has ended by " way)
    (unless (or (= way "its method") unregistered-by-core?)
      (t/skip "in this version, core's functions only close connections"))
    (def program
      (start (file/open "/dev/null")
             ~(def l (kqnet/server "127.0.0.1" 0 (fn [conn] (share conn) ,form (say "closed"))))
             '(say (last (net/localname l)))))
    (with [client (t/connect (:port (first program)))]
      (t/same "closed" (:line (first program)))
      (:write (program 1) ".")
      (t/same "alive" (:line (first program)))
      (stays-alive program |(:write client "more")))))

(t/finish)
