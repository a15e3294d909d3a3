###
### Listening sockets that a process was started with: kqnet/from-fd and kqnet/activated.
###
### They are called in processes that get descriptors from their parents.
###

(import ./support :as t)
(import kqnet)

(def- host "127.0.0.1")

(defn- start
  ``Starts a program given as forms. Its descriptors from 3 on are these streams, at most two, and its
  variables are set as by a service manager. $PID in a value is the number of the process.``
  [streams variables forms]
  (def [one two] streams)
  (def exports (seq [[name value] :pairs variables] (string "export " name "=\"" value "\"; ")))
  (t/start (merge (if one {:in one} {}) (if two {:err two} {}))
           "sh" "-c"
           (string "PID=$$; " (if one "exec 3<&0 </dev/null; ") (if two "exec 4<&2 2>/dev/null; ")
                   ;exports `exec "$0" "$@"`)
           (dyn *executable*) "-e" (t/source ['(import kqnet) ;forms])))

(defn- says
  "The lines that such a program prints. It ends by itself."
  [streams variables & forms]
  (with [program (start streams variables forms)]
    (t/same 0 (:wait program) (string (program :err)))
    (t/wait-until "the end of its output" |(program :out-ended))
    (tuple ;(filter |(not (empty? $)) (string/split "\n" (program :out))))))

(def- served-by-child
  "Forms that serve from a listener, and say so."
  '[(defn serve [l text]
      (ev/go (fn [] (kqnet/accept-loop l (fn [conn]
                                           (defer (:close conn)
                                             (:write conn (string text (:read conn 100)))))))))
    (defn ready [] (print "ready") (flush))])

# from-fd.

(t/test "an inherited listener serves after the parent has closed its own"
  (each listen [kqnet/listen net/listen]
    (def l (listen host 0))
    (def port (t/port l))
    (with [child (start [l] {} [;served-by-child '(serve (kqnet/from-fd 3) "child: ") '(ready)])]
      (t/same "ready" (:line child))
      (:close l)
      (t/same (map |(string "child: " $) (range 50)) (t/together 50 |(t/ask port (string $)))))))

(t/test "an inherited listener has all that others have: accept, address, statistics and drain"
  (with [l (kqnet/listen host 0)]
    (with [child (start [l] {} '[(def l (kqnet/from-fd 3))
                                 (print (last (net/localname l)))
                                 (flush)
                                 (with [conn (kqnet/accept l)]
                                   (:write conn "by accept"))
                                 (with [conn (:accept l)]
                                   (:write conn "by the method"))
                                 (print ((kqnet/stats l) :accepted) " " (kqnet/drain l 1) " "
                                        (last (protect (kqnet/from-fd 3))))])]
      (t/same (t/port l) (:port child))
      (t/same "by accept" (t/receive (t/connect l)))
      (t/same "by the method" (t/receive (t/connect l)))
      (t/same "2 0 cannot accept from descriptor 3: it is not open" (:line child)))))

(t/test "when two processes have a listener, each client is answered by one of them"
  (with [l (kqnet/listen host 0)]
    (with [child (start [l] {} [;served-by-child '(serve (kqnet/from-fd 3) "") '(ready)])]
      (t/same "ready" (:line child))
      (ev/go (fn [] (kqnet/accept-loop l (fn [conn]
                                           (defer (:close conn)
                                             (:write conn (:read conn 100)))))))
      (t/same (map string (range 200)) (t/together 200 |(t/ask l (string $))))
      # One process hands over to the other, and no client is refused.
      (def port (t/port l))
      (def answers (t/background |(t/together 200 (fn [i] (t/ask port (string i))))))
      (t/same 0 (kqnet/drain l 30))
      (t/same [true (map string (range 200))] (ev/take answers)))))

(t/test "an inherited unix socket's file belongs to the parent, and stays"
  (def path (t/scratch "socket"))
  (with [l (kqnet/listen :unix path)]
    (t/same ["true" "0"]
            (says [l] {} '(def l (kqnet/from-fd 3)) '(def m (:close l)) '(print (= l m)) '(print (kqnet/drain l))))
    (t/same :socket (os/stat path :mode))))

(def- wrong
  "Forms that try descriptor 3, and check that nothing has changed."
  '[(def before (length (os/dir "/dev/fd")))
    (print (last (protect (kqnet/from-fd 3))))
    (print (- (length (os/dir "/dev/fd")) before) " " (truthy? (os/stat "/dev/fd/3")))])

(defn- refuses
  "Fails unless a descriptor is refused with this reason, and unchanged."
  [reason stream]
  (t/same [(string "cannot accept from descriptor 3: " reason) "0 true"]
          (says [stream] {} ;wrong)))

(t/test "the error for what is not a listening stream socket says what it is, and the descriptor is left alone"
  (t/same "cannot accept from descriptor 999: it is not open" (t/raised |(kqnet/from-fd 999)))
  (with [file (file/open (t/program "init"))] (refuses "it is not a socket" file))
  (def [from to] (os/pipe))
  (refuses "it is not a socket" from)
  (:close from)
  (:close to)
  (with [l (kqnet/listen host 0 :datagram)] (refuses "it is a datagram socket" l))
  (with [l (kqnet/listen host 0)]
    (with [client (t/connect l)]
      (with [conn (kqnet/accept l)]
        (refuses "it is not listening" client)
        (refuses "it is not listening" conn)
        (:write client "ping")
        (t/same "ping" (string (:read conn 10)))))
    # On the kernels with kqueue a listener cannot be shut down, and macOS says so.
    (when (and (= :nothing (t/raised |(net/shutdown l))) (= :epoll (kqnet/backend)))
      (refuses "it is not listening" l))))

(t/test "a stream socket that does not listen is refused"
  (unless (zero? (os/execute ["sh" "-c" "command -v python3 >/dev/null"] :p))
    (t/skip "Janet cannot make such a socket, and there is no python3"))
  (def path (t/scratch "socket"))
  (defer (when (os/lstat path) (os/rm path))
    (each bind ["" `s.bind(("127.0.0.1", 0))` (string `s = socket.socket(socket.AF_UNIX); s.bind("` path `")`)]
      (def script (string "import os, socket, sys; s = socket.socket(); " bind
                          "\nos.dup2(s.fileno(), 3); os.set_inheritable(3, True); os.execv(sys.argv[1], sys.argv[1:])"))
      (with [program (t/start "python3" "-c" script (dyn *executable*) "-e" (t/source ['(import kqnet) ;wrong]))]
        (t/same 0 (:wait program) (string (program :err)))
        (t/same "cannot accept from descriptor 3: it is not listening" (:line program) bind)
        (t/same "0 true" (:line program))))))

(t/test "a datagram unix socket is refused, and so is a connected one"
  (def path (t/scratch "socket"))
  (with [l (kqnet/listen :unix path :datagram)] (refuses "it is a datagram socket" l))
  (with [l (kqnet/listen :unix path)]
    (with [client (net/connect :unix path)] (refuses "it is not listening" client))))

(t/test "what the program has opened itself is refused, and so is what it has already taken over"
  (defn number [stream] (first (peg/match '(* (thru "fd=") (number :d+)) (describe stream))))
  (defn own [n] (string "cannot accept from descriptor " n ": it is not inherited, or was taken over already"))
  (each listen [kqnet/listen net/listen]
    (with [l (listen host 0)]
      (def n (number l))
      (def before (t/descriptors))
      (t/same (own n) (t/raised |(kqnet/from-fd n)))
      (t/same before (t/descriptors))
      # Nothing has closed it.
      (def conn (t/background |(kqnet/accept l)))
      (:close (t/connect l))
      (:close (last (ev/take conn)))))
  (with [l (kqnet/listen host 0)]
    (t/same [(own 3) "127.0.0.1"]
            (says [l] {} '(def l (kqnet/from-fd 3)) '(print (last (protect (kqnet/from-fd 3))))
                  '(print (first (net/localname l)))))))

(t/test "the error for what is not a descriptor shows it"
  (each value [nil -1 1.5 "3" :three math/nan math/inf 1e10]
    (t/same (string/format "a descriptor is a non-negative integer, got %q" value)
            (t/raised |(kqnet/from-fd value)))))

(t/test "a sandbox without :net-listen forbids both functions"
  (with [l (kqnet/listen host 0)]
    (t/same ["operation forbidden by sandbox" "operation forbidden by sandbox"]
            (says [l] {"LISTEN_PID" "$PID" "LISTEN_FDS" "1"}
                  '(sandbox :net-listen)
                  '(print (last (protect (kqnet/from-fd 3))))
                  '(print (last (protect (kqnet/activated))))))))

# activated, in systemd's way.

(def- names-and-ports
  "Forms that print the sockets that were passed on, and what is left of the variables."
  '[(def [ok found] (protect (kqnet/activated)))
    (if ok
      (each name (sort (keys found))
        (print name " " (string/join (map |(string (last (net/localname $))) (found name)) " ")))
      (print found))
    (print (string/format "%q" (map os/getenv ["LISTEN_PID" "LISTEN_FDS" "LISTEN_FDNAMES"])))])

(def- no-variables "@[nil nil nil]")

(t/test "sockets are passed on by number, with their names"
  (with [one (kqnet/listen host 0)]
    (with [two (net/listen host 0)]
      (def [p q] (map t/port [one two]))
      (def pid {"LISTEN_PID" "$PID"})
      (defn passed [streams variables] (says streams (merge pid variables) ;names-and-ports))
      (t/same [(string "web " p) no-variables] (passed [one] {"LISTEN_FDS" "1" "LISTEN_FDNAMES" "web"}))
      (t/same [(string "admin " q) (string "web " p) no-variables]
              (passed [one two] {"LISTEN_FDS" "2" "LISTEN_FDNAMES" "web:admin"}))
      (t/same [(string "web " p " " q) no-variables]
              (passed [one two] {"LISTEN_FDS" "2" "LISTEN_FDNAMES" "web:web"}))
      # LISTEN_FDNAMES is newer than the other variables.
      (t/same [(string "unknown " p " " q) no-variables] (passed [one two] {"LISTEN_FDS" "2"}))
      (t/same [(string "unknown " q) (string "web " p) no-variables]
              (passed [one two] {"LISTEN_FDS" "2" "LISTEN_FDNAMES" "web"}))
      (t/same [(string "unknown " p) (string "web " q) no-variables]
              (passed [one two] {"LISTEN_FDS" "2" "LISTEN_FDNAMES" ":web"}))
      (t/same [(string "web " p) no-variables]
              (passed [one two] {"LISTEN_FDS" "1" "LISTEN_FDNAMES" "web:admin:more"}))
      (t/same [no-variables] (passed [one] {"LISTEN_FDS" "0"})))))

(t/test "the passed sockets serve, and a second call finds none"
  (with [one (kqnet/listen host 0)]
    (with [two (kqnet/listen host 0)]
      (def ports (map t/port [one two]))
      (with [child (start [one two] {"LISTEN_PID" "$PID" "LISTEN_FDS" "2" "LISTEN_FDNAMES" "web:admin"}
                          [;served-by-child
                           '(def found (kqnet/activated))
                           '(assert (empty? (kqnet/activated)))
                           '(serve (first (found "web")) "web: ")
                           '(serve (first (found "admin")) "admin: ")
                           '(ready)])]
        (t/same "ready" (:line child))
        (:close one)
        (:close two)
        (t/same ["web: hello\n" "admin: hello\n"] (map t/ask ports))))))

(t/test "a program that was not activated gets nothing, and neither does one for which they were not meant"
  (with [l (kqnet/listen host 0)]
    (t/same [no-variables] (says [l] {} ;names-and-ports))
    (t/same [no-variables] (says [l] {"LISTEN_FDS" "1" "LISTEN_FDNAMES" "web"} ;names-and-ports))
    (t/same [no-variables] (says [l] {"LISTEN_PID" "$PID" "LISTEN_FDNAMES" "web"} ;names-and-ports))
    # It is the shell's parent. A child would have inherited the variables by mistake.
    (t/same [no-variables] (says [l] {"LISTEN_PID" "$PPID" "LISTEN_FDS" "1"} ;names-and-ports))))

(t/test "the errors for variables without meaning name them with their values, and the variables are removed"
  (with [l (kqnet/listen host 0)]
    (t/same ["LISTEN_PID is not a number: me" no-variables]
            (says [l] {"LISTEN_PID" "me" "LISTEN_FDS" "1"} ;names-and-ports))
    (each value ["" "-1" "many" "1.5" "99999999999"]
      (t/same [(string "LISTEN_FDS is not a number of descriptors: " value) no-variables]
              (says [l] {"LISTEN_PID" "$PID" "LISTEN_FDS" value} ;names-and-ports)))))

(t/test "the error for a passed socket that is not a listener names it"
  (with [one (kqnet/listen host 0)]
    (with [two (kqnet/listen host 0 :datagram)]
      (t/same ["cannot accept from descriptor 4: it is a datagram socket" no-variables]
              (says [one two] {"LISTEN_PID" "$PID" "LISTEN_FDS" "2"} ;names-and-ports)))))

# activated, in launchd's way. No test here can be started by launchd.

(t/test "launchd's sockets are asked for by name, on macOS"
  (if (= :macos (os/which))
    (t/check (string/has-prefix? "cannot get launchd's sockets web: " (t/raised |(kqnet/activated "web")))
             "an error, since launchd did not start this process")
    (t/same "cannot get launchd's sockets web: only macOS has launchd; without a name, systemd's sockets are returned"
            (t/raised |(kqnet/activated "web"))))
  (each value [5 :web]
    (t/same (string/format "the name of a socket must be a string, got %q" value)
            (t/raised |(kqnet/activated value)))))

(t/finish)
