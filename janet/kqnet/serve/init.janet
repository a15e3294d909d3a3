###
### kqnet-serve: opens listening sockets, and keeps workers running that serve them.
###

(import ../_native :as native)
(import ../init :as kqnet)
(import ../inherited)
(import ./fleet)
(import ./notify)
(import ./options)
(import ./watch)

(defn- say
  "Tells the operator something."
  [text]
  (native/say (string "kqnet-serve: " text)))

(defn- open-listeners
  "Returns held listeners: those that launchd or systemd passed, or new ones."
  [{:bind bind :backlog backlog :mode mode :launchd launchd}]
  (def variables ["LISTEN_PID" "LISTEN_FDS" "LISTEN_FDNAMES"])
  (def passed (if launchd (native/passed launchd) (native/passed nil ;(map os/getenv variables))))
  (each variable variables (os/setenv variable nil))
  (if (and (empty? bind) (not (empty? passed)))
    (map (fn [[_ fd]] (native/hold-passed fd)) passed)
    (seq [[host port] :in (if (empty? bind) [["127.0.0.1" 8000]] bind)]
      (native/hold host port {:backlog backlog
                              :mode (if (= host :unix) mode)
                              :nodelay (not= host :unix)}))))

(def- inexactness
  "By how many seconds a sleep may end too early, since Janet counts whole milliseconds. Nothing would be due yet then."
  0.003)

(defn- make-timer
  ``Returns a function that has `events` given [:time] after some seconds. A wait that could be cut short would lose an event
  that comes at the same moment, so a task of its own sleeps.``
  [events]
  (var next-time math/inf)
  (fn wake-in [seconds]
    (def at (+ seconds (os/clock :monotonic)))
    # One that comes earlier will do: there will be another then.
    (when (< at next-time)
      (set next-time at)
      (ev/go (fn timer []
               (ev/sleep (+ seconds inexactness))
               (when (= at next-time) (set next-time math/inf))
               (ev/give events [:time]))))))

(defn- make-live
  ``Returns what tells the pages in browsers (serve/live.janet): :board, the memory from which workers read it, and functions that
  say that a file has changed, and that a version does not start or, with nil, that it does.``
  []
  (def board (native/make-board))
  (var changes 0)
  (var problem "")
  (defn write [] (native/write-board board (string changes "\n" problem)))
  (write)
  {:board board
   :change (fn [] (++ changes) (write))
   :problem (fn [words] (set problem (or words "")) (write))})

(defn- folder-of
  "Returns the folder of a path."
  [path]
  (def parts (slice (string/split "/" path) 0 -2))
  (if (empty? parts) "." (string (string/join parts "/") (if (= [""] (tuple ;parts)) "/" ""))))

(defn- source? [path] (or (string/has-suffix? ".janet" path) (string/has-suffix? ".jdn" path)))

(def- stand-in
  "The program that answers while there is none that starts."
  (string (folder-of (dyn *current-file*)) "/problem.janet"))

(defn- same-folder?
  [& paths]
  (= ;(map |(if-let [{:dev dev :inode inode} (os/stat $)] [dev inode] $) paths)))

(defn- enter
  ``Enters the folder of --chdir, and returns the path by which workers enter it: a symbolic link in it may lead to another folder by
  then. Without the option, that is the path by which a shell has entered the current folder, or nil if nobody knows it.``
  [folder]
  (if folder
    (let [path (if (string/has-prefix? "/" folder) folder (string (os/cwd) "/" folder))]
      (os/cd path)
      (os/setenv "PWD" path)
      path)
    (let [path (os/getenv "PWD" "")]
      (if (and (string/has-prefix? "/" path) (same-folder? path ".")) path))))

(defn- listen-to-signals
  ``Has `events` given [:reload], [:stop] or [:signal name] for the signals of this process. SIGHUP also comes when a terminal is closed.
  That ends a program that somebody develops in the terminal, unless nohup has started it.``
  [events developing?]
  (def terminal? (and developing? (native/terminal?) (not (native/ignores-hang-up?))))
  (defn hang-up []
    (if terminal?
      (ev/go (fn hang-up []
               # The shell that ends with its terminal sends the signal before the system takes the terminal away.
               (ev/sleep 0.1)
               (ev/give events (if (native/terminal?) [:reload] [:terminal-closed]))))
      (ev/give events [:reload])))
  (os/sigaction :hup hang-up)
  (each signal [:int :term] (os/sigaction signal (fn [] (ev/give events [:stop]))))
  (each signal [:chld :ttin :ttou] (os/sigaction signal (fn [] (ev/give events [:signal signal])))))

(defn- supervise
  "Runs workers until they have ended for good, in the folder of this path. Returns the exit status."
  [opts held folder]
  (def events (ev/chan 1024))
  (listen-to-signals events (opts :reload))
  (def live (if (opts :live) (make-live)))
  (def [shared? memory] (protect (native/share-memory)))
  (unless shared? (say (string memory "; each worker counts for itself")))
  (def watcher
    (if (opts :reload)
      (watch/start (folder-of (first (opts :command)))
                   (if live (fn [_] true) source?)
                   (fn [paths] (ev/give events [:changed paths]))
                   say)))
  (when watcher
    (def program (first (opts :command)))
    ((watcher :file) 0 (os/realpath program) (native/file-version program)))
  (defn loaded [number kind path version]
    (case kind
      :file ((watcher :file) number path version)
      # Only pages in browsers want to know of the files in it.
      :folder (when live ((watcher :folder) path))))
  (def workers (fleet/make {:memory (if shared? memory)
                            :board (if live (live :board))
                            :on-loaded (if watcher loaded)
                            :on-problem (cond live (live :problem) (opts :reload) (fn [_]))
                            :keeps-words (opts :reload)
                            :stand-in (if live [stand-in])
                            :size (if (= :auto (opts :workers)) (os/cpu-count 1) (opts :workers))
                            :command (opts :command)
                            :load (opts :load)
                            # Those of --reload run where the files are watched.
                            :folder (unless (opts :reload) folder)
                            :asked-for-folder (opts :chdir)
                            :start-timeout (opts :start-timeout)
                            :stop-timeout (opts :stop-timeout)
                            :held held
                            :events events
                            :say say}))
  (def wake-in (make-timer events))
  (var told false)
  (var reloading false)
  (var asked-to-stop nil)
  (defn tell-manager []
    (when (and (not told) (workers :ever-ready))
      (set told true)
      (each one held (say (string "listening on " (native/held-name one))))
      (notify/send "READY=1" (string "MAINPID=" (native/process-id))))
    (defn end-reload [status]
      (set reloading false)
      (notify/send "READY=1" (string "STATUS=" status)))
    (cond
      (not reloading) nil
      (not (fleet/newest? workers)) (end-reload "the new version did not start; the old workers go on")
      (fleet/complete? workers) (do
                                  (say "the workers are replaced")
                                  (end-reload ""))))
  (defn reload []
    (unless (workers :stopping)
      (say "replacing the workers")
      (when told
        (set reloading true)
        (notify/send "RELOADING=1" (string/format "MONOTONIC_USEC=%.0f" (* 1e6 (os/clock :monotonic)))))
      (fleet/replace workers)))
  (defn stop [why]
    (unless (workers :stopping)
      (say why)
      (notify/send "STOPPING=1"))
    (fleet/stop workers))
  (defn files-changed [paths]
    (if-let [path (find |(or (source? $) ((watcher :loaded?) $)) paths)]
      (do
        (say (string path " has changed"))
        (fleet/replace workers))
      ((live :change))))
  (fleet/balance workers)
  (while (not (and (workers :stopping) (empty? (workers :workers))))
    (when-let [seconds (fleet/next-time workers)] (wake-in seconds))
    (match (ev/take events)
      [:time] (fleet/watch-time workers)
      [:ready worker] (fleet/ready workers worker)
      [:without worker] (fleet/without workers worker)
      [:ended worker status] (fleet/ended workers worker status)
      [:changed paths] (files-changed paths)
      [:reload] (reload)
      [:terminal-closed] (unless asked-to-stop
                           (set asked-to-stop (os/clock :monotonic))
                           (stop "the terminal was closed; stopping"))
      [:stop] (cond
                (nil? asked-to-stop) (do
                                       (set asked-to-stop (os/clock :monotonic))
                                       (stop "stopping"))
                (inherited/another-signal? asked-to-stop) (do
                                                            (say "stopping now")
                                                            (fleet/kill workers)))
      [:signal :chld] (fleet/reap workers)
      [:signal :ttin] (fleet/resize workers 1)
      [:signal :ttou] (fleet/resize workers -1))
    (tell-manager))
  (workers :status))

(defn- with-standard-descriptors
  ``Starts this program anew if it was started without stdin, stdout or stderr. Janet has opened something of its own under such a number,
  and what a worker writes to stdout would end up in that.``
  []
  (def missing (native/missing-descriptors))
  (unless (empty? missing)
    (def opened (string/join (map |(string $ "<>/dev/null") missing) " "))
    (os/posix-exec ["sh" "-c" (string `exec "$@" ` opened) "sh" (dyn *executable*) ;(dyn *args*)] :p)))

(defn run
  "Runs the program with its arguments. Returns the exit status."
  [args]
  (def [parsed? opts] (protect (options/parse args)))
  (cond
    (not parsed?) (do (say opts) 2)
    (opts :help) (do (print options/usage) 0)
    (try
      (do
        (with-standard-descriptors)
        (native/name-process "kqnet-serve")
        (native/reset-signals)
        # That of a supervisor that this one was started under is not for these workers.
        (each variable ["KQNET_LIVE" "KQNET_LOADED"] (os/setenv variable nil))
        (def folder (enter (opts :chdir)))
        # The files of sockets and of --pid may have relative paths.
        (def [_ home] (protect (os/cwd)))
        (def held (open-listeners opts))
        (defer (each one held (native/release-held one))
          (def pid-file (if-let [path (opts :pid)] (native/claim-pid-file path)))
          (defer (when pid-file (native/remove-pid-file pid-file))
            (defer (protect (os/cd home))
              (supervise opts held folder)))))
      ([err]
        (say err)
        1))))
