###
### kqnet-serve in trouble: shortages, workers that do not obey, storms of signals, and programs of every kind.
###

(import ./support :as t)
(import ./support/http :as h)
(import ./support/programs)
(import ./support/serve :prefix "")
(t/need-spork)

(defn- said [process text] (t/check (string/find text (process :err)) (process :err)))

(defn- ended
  "Waits until a process has ended and all that it wrote has come. Returns its status."
  [process]
  (def status (:wait process))
  (t/wait-until "its words" |(process :err-ended))
  status)

(defn- shell
  "Starts kqnet-serve by a shell command, in which \"$@\" is its command line."
  [command & args]
  (t/start "sh" "-c" command "sh" (dyn *executable*) script ;(map string args)))

(defn- serves
  "Waits until a port answers."
  [port]
  (t/wait-until "an answer" |(first (protect (ask port)))))

(defn- linux [] (unless (t/exists? "/proc/self/stat" :file) (t/skip "it reads Linux's /proc")))

(t/test "without descriptors for a new worker it says so once, goes on with the others, and recovers"
  (def [prlimit] (programs/need "prlimit"))
  (with-program answering
    (fn [file]
      (def [process port] (start "-w" 2 file))
      (def supervisor ((process :proc) :pid))
      (def before (pids port 2))
      (defn limit [n] (t/same 0 (first (programs/run prlimit (string "--pid=" supervisor) (string "--nofile=" n ":")))))
      (def open (length (os/dir (string "/proc/" supervisor "/fd"))))
      (limit 5)
      (os/execute ["kill" "-KILL" (first before)] :p)
      (wait-for process "cannot start a worker")
      (:signal process :hup)
      (wait-for process "the old workers go on")
      (t/same (last before) (ask port))
      (limit 1000)
      (pids port 2 [(first before)])
      (:signal process :hup)
      (pids port 2 before)
      (t/wait-until "no descriptor is lost" |(= open (length (os/dir (string "/proc/" supervisor "/fd")))))
      (ends process))))

(t/test "with too few descriptors from the start it ends with a reason, and does not hang"
  (with-program answering
    (fn [file]
      (each n [6 7 8 9 10]
        (def process (shell (string "ulimit -n " n "; exec \"$@\"") "-b" (t/free-port) file))
        (t/wait-until "its end, or a worker" |(or (process :status) (string/find "listening on" (process :err))))
        (if (process :status)
          (t/check (and (not= 0 (process :status)) (not (empty? (string (process :err) (process :out))))) (process :err))
          (ends-whatever process))))))

(t/test "a process id that cannot be written is said in one line before anything is served, and leaves no file"
  (with-program answering
    (fn [file]
      (def path (t/scratch "s.sock"))
      (def folder (string/slice file 0 (- (inc (length "/app.janet")))))
      (def names (sorted (os/dir folder)))
      (defn refused [command pid-file why]
        (def process (shell command "-b" (string "unix:" path) "--pid" pid-file file))
        (t/same 1 (ended process) (process :err))
        (said process (string "cannot write the process id to " pid-file ": " why))
        (t/same 1 (length (string/find-all "\n" (process :err))) (process :err))
        (t/same nil (os/stat path) "the file of the unix socket")
        (t/same names (sorted (os/dir folder))))
      (refused `exec "$@"` (string file "/no/such/folder") "")
      # As a full disk does, this lets files be made and nothing be written to them.
      (refused `ulimit -f 0; exec "$@"` (string file ".pid") "file too large")
      (refused `exec "$@"` folder "it is not a plain file")
      # A file that was given by mistake.
      (refused `exec "$@"` file "it has something else than a process id")
      (t/same answering (string (slurp file))))))

(t/test "the process id of a supervisor that runs is not replaced, that of one that was killed is"
  (with-program answering
    (fn [file]
      (def pid-file (string file ".pid"))
      (defn pid [] (scan-number (string/trim (slurp pid-file))))
      (def [one port] (start "--pid" pid-file file))
      (def two (serve "-b" (t/free-port) "--pid" pid-file file))
      (t/same 1 (ended two))
      (said two (string "cannot write the process id to " pid-file ": process " (pid) ", which it names, is running"))
      (t/same ((one :proc) :pid) (pid))
      (ask port)
      (:signal one :kill)
      (:wait one)
      # Its number may be another process's by now, such as this one's.
      (spit pid-file (string ((two :proc) :pid) "\n"))
      (def [three] (start "--pid" pid-file file))
      (t/same ((three :proc) :pid) (pid))
      (ends three)
      (t/same nil (os/stat pid-file)))))

(t/test "at its end it does not remove the process id of another"
  (with-program answering
    (fn [file]
      (def pid-file (string file ".pid"))
      (each write [(fn [] (spit pid-file "1\n"))
                   (fn [] (spit (string pid-file ".new") "1\n") (os/rename (string pid-file ".new") pid-file))]
        (def [process] (start "--pid" pid-file file))
        (write)
        (ends process)
        (t/same "1\n" (string (slurp pid-file)))))))

(t/test "it serves, replaces and ends with stderr closed, full, or a pipe that nobody reads"
  (with-program answering
    (fn [file]
      (each redirect ["2>&-" ;(if (os/stat "/dev/full") ["2>/dev/full"] [])
                      # A pipe that is full: nobody reads it, and it stays open.
                      `2>"$PIPE"`]
        (def port (t/free-port))
        (def pipe (string file ".pipe"))
        (os/setenv "PIPE" pipe)
        (def process
          (if (string/find "PIPE" redirect)
            (do
              (t/same 0 (os/execute ["mkfifo" pipe] :p))
              (shell `exec 3<>"$PIPE"; dd if=/dev/zero of="$PIPE" oflag=nonblock bs=1 count=1000000 2>/dev/null; exec "$@" 2>"$PIPE"`
                     "-b" port "-w" 2 file))
            (shell (string `exec "$@" ` redirect) "-b" port "-w" 2 file)))
        (serves port)
        (def before (pids port 2))
        (os/execute ["kill" "-KILL" (first before)] :p)
        (pids port 2 [(first before)])
        (:signal process :hup)
        (pids port 2 before)
        (:signal process :term)
        (t/same 0 (:wait process) redirect)
        (os/setenv "PIPE" nil)))))

(t/test "it serves and ends without stdin, stdout or stderr, or any two or all of them"
  (with-program answering
    (fn [file]
      (each closed ["<&-" ">&-" "2>&-" "<&- >&-" "<&- 2>&-" ">&- 2>&-" "<&- >&- 2>&-"]
        (def port (t/free-port))
        (def process (shell (string `exec "$@" ` closed) "-b" port "-w" 2 file))
        (t/wait-until (string "an answer with " closed)
                      (fn []
                        (t/same nil (process :status) closed)
                        (first (protect (ask port)))))
        (pids port 2)
        (ends process)))))

(t/test "it ends while it copies what a worker writes without end, and nobody reads that"
  (with-program
    ```
    (import kqnet/http)
    (ev/spawn (forever (eprint (string/repeat "x" 1000)) (ev/sleep 0)))
    (http/serve-forever "busy")
    ```
    (fn [file]
      (def pipe (string file ".pipe"))
      (t/same 0 (os/execute ["mkfifo" pipe] :p))
      (os/setenv "PIPE" pipe)
      (def port (t/free-port))
      (def process (shell `exec 3<>"$PIPE"; exec "$@" 2>"$PIPE"` "-b" port "--reload" "--stop-timeout" 1 file))
      (os/setenv "PIPE" nil)
      (serves port)
      # By now the pipe is full.
      (ev/sleep 0.5)
      (:signal process :term)
      # The worker may have to be killed, since it waits for its reader.
      (t/check (has-value? [0 137] (:wait process)) "the status"))))

(t/test "a stopped worker, and one that ignores SIGTERM, are killed after --stop-timeout"
  (def deaf `(import kqnet/http) (http/server (fn [_] {:body "deaf"})) (os/sigaction :term (fn []))`)
  (each [text stop?] [[answering true] [deaf false]]
    (with-program text
      (fn [file]
        (def [process port] (start "-w" 1 "--stop-timeout" 0.3 file))
        (when stop? (os/execute ["kill" "-STOP" (ask port)] :p))
        (:signal process :term)
        # 128 and the number of SIGKILL.
        (t/same 137 (ended process) (process :err))
        (said process "takes too long to end; it is killed")))))

(t/test "a second SIGTERM or SIGINT ends what the first one waits for, and the worker counts as killed"
  (with-program
    ```
    (import kqnet/http)
    (http/serve-forever (fn [req] (when (= "/long" (req :path)) (ev/sleep 1000)) {:body "here"}) :drain-timeout 1000)
    ```
    (fn [file]
      (each [first-one second-one] [[:term :term] [:int :term] [:term :int]]
        (def [process port] (start "-w" 2 "--stop-timeout" 1000 file))
        (def long (h/client port))
        (:send long "GET" "/long")
        # The worker has the request before the signal.
        (ask port)
        (:signal process first-one)
        (wait-for process "still running")
        (t/same nil (process :status))
        # Only one that comes later than this counts.
        (ev/sleep 0.3)
        (:signal process second-one)
        (t/same 137 (ended process) (process :err))
        (said process "stopping now")
        (:close long)))))

(t/test "a signal that is sent twice, as by timeout(1) or to all processes of a service, is one signal"
  (linux)
  (each server [`(http/serve-forever handler "127.0.0.1" PORT)` `(http/server handler "127.0.0.1" PORT)`]
    (def port (t/free-port))
    (with-program
      (string `(import kqnet/http)
               (defn handler [_] (eprint "taken") (ev/sleep 0.5) {:body "answered"})`
              (string/replace "PORT" (string port) server))
      (fn [file]
        (each to-all [false true]
          (def process (serve "-b" port file))
          (wait-for process "kqnet-serve: listening on ")
          (def supervisor ((process :proc) :pid))
          (def c (:send (h/client port) "GET" "/"))
          (wait-for process "taken")
          (programs/run "kill" "-TERM" (string supervisor) ;(if to-all (workers-of supervisor) []))
          (:signal process :int)
          (t/same "answered" ((:receive c "GET") :body))
          (t/same 0 (ended process) (process :err))
          (:close c))))))

(t/test "a new worker that somebody else kills does not make the new version a bad one"
  (with-program answering
    (fn [file]
      (def [told go-on] [(string file ".told") (string file ".go-on")])
      (def slow (string/format "(import kqnet/_native :as native) (spit %q (string (native/process-id))) (while (not (os/stat %q)) (ev/sleep 0.01))\n"
                               told go-on))
      (each options [["-w" 2] ["--reload"]]
        (spit file answering)
        (def [process port] (start ;options file))
        (def count (if (= 2 (length options)) 2 1))
        (def before (pids port count))
        # An old worker still reads its own file to the end.
        (spit (string file ".new") (string slow answering))
        (os/rename (string file ".new") file)
        (:signal process :hup)
        (repeat 2
          (t/wait-until "a new worker" |(and (os/stat told) (not (empty? (slurp told)))))
          (def pid (string (slurp told)))
          (os/rm told)
          (os/execute ["kill" "-KILL" pid] :p)
          (wait-for process (string "(process " pid ") ended with status 137")))
        (spit go-on "")
        (pids port count before)
        (t/check (not (string/find "the old workers go on" (process :err))) (process :err))
        (ends process)
        (each path [told go-on] (when (os/stat path) (os/rm path)))))))

(t/test "a new version whose workers are killed again and again, as for want of memory, is a bad one"
  (with-program answering
    (fn [file]
      (def [process port] (start "-w" 2 file))
      (def before (pids port 2))
      (spit file `(import kqnet/_native :as native) (os/execute ["kill" "-KILL" (string (native/process-id))] :p)`)
      (:signal process :hup)
      (wait-for process "the old workers go on")
      (t/same 5 (length (string/find-all "ended with status 137" (process :err))) (process :err))
      (t/same before (pids port 2))
      (ends process))))

(t/test "processes that workers leave behind are reaped by the first process of a container"
  (linux)
  (def [python] (programs/need "python3"))
  # The system gives such processes to it as to a container's first process: PR_SET_CHILD_SUBREAPER of prctl(2).
  (def first-process `import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) and sys.exit(77); os.execvp(sys.argv[1], sys.argv[1:])`)
  (with-program
    (string/replace `"/exit"`
      ```
      # The shell ends before the process that it has started, and whose output this waits for.
      "/orphan" (let [shell (os/spawn ["sh" "-c" "sh -c 'sleep 0.1; echo $$' & echo $!"] :p {:out :pipe})
                      text (string (:read (shell :out) :all))]
                  (os/proc-wait shell)
                  {:body (first (string/split "\n" text))})
      "/exit"
      ```
      answering)
    (fn [file]
      (def port (t/free-port))
      (def process (t/start python "-c" first-process (dyn *executable*) script "-b" (string port) "-w" "2" file))
      (t/wait-until "it serves" |(or (process :status) (string/find "listening on " (process :err))))
      (when (= 77 (process :status)) (t/skip "the system has no subreapers"))
      (def orphans (seq [_ :range [0 5]] (ask port "/orphan")))
      (t/wait-until "the ends of all, and nothing that is left of them" (fn [] (not (some alive? orphans))))
      # The workers are reaped too.
      (def before (pids port 2))
      (os/execute ["kill" "-KILL" (first before)] :p)
      (pids port 2 [(first before)])
      (t/same 2 (length (workers-of ((process :proc) :pid))))
      (ends process))))

(t/test "a worker that ignores SIGTERM is replaced all the same"
  (with-program (string answering "\n")
    (fn [file]
      (spit file `(import kqnet/http) (import kqnet/_native :as native) (http/server (fn [_] {:body (string (native/process-id))})) (os/sigaction :term (fn []))`)
      (def [process port] (start "--stop-timeout" 0.3 file))
      (def before (pids port 1))
      (spit file answering)
      (:signal process :hup)
      (wait-for process "it is killed")
      (pids port 1 before)
      (ends process))))

(t/test "a storm of SIGHUP starts few workers at a time, and leaves as many as there should be"
  (linux)
  (with-program answering
    (fn [file]
      (def [process port] (start "-w" 2 file))
      (def supervisor (string ((process :proc) :pid)))
      (def before (pids port 2))
      (var most 0)
      (repeat 200
        (:signal process :hup)
        (set most (max most (length (workers-of supervisor)))))
      (t/check (<= most 8) most)
      (pids port 2 before)
      (t/wait-until "two workers" |(= 2 (length (workers-of supervisor))))
      (ends process))))

(t/test "SIGHUP while the first workers start is no mistake"
  (with-program answering
    (fn [file]
      (def port (t/free-port))
      (def process (serve "-b" port "-w" 2 file))
      (t/wait-until "handlers of signals" |(or (process :status) (first (protect (:close (t/connect port))))))
      (wait-for process "kqnet-serve: listening on ")
      (repeat 3 (:signal process :hup))
      (pids port 2)
      (ends process))))

(t/test "SIGTERM while workers are replaced, also by one that never starts, ends everything"
  (linux)
  (with-program answering
    (fn [file]
      (each next-version [answering "(ev/sleep 1000)"]
        (spit file answering)
        (def [process port] (start "-w" 3 file))
        (def supervisor (string ((process :proc) :pid)))
        (spit file next-version)
        (:signal process :hup)
        (wait-for process "replacing the workers")
        (def all (workers-of supervisor))
        (ends process)
        (t/wait-until "no worker" (fn [] (not (some alive? all))))))))

(t/test "TTOU below the number of workers that serve ends some of them"
  (linux)
  (with-program answering
    (fn [file]
      (def [process port] (start "-w" 3 file))
      (def supervisor (string ((process :proc) :pid)))
      (pids port 3)
      (wait-for process "listening on ")
      # Signals of the same number that come at once are one.
      (each [i text] [[1 "now 2 workers"] [1 "now 1 worker\n"] [2 "now 1 worker\n"]]
        (:signal process :ttou)
        (wait-for process text i))
      (t/wait-until "one worker" |(= 1 (length (workers-of supervisor))))
      (ask port)
      (ends process))))

(t/test "without its program it goes on with the old workers, and takes the program when it is back"
  (with-program answering
    (fn [file]
      (def executable (string file "-executable"))
      (spit executable (string "#!/bin/sh\nexec \"" (dyn *executable*) "\" \"" file "\"\n"))
      (os/chmod executable 8r755)
      (each program [file executable]
        (def [process port] (start "-w" 2 program))
        (def before (pids port 2))
        (os/rename program (string program ".away"))
        (:signal process :hup)
        (wait-for process "the old workers go on")
        (t/same before (pids port 2))
        (os/rename (string program ".away") program)
        (:signal process :hup)
        (pids port 2 before)
        (ends process)))))

(t/test "new workers run in the folder that a symbolic link leads to by then, by $PWD or --chdir, and files of the supervisor stay"
  (def link "(import kqnet/http) (http/serve-forever (fn [_] {:body (slurp \"data\")}))")
  (def place (t/scratch "releases"))
  (each folder ["" "/one" "/two"] (os/mkdir (string place folder)))
  (each name ["one" "two"]
    (spit (string place "/" name "/data") name)
    (spit (string place "/" name "/app.janet") (string "# " name "\n" link)))
  (def current (string place "/current"))
  (defer (t/remove place)
    (each [options program pid-file]
      [["" "app.janet" (string place "/one/own.pid")]
       ["" (string current "/app.janet") (string place "/one/own.pid")]
       [(string "--chdir " current) "app.janet" (string place "/one/own.pid")]]
      (os/symlink "one" current)
      (def port (t/free-port))
      # A shell sets PWD when it enters a folder.
      (def process
        (t/start "sh" "-c"
                 (string (if (empty? options) (string "cd " current " && export PWD && ")) `exec "$@" ` options " --pid own.pid " program)
                 "sh" (dyn *executable*) script "-b" (string port)))
      (wait-for process "kqnet-serve: listening on ")
      (t/same "one" (ask port))
      (t/check (t/exists? pid-file :file) "the process id")
      (os/rm current)
      (os/symlink "two" current)
      (:signal process :hup)
      (t/wait-until "the other folder" |(= "two" (ask port)))
      # The link is missing for a moment: the old workers go on.
      (os/rm current)
      (:signal process :hup)
      (wait-for process "replacing the workers" 2)
      (t/same "two" (ask port))
      (ends process)
      (t/check (not (os/stat pid-file)) "the file of the process id is removed"))))

(t/test "a folder is no program, and --chdir needs a folder"
  (each [text & args] [["is a folder, and no program" t/project]
                       ["there is no folder /no/such" "--chdir" "/no/such" script]
                       ["there is no program nothing in /" "--chdir" "/" "nothing"]]
    (def process (serve ;args))
    (t/same 2 (ended process))
    (said process text)))

(t/test "a worker that forks, one that reads stdin, and one with a long command line and a path with spaces, serve and end"
  (with-program ""
    (fn [file]
      (def folder (string (string/slice file 0 (- (inc (length "app.janet")))) "/with some spaces"))
      (os/mkdir folder)
      (def program (string folder "/my app.janet"))
      (each [text body & args]
        [[`(when (= :linux (os/which)) (unless (os/posix-fork) (os/exit 0))) (def body "forked")` "forked"]
         [`(def body (string/format "%q" (file/read stdin :all)))` `@""`]
         [`(def body (string (length (last (dyn *args*)))))` "100000" (string/repeat "x" 100000)]]
        (spit program (string text "\n(import kqnet/http) (http/serve-forever (fn [_] {:body body}))"))
        (def [process port] (start "-w" 2 program ;args))
        (t/same body (ask port))
        (ends process)))))

(t/test "a child that a worker has left behind, with its stderr, does not keep anything waiting"
  (with-program (string `(os/spawn ["sleep" "30"] :p) ` answering)
    (fn [file]
      (def [process port] (start "-w" 1 file))
      (def before (pids port 1))
      (protect (ask port "/exit"))
      (def next-one (pids port 1 before))
      (protect (ask port "/exit"))
      (pids port 1 [;before ;next-one])
      (:signal process :term)
      (t/same 0 (:wait process) (process :err)))))

(t/test "a second supervisor does not take a unix socket from the first, and after its end it can"
  (def path (t/scratch "s.sock"))
  (def address (string "unix:" path))
  (defn answer [] (with [conn (net/connect :unix path)] (:write conn "GET / HTTP/1.0\r\n\r\n") (string (t/receive conn))))
  (with-program answering
    (fn [file]
      (def one (serve "-b" address "-w" 2 file))
      (wait-for one "listening on ")
      (def two (serve "-b" address file))
      (t/same 1 (ended two))
      (said two (string "cannot listen on " address))
      (t/check (string/has-prefix? "HTTP/1.1 200" (answer)) "the first one's answer")
      (ends one)
      (t/same nil (os/stat path))
      (def three (serve "-b" address file))
      (wait-for three "listening on ")
      (t/check (string/has-prefix? "HTTP/1.1 200" (answer)) "the third one's answer")
      # A supervisor that was killed leaves the file.
      (:signal three :kill)
      (:wait three)
      (t/wait-until "the end of its worker" |(not (first (protect (answer)))))
      (def four (serve "-b" address file))
      (wait-for four "listening on ")
      (t/check (string/has-prefix? "HTTP/1.1 200" (answer)) "the fourth one's answer")
      (ends four))))

(t/test "ps names the supervisor and its workers"
  (linux)
  (with-program answering
    (fn [file]
      (def [process port] (start "-w" 2 file))
      (defn name [pid] (string/trimr (slurp (string "/proc/" pid "/comm"))))
      (t/same "kqnet-serve" (name ((process :proc) :pid)))
      (t/same ["kqnet worker 1" "kqnet worker 2"] (tuple ;(sort (map name (pids port 2)))))
      (ends process))))

(t/test "after http/serve-forever has returned, SIGTERM ends the program, however often it came before"
  (with-program `(import kqnet/http) (http/serve-forever "x" "127.0.0.1" 0) (print "drained") (flush) (ev/sleep 1000)`
    (fn [file]
      (def process (t/start-janet file))
      (:line process)
      (repeat 3 (:signal process :term))
      (t/wait-until "the end of the drain" |(or (process :status) (string/find "drained" (process :out))))
      (unless (process :status) (:signal process :term))
      (t/check (not= 0 (:wait process)) "ended by the signal"))))

(t/test "launchd's sockets are asked for by name, which only macOS has"
  (with-program answering
    (fn [file]
      (def process (serve "--launchd" "Listeners" file))
      (t/same 1 (ended process))
      (said process "cannot get launchd's sockets Listeners")
      (def both (serve "--launchd" "Listeners" "-b" "8000" file))
      (t/same 2 (ended both))
      (said both "the sockets come from launchd or from --bind"))))

(t/finish)
