###
### Workers of kqnet-serve: how they take over what is theirs, run their program, and end.
###

(import ./support :as t)
(import ./support/http :as h)
(import ./support/programs)
(import ./support/serve :prefix "")
(t/need-spork)

(defn- linux [] (unless (t/exists? "/proc/self/stat" :file) (t/skip "it reads Linux's /proc")))

(defn- said [process text] (t/check (string/find text (process :err)) (process :err)))

(defn- ended
  "Waits until a process has ended and all that it wrote has come. Returns its status."
  [process]
  (def status (:wait process))
  (t/wait-until "its words" |(and (process :err-ended) (process :out-ended)))
  status)

(def- patient
  ``A handler that says which process it runs in, waits until the program's file has a neighbour whose name ends with -go, and then
  says that it has done so.``
  ```
  (import kqnet)
  (import kqnet/_native :as native)
  (def go (string (dyn :current-file) "-go"))
  (defn handler [conn]
    (defer (:close conn)
      (:write conn (string (native/process-id) "\n"))
      (while (not (os/stat go)) (ev/sleep 0.01))
      (:write conn "done")))
  ```)

(defn- begin-request
  "Connects until a handler runs. Returns the connection and the handler's process."
  [port]
  (def conn (t/connect port))
  (def buf @"")
  (while (not (string/find "\n" buf)) (t/check (:read conn 100 buf 20) "a handler"))
  [conn (string/trimr buf)])

(t/test "programs without a handler for SIGTERM end their connections before they end"
  (linux)
  (each [text & options]
    [[`(kqnet/server "127.0.0.1" "PORT" handler)`]
     [`(net/server "127.0.0.1" "PORT" handler)` "-l" "kqnet/install"]
     [`(def l (kqnet/listen "127.0.0.1" "PORT")) (ev/go (fn [] (kqnet/accept-loop l handler)))`]
     [`(def l (kqnet/listen "127.0.0.1" "PORT")) (forever (ev/call handler (kqnet/accept l)))`]
     [`(def l (net/listen "127.0.0.1" "PORT")) (forever (ev/call handler (net/accept l)))` "-l" "kqnet/install"]
     [`(def l (kqnet/listen "127.0.0.1" "PORT")) (forever (handler (kqnet/accept l)))`]]
    (each signal [:hup :ttou :term]
      (with-program ""
        (fn [file]
          (def port (t/free-port))
          (spit file (string patient (string/replace "PORT" (string port) text)))
          (def process (serve "-b" port "-w" (if (= signal :ttou) 2 1) ;options file))
          (wait-for process "kqnet-serve: listening on ")
          (def [conn pid] (begin-request port))
              (:signal process signal)
          (case signal
            :hup (t/wait-until "a new worker"
                               |(let [[other next-pid] (begin-request port)] (:close other) (not= pid next-pid)))
            :ttou (wait-for process "now 1 worker")
            :term (wait-for process "kqnet-serve: stopping"))
          (t/check (alive? pid) "the old worker lives")
          (spit (string file "-go") "")
          (t/same "done" (t/receive conn) [text signal])
          (:close conn)
          (unless (= signal :term) (:signal process :term))
          (t/same 0 (:wait process) (process :err))
          (t/same nil (string/find "ended with status" (process :err)) (process :err)))))))

(t/test "such a program is cut off shortly before the stop-timeout, and its end is no mistake"
  (with-program (string patient `(kqnet/server "127.0.0.1" 0 handler) (def l (kqnet/server "127.0.0.1" "PORT" handler))`)
    (fn [file]
      (def port (t/free-port))
      (spit file (string/replace "PORT" (string port) (slurp file)))
      (def process (serve "-b" port "--stop-timeout" 1 file))
      (wait-for process "kqnet-serve: listening on ")
      (def [conn] (begin-request port))
      (:signal process :term)
      (t/same 0 (:wait process) (process :err))
      (t/same "" (t/receive conn)))))

(t/test "a program's own handler is left alone, whether it is set before or after it listens"
  (def own `(os/sigaction :term (fn [] (eprint "my own") (os/exit 3)))`)
  (def serves `(import kqnet) (kqnet/server "127.0.0.1" "PORT" (fn [c] (:close c)))`)
  (each text [(string own serves) (string serves own)]
    (def port (t/free-port))
    (with-program (string/replace "PORT" (string port) text)
      (fn [file]
        (def process (serve "-b" port file))
        (wait-for process "kqnet-serve: listening on ")
        (:signal process :term)
        (t/same 3 (ended process))
        (said process "my own")))))

(t/test "a program that neither listens nor handles signals ends"
  (with-program `(eprint "sleeping") (ev/sleep 1000)`
    (fn [file]
      (def process (serve "-b" (t/free-port) file))
      (wait-for process "sleeping")
      (:signal process :term)
      (t/same 0 (ended process) (process :err)))))

(t/test "an old worker runs its program to the end as it was, though the file is written anew in place"
  (defn text [version]
    (string answering "\n" (string/repeat "# filler that is longer than a block of a file\n" 1000)
            "(eprint \"the end of " version "\")\n"))
  (with-program (text "one")
    (fn [file]
      (def [process port] (start file))
      (def before (pids port 1))
      (spit file (text "two"))
      (:signal process :hup)
      (pids port 1 before)
      (wait-for process "the end of one")
      (ends process)
      (wait-for process "the end of two"))))

(defn- launched
  "Runs a program as workers do, if `modules` are given, or else by janet itself. Returns its status, output and errors."
  [launched? modules file & args]
  (def path (os/getenv "JANET_PATH"))
  (def process
    (if launched?
      (t/start-janet (string path "/kqnet/serve/launch.janet") ;modules "--" file ;args)
      (t/start-janet ;(mapcat |["-l" $] modules) file ;args)))
  (def status (ended process))
  [status (string (process :out)) (string (process :err))])

(t/test "a program runs as by janet itself: arguments, main, modules, errors and exit status"
  (each [text & modules]
    [[`(print "top") (pp (dyn :args)) (pp (dyn :current-file)) (pp (dyn :source)) (eprint "err")
       (defn main [& args] (pp args) (pp (dyn :args)) (pp (dyn :current-file)) (print "main"))`]
     [`(pp (in root-env :args)) (pp (dyn :executable)) (pp (dyn :syspath)) (import ./other) (pp other/x) (pp (other/args))`]
     [`(import ./other) (print (= net/server (in (in (in root-env 'net/server) :ref [nil]) 0)))` "kqnet/install"]
     [`(pp loaded) (defn main [&] (pp loaded))` "./loaded"]
     [`(pp 1)` "./missing"]
     [`(pp 1)` "./broken"]
     [`(print "before") (error "top")`]
     [`(defn f [] (error :a)) (f)`]
     ["(print 1)\n(oh"]
     ["(print 1)\n(print 2))"]
     ["(print 1)\n(print unknown)"]
     ["(defmacro m [] (error 5))\n(m)"]
     ["(defn main [&] (os/exit 9))"]
     ["(defn- main [&] (print :private))"]
     ["(var main nil) (set main (fn [&] (print :var)))"]
     ["(defn main [& args] (ev/go (fn [] (ev/sleep 0.01) (print \"later\"))) 5)"]
     ["(defn main [& args] (yield 5) (print :after))"]
     [`(ev/sleep 0.01) (print "slept") (ev/spawn (print "task") (error "in a task"))`]
     [`(print (file/read stdin :line))`]
     ["#!/usr/bin/env janet\n(print 3) (setdyn :x 4) (print (dyn :x)) (defn main [&] (print (dyn :x)))"]
     ["(def x 1) (def x :shadow) (print x) (unquote 3)"]
     [""]]
    (with-program text
      (fn [file]
        (def folder (string/slice file 0 (- (inc (length "app.janet")))))
        (spit (string folder "/other.janet") "(def x 7) (defn args [] (dyn :args))")
        (spit (string folder "/loaded.janet") "(def loaded 8) (print :loading)")
        (spit (string folder "/broken.janet") "(def loaded 8")
        (def named (map |(if (string/has-prefix? "./" $) (string folder (string/slice $ 1)) $) modules))
        (def [status out err] (launched false named file "one" "-two"))
        (def [launched-status launched-out launched-err] (launched true named file "one" "-two"))
        (t/same status launched-status [text launched-err])
        (t/same out launched-out text)
        # At the end of a stack trace are the functions of whoever runs the program.
        (def own |(->> (string/split "\n" $)
                       (take-while (fn [line] (not (or (string/find "boot.janet" line) (string/find "launch.janet" line)))))
                       (map (fn [line] (string/replace " (tail call)" "" line)))
                       (filter (fn [line] (not (empty? line))))))
        (t/same (tuple ;(own err)) (tuple ;(own launched-err)) text))))
  (with-program "(defn- f [] (error \"in main\"))\n(defn main [&] (f) 1)"
    (fn [file]
      (def [status _ err] (launched true [] file))
      (t/same 1 status)
      (each part ["error: in main" "in f" "in main" "app.janet"] (t/check (string/find part err) err)))))

(t/test "a worker with several servers drains all of them, and then ends"
  (def [one other] [(t/free-port) (t/free-port)])
  (with-program (string/format
                  ```
                  (import kqnet/http)
                  (def go (string (dyn :current-file) "-go"))
                  (defn handler [req]
                    (when (= "/wait" (req :path)) (while (not (os/stat go)) (ev/sleep 0.01)))
                    {:body "answered"})
                  (http/server handler "127.0.0.1" %d)
                  (http/server handler "127.0.0.1" 0)
                  (http/serve-forever handler "127.0.0.1" %d)
                  (eprint "after")
                  ```
                  one other)
    (fn [file]
      (def process (serve "-b" one "-b" other file))
      (wait-for process "kqnet-serve: listening on " 2)
      (def clients (seq [port :in [one other]] (:send (h/client port) "GET" "/wait")))
      (each port [one other] (t/same "answered" (ask port)))
      (:signal process :term)
      (wait-for process "draining, 2 still running")
      (spit (string file "-go") "")
      (each c clients (t/same "answered" ((:receive c "GET") :body)) (:close c))
      (t/same 0 (ended process) (process :err))
      (said process "after")
      (t/check (not (string/find "takes too long" (process :err))) (process :err))
      (t/check (not (string/find "send the signal again" (process :err))) (process :err)))))

(t/test "a task that never ends does not keep a worker whose server has drained"
  (each text ["(ev/spawn (forever (ev/sleep 0.05)))\n" `(os/spawn ["sleep" "30"] :p)` `(ev/thread (fn [] (ev/sleep 30)) nil :n)`]
    (with-program (string text answering "(eprint \"after\")")
      (fn [file]
        (def [process port] (start file))
        (ask port)
        (:signal process :term)
        (t/same 0 (ended process) (process :err))
        (said process "after")))))

(t/test "what a worker inherits is not for the programs that it starts, from its first line on"
  (linux)
  (with-program (string
                  ```
                  (def own (string (dyn :current-file) ".out"))
                  (os/execute ["sh" "-c" "ls -l /proc/self/fd > \"$0\"; echo \"<$KQNET_WORKER>\" >> \"$0\"" own] :p)
                  (def child (os/spawn ["sleep" "30"] :p))
                  ```
                  answering)
    (fn [file]
      (def port (t/free-port))
      (def process (serve "-b" port file))
      (wait-for process "listening on ")
      (def out (slurp (string file ".out")))
      (t/check (string/find "<>" out) out)
      (each what ["socket:" "memfd:"] (t/check (not (string/find what out)) out))
      # Janet itself leaves one end of a pipe open in its children: the supervisor in the worker, and the worker in its own.
      (def alone (t/start-janet "-e" `(os/execute ["sh" "-c" "ls -l /proc/self/fd"] :p)`))
      (ended alone)
      (defn pipes [text]
        (count |(peg/match '(* (thru ":") :d :d " " (not (* (range "02") " ")) :d (thru " -> pipe:[")) $) (string/split "\n" text)))
      (t/same (inc (pipes (alone :out))) (pipes out) [(alone :out) out])
      (ends process))))

(t/test "a worker that has not listened yet ends when the supervisor is killed"
  (linux)
  (with-program `(eprint "sleeping") (ev/sleep 1000)`
    (fn [file]
      (def process (serve "-b" (t/free-port) file))
      (wait-for process "sleeping")
      (def all (workers-of ((process :proc) :pid)))
      (t/same 1 (length all))
      (:signal process :kill)
      (t/wait-until "its end" |(not (some alive? all))))))

(t/test "a value of KQNET_WORKER that makes no sense is said in one line, and one for another process is ignored"
  (def port (t/free-port))
  (def text (string/format `(import kqnet/http) (try (http/serve-forever (fn [_] {:body "alone"}) "127.0.0.1" %d) ([err] (eprint err) (os/exit 4)))` port))
  (with-program text
    (fn [file]
      (each value ["yes" "" "1 2 3" "1 77 60 5 6 0 0 x"]
        (def process (t/start {"KQNET_WORKER" value} (dyn *executable*) file))
        (t/same 4 (ended process))
        (said process (string "the environment variable KQNET_WORKER has a value that this version of kqnet-serve does not set: "
                              (string/format "%q" value) "; unset it"))
        (t/same 1 (length (string/find-all "\n" (process :err))) (process :err)))
      (def closed (t/start {} "sh" "-c" `exec env KQNET_WORKER="1 $PPID 60000 55 56 0 0 57" "$0" "$1"` (dyn *executable*) file))
      (t/same 4 (ended closed))
      (said closed "names descriptors that kqnet-serve did not pass")
      (def other (t/start {"KQNET_WORKER" "1 1 60000 5 6 0 0 7"} (dyn *executable*) file))
      (t/wait-until "an answer" |(= [true "alone"] (protect (ask port))))
      (said other "this process was not started by kqnet-serve (process 1) itself")
      (:signal other :term)
      (t/same 0 (ended other))
      (t/same 1 (length (string/find-all "\n" (other :err))) (other :err)))))

(t/test "a script without exec is told how to start the program"
  (with-program answering
    (fn [file]
      (def script (string file ".sh"))
      (spit script (string "#!/bin/sh\n\"" (dyn *executable*) "\" \"" file "\"\n"))
      (os/chmod script 8r755)
      (def process (serve "-b" (t/free-port) script))
      (wait-for process "should start the program with exec")
      (:signal process :term)
      (:wait process))))

(t/test "a worker is ready once it serves all addresses, and the supervisor says which it does not serve"
  (def [one other] [(t/free-port) (t/free-port)])
  (defn text [more] (string `(import kqnet/http) (http/server "one" "127.0.0.1" ` one `) ` more))
  (with-program (text "")
    (fn [file]
      (def process (serve "-b" one "-b" other "-w" 3 "--start-timeout" 3 file))
      (wait-for process (string "the program does not serve 127.0.0.1:" other ", which is an address of kqnet-serve"))
      (t/check (not= 0 (ended process)) "its status")
      (t/same 1 (length (string/find-all "the program does not serve" (process :err))) (process :err))
      (said process (string "has not listened on 127.0.0.1:" other "; it is killed"))
      (t/check (not (string/find "listening on 127" (process :err))) (process :err))
      # One that takes its time, and a version that forgets one.
      (def go (string file "-go"))
      (spit file (text (string/format `(while (not (os/stat %q)) (ev/sleep 0.01)) (http/serve-forever "two" "127.0.0.1" %d)` go other)))
      (def process (serve "-b" one "-b" other "--start-timeout" 3 file))
      (wait-for process "the program does not serve")
      (spit go "")
      (wait-for process "kqnet-serve: listening on " 2)
      (t/same "two" (ask other))
      (spit file (text ""))
      (:signal process :hup)
      (wait-for process "the program does not serve" 2)
      (wait-for process "the old workers go on")
      (t/same "two" (ask other))
      (ends process))))

(t/test "workers start with no signal blocked or ignored, whatever the supervisor was started with"
  (linux)
  (with-program answering
    (fn [file]
      (def port (t/free-port))
      (def [python] (programs/need "python3"))
      (def prepare `import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
for s in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT, signal.SIGALRM):
    signal.signal(s, signal.SIG_IGN)
os.execvp(sys.argv[1], sys.argv[1:])`)
      (def process (t/start python "-c" prepare (dyn *executable*) script "-b" (string port) file))
      (wait-for process "listening on ")
      (def status (slurp (string "/proc/" (ask port) "/status")))
      (defn mask [name] (first (peg/match ~(* (thru ,(string name ":\t")) '(some :h)) status)))
      (t/same "0000000000000000" (mask "SigBlk"))
      # The last four digits are of the first 16 signals. The 1 is SIGPIPE, which Python and kqnet ignore on purpose.
      (t/same "1000" (string/slice (mask "SigIgn") -5))
      (ends process))))

(t/test "a child that a worker forks before it listens is no worker, and does not end the worker"
  (linux)
  (with-program (string
                  ```
                  (unless (os/posix-fork)
                    (eprint "child: " (string/format "%q" (protect (((in (require "kqnet") 'listen) :value) "127.0.0.1" (scan-number (last (dyn :args)))))))
                    (os/exit 0))
                  ```
                  answering)
    (fn [file]
      (def port (t/free-port))
      (def process (serve "-b" port file port))
      (wait-for process "listening on ")
      (wait-for process "child: ")
      (said process "this process was forked by a worker of kqnet-serve")
      (said process "child: (false \"cannot listen on 127.0.0.1:")
      (ask port)
      (ends process))))

(t/finish)
