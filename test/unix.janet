###
### Unix sockets in the file system: when the file is removed, who may replace it, and its permissions.
###
### The permissions are checked at every moment.
###

(import ./support :as t)
(import kqnet)

(defn- ask
  "The answer of a server on a path, or the error of connecting."
  [path]
  (try
    (with [conn (net/connect :unix path)]
      (:write conn "hello")
      (string (:read conn 100)))
    ([err] (string err))))

(defn- mode [path] (os/lstat path :mode))

(defn- permissions [path] (os/lstat path :int-permissions))

(defmacro- with-path
  "Runs the body with a path at which there is nothing, and removes afterwards what is there."
  [name & body]
  ~(let [,name (,t/scratch "socket")]
     (defer (when (,os/lstat ,name) (,os/rm ,name))
       ,;body)))

(defn- dead-server
  "Leaves the file of a server that was killed, with this socket type."
  [path &opt kind]
  (with [server (t/start-forms ~[(import kqnet)
                                 (def l (kqnet/listen :unix ,path ,(or kind :stream)))
                                 (print "ready")
                                 (flush)
                                 (ev/sleep 600)])]
    (t/same "ready" (:line server))
    (:signal server :kill)
    (:wait server))
  (t/same :socket (mode path) "what a dead server leaves"))

(def- in-use "cannot listen on unix:%s: address already in use")

# The queue is made when it is first needed, and stays open.
(:close (kqnet/server "127.0.0.1" 0 t/echo))

# Which files may be replaced.

(t/test "the file of a dead server is replaced"
  (each listen [|(kqnet/server :unix $ t/echo) |(kqnet/server :unix $ t/echo :mode 8r600)
                (fn [path] (def l (kqnet/listen :unix path)) (ev/go (fn [] (kqnet/accept-loop l t/echo))) l)]
    (with-path path
      (dead-server path)
      (with [l (listen path)]
        (t/same "hello" (ask path)))
      (t/same nil (mode path)))))

(t/test "the file of a dead datagram server is replaced"
  (with-path path
    (dead-server path :datagram)
    (with [l (kqnet/server :unix path t/echo)]
      (t/same "hello" (ask path)))))

(t/test "the file of a living server is not replaced, and the server does not notice"
  (with-path path
    (var connections 0)
    (with [l (kqnet/server :unix path (fn [conn] (++ connections) (t/echo conn)))]
      (def before (os/lstat path :inode))
      (repeat 3
        (t/same (string/format in-use path) (t/raised |(kqnet/listen :unix path)))
        (t/same (string/format in-use path) (t/raised |(kqnet/server :unix path t/echo :mode 8r600))))
      (t/same "hello" (ask path))
      (t/same [before 1] [(os/lstat path :inode) connections]))))

(t/test "the file of a living server of core is not replaced"
  (unless (t/version-at-least? [1 38])
    (t/skip "older versions of core cannot listen on unix sockets if the system has no SO_REUSEPORT for them"))
  (with-path path
    (with [l (net/listen :unix path)]
      (t/same (string/format in-use path) (t/raised |(kqnet/listen :unix path))))))

(t/test "the file of a server in another process, or of one that accepts nobody, is not replaced"
  (with-path path
    (with [server (t/start-janet (t/program "holding") "server" ":unix" (string/format "%j" path))]
      (:line server)
      (t/same (string/format in-use path) (t/raised |(kqnet/listen :unix path)))))
  (with-path path
    (with [l (kqnet/listen :unix path :backlog 1)]
      # More clients than fit in its backlog: connecting would block, or say that it was refused. They are in another process,
      # since core closes the descriptor of a failed connect a second time when it collects the stream.
      (with [crowd (t/start-forms ~[(def waiting @[])
                                    (repeat 10
                                      (def [ok conn] (protect (net/connect :unix ,path)))
                                      (when ok (array/push waiting conn)))
                                    (print (length waiting))
                                    (flush)
                                    (ev/sleep 600)])]
        (t/check (< 0 (scan-number (:line crowd)) 10) "clients in the backlog, and some that do not fit")
        (t/same (string/format in-use path) (t/raised |(kqnet/listen :unix path)))))))

(t/test "the file of a living datagram server is not replaced"
  (with-path path
    (with [l (kqnet/listen :unix path :datagram)]
      (t/same (string/format in-use path) (t/raised |(kqnet/listen :unix path)))
      (t/same :socket (mode path)))))

(t/test "what is not a socket stays as it is"
  (def kinds
    {:file [|(spit $ "precious") |(t/same "precious" (string (slurp $)))]
     :directory [os/mkdir |(t/same :directory (mode $))]
     :link-to-nothing [|(os/symlink "/no-such-file" $) |(t/same "/no-such-file" (os/readlink $))]})
  (eachp [kind [make intact]] kinds
    (with-path path
      (make path)
      (each options [[] [:mode 8r666]]
        (def err (t/raised |(kqnet/listen :unix path ;options)))
        # macOS follows the link, and reports that there can be no file.
        (if (and (= kind :link-to-nothing) (= :macos (os/which)))
          (t/check (string/has-prefix? (string "cannot listen on unix:" path ": ") err) err)
          (t/same (string/format in-use path) err))
        (intact path))
      (t/same (if (= kind :file) 0) (if (= kind :file) (band 8r111 (permissions path)))))))

(t/test "a link to the file of a dead server stays, and so does the file"
  (with-path path
    (with-path link
      (dead-server path)
      (os/symlink path link)
      (t/same (string/format in-use link) (t/raised |(kqnet/listen :unix link)))
      (t/same [:socket :link] [(mode path) (mode link)]))))

(defn- race
  "Starts processes that listen on a path at the same time. Returns what each prints, and who answers there."
  [path count options]
  (defn program [name]
    ~[(import kqnet)
      (def name ,name)
      (print "ready")
      (flush)
      (file/read stdin :all)
      (match (protect (kqnet/server :unix ,path (fn [conn] (defer (:close conn) (:read conn 100) (:write conn name))) ,;options))
        [true l] (print name)
        [false err] (print err))
      (flush)
      # The process runs until the test ends it.
      (ev/sleep 600)])
  (def gate (string path "-gate"))
  (t/same 0 (os/execute ["mkfifo" gate] :p))
  (defer (os/rm gate)
    # While this process has the pipe open, no other process sees its end.
    (def holder (t/start "sh" "-c" `exec sleep 600 > "$0"` gate))
    (def servers
      (seq [i :range [0 count]]
        (t/start "sh" "-c" `gate=$1; shift; exec "$0" "$@" < "$gate"` (dyn *executable*) gate
                 "-e" (t/source (program (string i))))))
    (each server servers (t/same "ready" (:line server)))
    (:close holder)
    (def said (map |(:line $) servers))
    (def answer (ask path))
    (each server servers (:close server))
    [said answer]))

(t/test "if servers start at once on the file of a dead one, exactly one wins"
  (each options [[] [:mode 8r600]]
    (repeat 5
      (with-path path
        (dead-server path)
        (def [said answer] (race path 6 options))
        (t/same {(string/format in-use path) 5 answer 1} (table/to-struct (frequencies said)))))))

(t/test "if servers start at once where there is no file, exactly one wins"
  (repeat 3
    (with-path path
      (def [said answer] (race path 6 []))
      (t/same {(string/format in-use path) 5 answer 1} (table/to-struct (frequencies said))))))

(t/test "if somebody keeps the folder locked, a server can still start"
  (unless (zero? (os/execute ["sh" "-c" "command -v flock >/dev/null"] :p)) (t/skip "there is no flock command"))
  (def folder (t/scratch "folder"))
  (os/mkdir folder)
  (def path (string folder "/socket"))
  (defer (do (when (mode path) (os/rm path)) (os/rmdir folder))
    (dead-server path)
    (with [locker (t/start "flock" folder "sh" "-c" "echo locked; sleep 60")]
      (t/same "locked" (:line locker))
      (with [l (kqnet/server :unix path t/echo)]
        (t/same "hello" (ask path))))))

# When the file is removed.

(def- looped
  "The ways to have a listener on which a loop runs."
  {"server" (fn [path] (kqnet/server :unix path t/echo))
   "accept-loop" (fn [path]
                   (def l (kqnet/listen :unix path))
                   (ev/go (fn [] (kqnet/accept-loop l t/echo)))
                   l)
   "accept" (fn [path]
              (def l (kqnet/listen :unix path))
              (ev/go (fn [] (while (def conn (kqnet/accept l)) (t/echo conn))))
              l)})

(eachp [name listen] looped
  (t/test (string name ": the file is removed, however the listener is closed")
    (each close [|(:close $) ev/close net/close kqnet/drain]
      (with-path path
        (def l (listen path))
        (t/same "hello" (ask path))
        (t/same :socket (mode path))
        (close l)
        (t/same nil (mode path))))))

(t/test "if nobody accepts from a listener, its file is removed when it is closed or drained"
  (each close [|(:close $) ev/close net/close kqnet/drain]
    (with-path path
      (close (kqnet/listen :unix path))
      (t/same nil (mode path)))))

(t/test "the file of a datagram socket is removed, however the socket is closed"
  (each close [|(:close $) ev/close net/close]
    (with-path path
      (def l (kqnet/listen :unix path :datagram))
      (t/same :socket (mode path))
      (close l)
      (t/same nil (mode path)))))

(defn- in-another-process
  "Starts a server on a path."
  [path]
  (def server (t/start-forms ~[(import kqnet)
                               (def l (kqnet/server :unix ,path
                                                    (fn [conn]
                                                      (defer (:close conn)
                                                        (:write conn (:read conn 100))))))
                               (print "ready")
                               (flush)]))
  (t/same "ready" (:line server))
  server)

(t/test "a successor's file stays, whatever happens to the closed listener"
  (each kind [:stream :datagram]
    (each close [|(:close $) ev/close net/close]
      (with-path path
        # No variable refers to the listener, so it is collected below.
        (ev/take (t/background (fn [] (close (kqnet/listen :unix path kind)) nil)))
        # This is what happens when somebody restarts a server.
        (when (mode path) (os/rm path))
        (with [server (in-another-process path)]
          (repeat 3 (gccollect) (ev/sleep 0))
          (t/same "hello" (ask path)))))))

(t/test "the file stays when a forked child ends or closes the listener"
  (each end ['(os/exit 0) '(:close l) '(ev/close l) '(kqnet/drain l) '(do (set l nil) (gccollect))]
    (with-path path
      (with [server (t/start-forms ~[(import kqnet)
                                     (var l (kqnet/listen :unix ,path))
                                     (def child (os/posix-fork))
                                     (unless child
                                       ,end
                                       (os/exit 0 true))
                                     (os/proc-wait child)
                                     (print (os/lstat ,path :mode))
                                     (:close l)
                                     (print (os/lstat ,path :mode))
                                     (flush)])]
        (t/same "socket" (:line server) (string/format "%q" end))
        (t/same "" (:line server))))))

(t/test "no file is left if there is no descriptor for the stream's queue"
  (with-path path
    (with [program (t/start-forms
                     ~[(import kqnet)
                       (def fillers @[])
                       (while (def filler (try (file/open "/dev/null") ([_] nil)))
                         (array/push fillers filler))
                       (def results @[])
                       (var l nil)
                       (while (not l)
                         (:close (array/pop fillers))
                         (try
                           (set l (kqnet/listen :unix ,path))
                           ([err] (array/push results (os/lstat ,path :mode))))
                         # These are the descriptors of streams that were made in vain.
                         (gccollect))
                       (print (> (length results) 1) " " (all nil? results))
                       (flush)])]
      (t/same "true true" (:line program)))))

(t/test "the file of a collected listener is removed"
  (with-path path
    (ev/take (t/background (fn [] (kqnet/listen :unix path) nil)))
    (t/settles nil |(mode path) "the file")))

(t/test "the file is removed even if the program has changed its current folder"
  (def folder (t/scratch "folder"))
  (os/mkdir folder)
  (def before (os/cwd))
  (defer (do (os/cd before) (os/rmdir folder))
    (os/cd folder)
    (each close [|(:close $) kqnet/drain]
      (def l (kqnet/server :unix "socket" t/echo))
      (t/same "hello" (ask (string folder "/socket")))
      (os/cd "/")
      (close l)
      (t/same nil (mode (string folder "/socket")))
      (os/cd folder))))

(t/test "a file that another server has put in its place stays"
  (each close [|(:close $) ev/close kqnet/drain]
    (with-path path
      (def old (kqnet/server :unix path t/echo))
      (os/rm path)
      (with [new (kqnet/server :unix path t/echo)]
        (close old)
        (t/same :socket (mode path))
        (t/same "hello" (ask path)))
      (t/same nil (mode path)))))

(t/test "a file that somebody has put in its place stays"
  (with-path path
    (def l (kqnet/server :unix path t/echo))
    (os/rm path)
    (spit path "precious")
    (:close l)
    (t/same "precious" (string (slurp path)))))

(t/test "a file that is already gone is not an error"
  (with-path path
    (def l (kqnet/server :unix path t/echo))
    (os/rm path)
    (:close l)
    (t/same nil (mode path))))

(t/test "closing twice does not remove the file of the next server"
  (with-path path
    (def old (kqnet/server :unix path t/echo))
    (:close old)
    (with [new (kqnet/server :unix path t/echo)]
      (:close old)
      (kqnet/drain old)
      (t/same "hello" (ask path)))))

(t/test "if listening fails, no file is left"
  (with-path path
    (t/same (string "kqnet/listen: :backlog must be a positive integer, got 0")
            (t/raised |(kqnet/listen :unix path :backlog 0)))
    (t/same nil (mode path))))

(t/test "an abstract name has no file"
  (unless t/linux? (t/skip "abstract names are Linux's"))
  (def name (string "@" (last (string/split "/" (t/scratch "name")))))
  (t/same (string "cannot listen on unix:" name
                  ": :mode applies only to the file of a unix socket, which an abstract name does not have")
          (t/raised |(kqnet/listen :unix name :mode 8r600)))
  (with [l (kqnet/server :unix name t/echo)]
    (t/same nil (os/lstat name))
    # Older versions of Janet pad the name with NUL when they connect.
    (when (t/version-at-least? [1 38]) (t/same "hello" (ask name)))
    (t/same (string/format in-use name) (t/raised |(kqnet/listen :unix name)))))

# Permissions.

(defn- listen-under
  "A program that listens with modes under a umask, and prints the permissions, and the umask at the end."
  [path umask modes]
  ~[(import kqnet)
    (os/umask ,umask)
    (def path ,path)
    (each mode [,;modes]
      (def l (kqnet/listen :unix path ;(if (= :none mode) [] [:mode mode])))
      (prin (string/format "%o " (os/lstat path :int-permissions)))
      (:close l))
    (printf "%o" (os/umask 0))
    (flush)])

(t/test ":mode is exact whatever the umask is, and the umask is the same afterwards"
  (each umask [0 8r22 8r77 8r777]
    (with-path path
      (with [program (t/start-forms (listen-under path umask [8r600 8r660 8r666 8r777 8r000 8r111 8r640 :none]))]
        (t/same (string/format "600 660 666 777 0 111 640 %o %o" (band 8r777 (bnot umask)) umask)
                (:line program))
        (t/same 0 (:wait program))))))

(t/test "the file has its permissions from the moment that it appears"
  # This looks as often as it can; the next test proves it by the system calls.
  (with-path path
    (with [program (t/start-forms
                     ~[(import kqnet)
                       (os/umask 0)
                       (print "ready")
                       (flush)
                       (forever
                         (:close (kqnet/listen :unix ,path :mode 8r600))
                         (:close (kqnet/listen :unix ,path :mode 8r640)))])]
      (t/same "ready" (:line program))
      (def seen @{})
      (t/wait-until "many looks"
                    (fn []
                      (repeat 1000 (when-let [found (permissions path)] (put seen found (inc (get seen found 0)))))
                      (> (min (get seen 8r600 0) (get seen 8r640 0)) 200)))
      (t/same [8r600 8r640] (sort (keys seen))))))

(defn- calls
  "The system calls of a listening program that concern permissions, as pairs of name and arguments. Nil without strace."
  [path umask mode]
  (def log (t/scratch "calls"))
  # Newer versions of Linux have fchmodat2, which strace may not know.
  (def script `command -v strace >/dev/null && exec strace -f -o "$0" -e "trace=umask,fchmod,bind,chmod,fchmodat,?fchmodat2,listen" "$@"`)
  (with [program (t/start "sh" "-c" script log (dyn *executable*) "-e" (t/source (listen-under path umask [mode])))]
    (defer (when (os/stat log) (os/rm log))
      (when (zero? (:wait program))
        (def line '(* :d+ :s+ '(to "(") '(to "=")))
        # Leaves out the calls for the folder to which the file is moved for its removal.
        (filter |(and $ (not (string/find "/.kqnet-" (last $))))
                (map |(peg/match line $) (string/split "\n" (slurp log))))))))

(t/test "files that other threads create at the same time have the permissions that they ask for"
  (with-path path
    (with [program (t/start-forms
                     ~[(import kqnet)
                       (os/umask 8r22)
                       (def seen (ev/thread-chan 1))
                       (def other ,(string path "-other"))
                       (ev/thread
                         (fn [[seen other]]
                           (def permissions @{})
                           (repeat 3000
                             (:close (file/open other :w))
                             (put permissions (os/stat other :int-permissions) true)
                             (os/rm other))
                           (ev/give seen (sort (keys permissions))))
                         [seen other] :n)
                       (def waiting (ev/go (fn [] (print ;(map |(string/format "%o " $) (ev/take seen))))))
                       (while (fiber/can-resume? waiting)
                         (each mode [8r660 8r600 8r777]
                           (:close (kqnet/listen :unix ,path :mode mode)))
                         (ev/sleep 0))
                       (flush)])]
      (t/same "644 " (:line program)))))

(t/test "the system calls that make the file never give it wider permissions"
  (unless t/linux? (t/skip "this test reads the system calls of Linux"))
  (when (= :kqueue (kqnet/backend))
    (t/skip "on systems with kqueue, a child with its own umask makes the file"))
  (each [umask mode names] [[0 8r600 ["fchmod" "bind" "listen"]]
                            [8r22 8r600 ["fchmod" "bind" "listen"]]
                            # The umask takes the group's permissions away, and :mode gives them back.
                            [8r22 8r660 ["fchmod" "bind" "chmod" "listen"]]]
    (with-path path
      (def seen (or (calls path umask mode) (t/skip "there is no working strace")))
      (defn change? [[name]] (string/find "chmod" name))
      (def [umasks ours] [(filter |(= "umask" (first $)) seen) (filter |(not= "umask" (first $)) seen)])
      (t/same 2 (length umasks) "calls of umask, both the program's")
      (t/same names (map |(if (and (change? $) (not= "fchmod" (first $))) "chmod" (first $)) ours))
      (each [name rest] (filter change? ours)
        (t/check (string/find (string/format "0%o" mode) rest) (string "the mode itself in " name rest))))))

(t/test "the error for a wrong :mode names it with its value, and nothing is opened"
  (with-path path
    (gccollect)
    (def before (t/descriptors))
    (each value [-1 8r1000 0.5 "600" :private math/nan]
      (each [who call] [["kqnet/listen" kqnet/listen] ["kqnet/server" |(kqnet/server ;(take 2 $&) t/echo ;(drop 2 $&))]]
        (t/same (string/format "%s: :mode must be file permissions, an integer from 0 to 8r777, got %q" who value)
                (t/raised |(call :unix path :mode value)))
        (t/same [before nil] [(t/descriptors) (mode path)])))))

(t/finish)
