###
### The command line of kqnet-serve.
###

(import ./address)

(def usage
  ```
  usage: kqnet-serve [OPTION...] PROGRAM [ARGUMENT...]

  Opens the listening sockets, and runs PROGRAM, a Janet file or an executable, in worker processes that share them.

    -b, --bind ADDRESS    127.0.0.1:8000 (the default), [::1]:8000, 8000 or unix:/run/app.sock; may be repeated
    -w, --workers NUMBER  how many workers, or auto for as many as there are processors; default 1
    -l, --load MODULE     load a module before the program, as janet -l does: kqnet/install for programs on net/server
        --mode PERMISSIONS       of the file of a unix socket, in octal, such as 660
        --backlog NUMBER         how many connections may wait to be accepted
        --launchd NAME           serve the sockets of this name in launchd's property list; systemd's are found without a name
        --chdir FOLDER           run the program in a folder, whose path is followed anew for each worker
        --pid FILE               write the supervisor's process id to a file
        --start-timeout SECONDS  how long a worker may take until it accepts connections; default 60
        --stop-timeout SECONDS   how long a worker may take to end before it is killed; default 60
        --reload                 for development: one worker, replaced whenever a file that it has loaded changes
        --live                   the same, and pages in browsers load themselves again, also when their files change
    -h, --help

  Signals: HUP replaces all workers, the new ones first; TTIN and TTOU add and remove one; TERM and INT end all gracefully, and
  at once if they come again.
  ```)

(defn- fail [& parts] (error (string ;parts)))

(defn- whole-number
  [name text least]
  (def n (scan-number text))
  (unless (and n (= n (math/floor n)) (>= n least) (<= n 1e6))
    (fail name " takes a whole number of at least " least ", not " (string/format "%q" text)))
  n)

(defn- seconds
  [name text]
  (def n (scan-number text))
  (unless (and n (pos? n) (<= n 1e9))
    (fail name " takes a number of seconds, not " (string/format "%q" text)))
  n)

(defn- permissions
  [name text]
  (def n (if (peg/match '(* (between 1 4 (range "07")) -1) text) (scan-number text 8)))
  (unless (and n (<= n 8r777))
    (fail name " takes permissions in octal, such as 660, not " (string/format "%q" text)))
  n)

(defn- folder
  [text]
  (unless (= :directory (os/stat text :mode))
    (fail "there is no folder " text))
  text)

(defn- check-program
  "Refuses a program that no worker could run."
  [path folder]
  (case (os/stat (if (and folder (not (string/has-prefix? "/" path))) (string folder "/" path) path) :mode)
    nil (fail "there is no program " path (if folder (string " in " folder) ""))
    :directory (fail path " is a folder, and no program")))

(def- readers
  "For each option with a value: its key, and a function of the option's name and the text of the value."
  {"-b" [:bind (fn [_ text] (address/parse text))]
   "-w" [:workers (fn [name text] (if (= text "auto") :auto (whole-number name text 1)))]
   "-l" [:load (fn [_ text] text)]
   "--mode" [:mode permissions]
   "--backlog" [:backlog (fn [name text] (whole-number name text 1))]
   "--launchd" [:launchd (fn [_ text] text)]
   "--chdir" [:chdir (fn [_ text] (folder text))]
   "--pid" [:pid (fn [_ text] text)]
   "--start-timeout" [:start-timeout seconds]
   "--stop-timeout" [:stop-timeout seconds]})

(def- long-names {"--bind" "-b" "--workers" "-w" "--load" "-l" "--help" "-h"})

(def- repeated "The options that may be given several times." [:bind :load])

(defn parse
  ``Reads the arguments of the program. Returns a table: :bind and :load are arrays, :command is an array of the program and
  its arguments, and :help is true if help was asked for. Raises an error, a text for the user, if they are wrong.``
  [args]
  (def opts @{:bind @[] :load @[] :workers 1 :start-timeout 60 :stop-timeout 60})
  (var rest args)
  (while (and (not (empty? rest)) (string/has-prefix? "-" (first rest)))
    (def [given attached] (string/split "=" (first rest) 0 2))
    (def [text joined?]
      (if (string/has-prefix? "--" given) [given attached] [(first rest) nil]))
    (def name (get long-names text text))
    (set rest (slice rest 1))
    (cond
      (= name "--") (break)
      (= name "-h") (put opts :help true)
      (= name "--reload") (put opts :reload true)
      (= name "--live") (do (put opts :reload true) (put opts :live true))
      (let [[key read] (or (readers name) (fail "there is no option " text))
            value (or joined? (get rest 0) (fail text " needs a value"))]
        (unless joined? (set rest (slice rest 1)))
        (def value (read text value))
        (if (has-value? repeated key)
          (array/push (opts key) value)
          (put opts key value)))))
  (put opts :command rest)
  (unless (opts :help)
    (when (empty? rest)
      (fail "which program? kqnet-serve --help says how it is used"))
    (when (and (opts :launchd) (not (empty? (opts :bind))))
      (fail "the sockets come from launchd or from --bind, not from both"))
    (when (and (opts :reload) (not= 1 (opts :workers)))
      (fail "--reload and --live are for one worker"))
    (when (and (opts :mode) (not (some |(= :unix (first $)) (opts :bind))))
      (fail "--mode is for the file of a unix socket: give one with -b unix:PATH"))
    (check-program (first rest) (opts :chdir)))
  opts)
