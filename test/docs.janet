###
### The docs are true.
###
### Every public function is documented, every snippet of the README and of docs/ runs or is accepted by the program that
### it is for, and every link leads somewhere.
###

(import ./support :as t)
(import ./support/markdown)
(import ./support/programs)

(def- from (t/need-spork))
(print "with " from)

(import kqnet)
(import kqnet/http)
(import kqnet/websocket)
(import kqnet/options)

(defn- path [& parts] (string t/project "/" ;parts))
(def- files (markdown/files))
(def- texts (tabseq [file :in files] file (slurp (path file))))
(def- snippets (mapcat markdown/snippets files))

(defn- none
  "Fails unless a list of mistakes is empty."
  [what wrong]
  (t/same [] wrong what))

(defn- where [{:file file :line line}] (string file ":" line))

###
### Docstrings
###

(defn- public
  "The public bindings of a module, as pairs of name and entry."
  [module]
  (sort-by first
           (seq [[name entry] :pairs (require module)
                 :when (and (symbol? name) (not (entry :private)))]
             [name entry])))

(def- ours
  "Public names as programs write them, with their entries: all of kqnet, and what kqnet/http adds to spork/http."
  (let [sporks (require "spork/http")
        value (fn [entry] (if-let [ref (entry :ref)] (in ref 0) (entry :value)))]
    [;(map (fn [[name entry]] [(string "kqnet/" name) entry]) (public "kqnet"))
     ;(seq [[name entry] :in (public "kqnet/http")
            :let [old (sporks name)]
            :unless (and old (= (value old) (value entry)))]
        [(string "http/" name) entry])
     ;(map (fn [[name entry]] [(string "websocket/" name) entry]) (public "kqnet/websocket"))]))

(def- docs (tabseq [[name entry] :in ours] name (or (entry :doc) "")))

(defn- signature
  "The parameters that a function's docstring begins with, and the text after them. What is not a function has no parameters."
  [docstring]
  (def [parameters text]
    (or (peg/match '(* "(" '(to ")\n\n") ")\n\n" '(any 1)) docstring) ["" docstring]))
  [(tuple/slice (string/split " " parameters) 1) text])

(t/test "this test finds the public names"
  (t/check (> (length ours) 15) (map first ours))
  (each name ["kqnet/server" "kqnet/drain" "http/server" "http/serve-forever" "http/static"]
    (t/check (docs name) name)))

(t/test "each public name of each module has a docstring"
  (none "undocumented"
        (seq [folder :in ["kqnet" "kqnet/http"]
              file :in (sort (os/dir (path "janet/" folder)))
              :when (string/has-suffix? ".janet" file)
              :let [module (string folder "/" (string/slice file 0 (- (inc (length ".janet")))))]
              # Loading it replaces core's functions.
              :unless (= module "kqnet/install")
              [name entry] :in (public module)
              :let [[_ text] (signature (or (entry :doc) ""))]
              :when (empty? (string/trim text))]
          (string module " " name))))

(defn- mentioned
  "A docstring, followed by the docstrings of the functions that it names."
  [docstring]
  (def names (peg/match ~(any (+ (* "`" '(some (+ :w (set "-/"))) "`") 1)) docstring))
  (string/join [docstring ;(seq [name :in names prefix :in ["" "kqnet/" "http/"]] (get docs (string prefix name) ""))] "\n"))

(t/test "each docstring mentions each parameter"
  (none "not mentioned"
        (seq [[name docstring] :in (sort (pairs docs))
              :let [[parameters] (signature docstring)
                    text (mentioned docstring)
                    named (find-index |(= "&named" $) parameters)]
              [i parameter] :pairs parameters
              :unless (or (string/has-prefix? "&" parameter) (has-value? ["args" "_"] parameter)
                          (empty? parameter))
              :let [mention (if (and named (> i named)) (string ":" parameter) parameter)]
              # The text, and not only the signature.
              :unless (string/find mention (string/slice text (or (string/find "\n" text) 0)))]
          [name parameter])))

(defn- options-of
  "The options of a function, taken from its error for an unknown option."
  [f & args]
  (def err (t/raised |(f ;args :no-such-option 1)))
  (def [names] (t/check (peg/match '(* (thru "the options are ") '(any 1)) err) err))
  (map |(string/trim $) (string/split "," names)))

(def- with-options
  {"kqnet/listen" (options-of kqnet/listen "127.0.0.1" 0)
   "kqnet/accept-loop" (options-of kqnet/accept-loop nil nil)
   "kqnet/server" (options-of kqnet/server "127.0.0.1" 0)
   "kqnet/drain" (options-of kqnet/drain nil nil)
   "http/ending" (options-of http/ending nil)
   "http/events" (options-of http/events nil nil)
   "http/gone?" (options-of http/gone? nil)
   "http/cancel-when-gone" (options-of http/cancel-when-gone nil)
   "kqnet/proxy-header" (options-of kqnet/proxy-header nil)
   "http/server" (options-of http/server nil)
   "http/serve-forever" (options-of http/serve-forever nil)
   "http/set-cookie" (options-of http/set-cookie {} "a" "b")
   "http/delete-cookie" (options-of http/delete-cookie {} "a")
   "http/redirect" (options-of http/redirect "/")
   "http/form" (options-of http/form nil)
   "http/parts" (options-of http/parts nil)
   "http/static" (options-of http/static t/project)
   "websocket/upgrade" (options-of websocket/upgrade nil nil)})

(t/test "a signature names each option instead of saying & args"
  (none "with & args" (filter |(string/find "& args)" (docs $)) (sort (keys docs))))
  (none "not in the signature"
        (seq [[name options] :in (sort (pairs with-options))
              :let [[parameters] (signature (docs name))
                    at (find-index |(= "&named" $) parameters)]
              option :in options
              :unless (and at (has-value? (slice parameters at) (string/slice option 1)))]
          [name option])))

(t/test "the modules themselves have docstrings"
  (each module ["kqnet" "kqnet/http" "kqnet/websocket"]
    (t/check (string? (get (require module) :doc)) module)))

(t/test "each option of each function is in its docstring, or in one that its docstring names"
  (none "not mentioned"
        (seq [[name options] :in (sort (pairs with-options))
              :let [text (mentioned (docs name))]
              option :in options
              :unless (string/find option text)]
          [name option])))

(t/test "docstrings say what raises an error, and what is in seconds"
  (each name ["kqnet/listen" "kqnet/accept" "kqnet/accept-loop" "kqnet/from-fd" "kqnet/activated" "http/server"
              "http/static"]
    (t/check (or (string/find "Raises" (docs name)) (string/find "raises" (docs name))) name))
  (each name ["kqnet/accept" "kqnet/drain" "http/server" "http/serve-forever" "websocket/upgrade"]
    (t/check (string/find "seconds" (docs name)) name)))

(t/test "the README names each public function and each option"
  (def readme (texts "README.md"))
  (none "public names"
        (seq [[name] :in ours
              :let [bare (last (string/split "/" name))]
              :unless (or (string/find (string "`" name) readme) (string/find (string "`" bare "`") readme))]
          name))
  (none "options"
        (seq [option :in (sort (distinct (mapcat identity (values with-options))))
              :unless (string/find (string "`" option "`") readme)]
          option)))

(def- table-rows
  "The rows of the README's table of options: for each row its options, the functions that have them, and their defaults."
  (peg/match ~{:name (* "`" (<- (* ":" (some (+ :w "-")))) "`" (any " "))
               :cell (* "| " (<- (to " |")) " ")
               :row (group (* "| " (group (some :name)) :cell (drop :cell) :cell "|"))
               :main (any (+ :row (* (to "\n") "\n")))}
             (texts "README.md")))

(t/test "the README's table gives each option for exactly the functions that have it"
  (def functions
    {"listen" "kqnet/listen" "accept-loop" "kqnet/accept-loop" "server" "kqnet/server" "drain" "kqnet/drain"
     "http" "http/server" "serve-forever" "http/serve-forever" "static" "http/static"
     "ending" "http/ending" "events" "http/events" "gone?" "http/gone?"
     "set-cookie" "http/set-cookie" "delete-cookie" "http/delete-cookie" "redirect" "http/redirect"
     "cancel-when-gone" "http/cancel-when-gone" "proxy-header" "kqnet/proxy-header"
     "form" "http/form" "parts" "http/parts"
     "upgrade" "websocket/upgrade"})
  (def told
    (seq [[options owners] :in table-rows owner :in (string/split ", " owners) option :in options]
      [(functions owner) option]))
  (def had
    (seq [[name options] :in (pairs with-options) option :in options
          # serve-forever has all options of server.
          :unless (and (= name "http/serve-forever") (has-value? (with-options "http/server") option))]
      [name option]))
  (t/same (sort had) (sort told)))

(defn- amount
  "A number as the docs write it: 10, 16 KiB, 1 MiB."
  [text]
  (def [number unit] (string/split " " text))
  (* (scan-number number) (case unit nil 1 "KiB" 1024 "MiB" 1048576)))

(t/test "the README and the docstrings give the actual defaults of the HTTP server"
  (def defaults (in (in (require "kqnet/http/server") 'defaults) :value))
  (def told
    (tabseq [[options owners text] :in table-rows
             :when (= owners "http")
             [option value] :in (map array options (string/split ", " text))
             :when (peg/match '(* :d+ (? (* " " (set "KM") "iB")) -1) value)]
      (keyword (string/slice option 1)) value))
  (t/same defaults (table/to-struct (tabseq [[option value] :pairs told] option (amount value))))
  (none "docstrings"
        (seq [[option value] :pairs told
              :let [[line] (peg/match ~(* (thru ,(string "* :" option " - ")) '(to (+ "\n  * " "\n\n"))) (docs "http/server"))]
              :unless (string/find (string "Default " value) line)]
          [option value line])))

###
### Snippets
###

(t/test "each block of code is found, and is in a language that is tested here"
  (each file files
    (def fences (length (string/find-all "\n```" (string "\n" (texts file)))))
    (t/same fences (* 2 (length (markdown/snippets file))) (string "fences in " file)))
  (none "languages"
        (seq [snippet :in snippets
              :unless (has-value? ["janet" "sh" "nginx" "haproxy" "ini" "xml" "text"] (snippet :language))]
          [(where snippet) (snippet :language)])))

(defn- of [language] (filter |(= language ($ :language)) snippets))

(defn- run-snippet
  "Runs a Janet snippet in its own process, on a free port."
  [snippet]
  (def folder (t/scratch "snippet"))
  (os/mkdir folder)
  (spit (string folder "/snippet.janet")
        (string (if (= "setup" (snippet :kind)) (snippet :value) "") "\n"
                (string/replace-all ` "127.0.0.1" 8000` ` "127.0.0.1" 0` (snippet :text))))
  (defer (t/remove folder)
    (with [process (t/start-janet (t/program "snippet") folder)]
      # The snippet may print its own lines.
      (var line nil)
      (while (not (has-value? ["serving" "evaluated"] line))
        (set line (:line process)))
      (when (= line "serving")
        # It serves until it is told to end.
        (:signal process :term)
        (t/same 0 (:wait process) (process :err)))
      (t/same "" (string (process :err)) "what it says on stderr"))))

(defn- need-imports
  "Skips the test if a module of spork that a snippet imports is missing, as those in C are for a Janet that spork does not know."
  [snippet]
  (each module (peg/match '(any (+ (* "(import " '(* "spork/" (some (+ :w (set "-/"))))) 1)) (snippet :text))
    (unless (first (protect (require module)))
      (t/skip (string module " cannot be imported: " from)))))

(each snippet (of "janet")
  (if (= "not run" (snippet :kind))
    (t/test (string "the Janet of " (where snippet) " can be parsed; it is not run: " (snippet :value))
      (t/check (not (empty? (parse-all (snippet :text)))) "forms"))
    (t/test (string "the Janet of " (where snippet) " runs")
      (need-imports snippet)
      (run-snippet snippet))))

(each snippet (of "sh")
  (t/test (string "the shell commands of " (where snippet) " can be parsed")
    (def file (t/scratch "snippet.sh"))
    (spit file (snippet :text))
    (defer (os/rm file)
      (def [status output] (programs/run "/bin/sh" "-n" file))
      (t/same 0 status output))))

(t/test "each cargo xtask command in the docs exists, with its options"
  (def usage (slurp (path "dev/xtask/src/main.rs")))
  (def commands
    (mapcat |(peg/match ~(any (+ (* "cargo xtask " '(some (+ :w "-")) '(to (+ (set "`\n#>|;()") -1))) 1)) $)
            [;(map texts files)]))
  (t/check (> (length commands) 4) commands)
  (none "unknown"
        (seq [[command rest] :in (partition 2 commands)
              word :in [(string "\n  " command " ")
                        ;(map |(string $ " ") (filter |(string/has-prefix? "--" $) (string/split " " rest)))]
              :unless (string/find word usage)]
          [command word])))

###
### Configurations
###

(defn- with-file
  "Calls a function with the path of a file that has this name and content."
  [name content f]
  (def folder (t/scratch "config"))
  (def file (string folder "/" name))
  (os/mkdir folder)
  (spit file content)
  (defer (t/remove folder)
    (f file)))

(defn- accepted
  "Fails unless a program accepts a file, whose path is the last of its arguments."
  [name content & command]
  (with-file name content
             (fn [file]
               (def [status output] (programs/run ;command file))
               (t/same 0 status output))))

(each snippet (of "nginx")
  (t/test (string "nginx accepts " (where snippet))
    (def [nginx] (programs/need "nginx"))
    (accepted "nginx.conf"
              (string "pid /dev/null;\nevents {}\nhttp {\naccess_log off;\n"
                      (string/replace "listen 80;" "listen 127.0.0.1:8080;" (snippet :text)) "}\n")
              nginx "-t" "-q" "-e" "stderr" "-c")))

(each snippet (of "haproxy")
  (t/test (string "HAProxy accepts " (where snippet))
    (def [haproxy] (programs/need "haproxy"))
    (def text (snippet :text))
    # The other parts that a whole configuration needs.
    (def defaults
      (string "defaults\n    mode http\n    timeout connect 5s\n    timeout client 5s\n    timeout server 5s\n"
              "frontend web\n    bind 127.0.0.1:8080\n    default_backend janet\n"))
    (accepted "haproxy.cfg"
              (cond
                (string/has-prefix? "defaults" text) text
                (string/has-prefix? "backend" text) (string defaults text)
                # These are lines of a section.
                (string defaults "backend janet\n" text))
              haproxy "-c" "-f")))

(t/test "systemd accepts the socket and the service"
  (def [systemd-analyze] (programs/need "systemd-analyze"))
  (def folder (t/scratch "units"))
  (os/mkdir folder)
  (def command "/usr/local/bin/kqnet-serve -b 127.0.0.1:8000 -w auto /srv/app/app.janet")
  (def alone (markdown/replaced (markdown/named "app.service") command "/bin/true" "User=app" "User=root"))
  (def with-socket (markdown/replaced alone "[Unit]\n" "[Unit]\nRequires=app.socket\n"))
  (spit (string folder "/app.socket") (markdown/named "app.socket"))
  (defer (t/remove folder)
    (each [service & units] [[alone "app.service"] [with-socket "app.socket" "app.service"]]
      (spit (string folder "/app.service") service)
      (def [status output] (programs/run systemd-analyze "verify" ;(map |(string folder "/" $) units)))
      (t/same 0 status output)
      (none "complaints" (filter |(string/find folder $) (string/split "\n" output))))))

(t/test "the options that deployment.md lists are those of kqnet-serve"
  (def options '(any (+ '(* "--" (some (+ :a "-"))) 1)))
  (def [_ usage] (programs/run (dyn *executable*) (path "bin/kqnet-serve") "--help"))
  (def [table] (peg/match '(* (thru "| option | meaning | default |\n") '(to "\n\n")) (texts "docs/deployment.md")))
  (def listed (mapcat |(peg/match options (first (string/split " | " $))) (string/split "\n" table)))
  (t/check (> (length listed) 10) usage)
  (t/same (sort (distinct (filter |(not= "--help" $) (peg/match options usage))))
          (sort (filter |(and (not= "--help" $) (peg/match '(* "--" :a) $)) listed))))

(t/test "the program for kqnet-serve listens by itself too, and takes a socket of systemd's under kqnet-serve"
  (def [activate] (programs/need "systemd-socket-activate"))
  (def socket (t/scratch "app.sock"))
  (with-file "app.janet" (markdown/replaced (markdown/named "served.janet") ` "127.0.0.1" 8000` "")
             (fn [file]
               (def process
                 (t/start activate "-l" socket "-E" (string "JANET_PATH=" (os/getenv "JANET_PATH"))
                          (dyn *executable*) (path "bin/kqnet-serve") "-w" "2" file))
               (defer (os/rm socket)
                 (t/wait-until "the socket" |(string/find "Listening on" (process :err)))
                 (with [conn (net/connect :unix socket)]
                   (:write conn "GET / HTTP/1.0\r\n\r\n")
                   (t/check (string/has-suffix? "\r\n\r\nHello!\n" (t/receive conn)) "its answer"))
                 (:signal process :term)
                 (t/same 0 (:wait process) (process :err))))))

(t/test "the program for systemd serves the socket that it is given"
  (def [activate] (programs/need "systemd-socket-activate"))
  (def path (t/scratch "app.sock"))
  (with-file "app.janet" (markdown/named "app.janet")
             (fn [file]
               (def process
                 # The program gets only these variables.
                 (t/start activate "-l" path "--fdname=app.socket" "-E" (string "JANET_PATH=" (os/getenv "JANET_PATH"))
                          (dyn *executable*) file))
               (defer (os/rm path)
                 (t/wait-until "the socket" |(string/find "Listening on" (process :err)))
                 (with [conn (net/connect :unix path)]
                   (:write conn "GET / HTTP/1.0\r\n\r\n")
                   (t/check (string/has-suffix? "\r\n\r\nHello!\n" (t/receive conn)) "its answer"))
                 (t/same (string "unix:" path) (:line process))
                 (:signal process :term)
                 (t/same 0 (:wait process) (process :err))))))

(t/test "the property list for launchd is well-formed, and has the name that the docs ask for"
  (def [python] (programs/need "python3"))
  (def program "import plistlib, sys; print(sorted(plistlib.load(open(sys.argv[1], 'rb'))['Sockets']))")
  (with-file "app.plist" (markdown/named "org.example.app.plist")
             (fn [file]
               (def [status output] (programs/run python "-c" program file))
               (t/same [0 "['Listeners']\n"] [status output]))))

###
### Links and first lines
###

(defn- anchor
  "The anchor of a heading."
  [heading]
  (string/join (peg/match '(any (+ '(+ :w (set "-_")) (/ " " "-") 1)) (string/ascii-lower heading))))

(defn- anchors
  [text]
  (map anchor (peg/match '(any (+ (* "\n" (some "#") " " '(to "\n")) 1)) (string "\n" text))))

(t/test "each link within the docs leads somewhere"
  (none "dead"
        (seq [file :in files
              target :in (peg/match '(any (+ (* "](" '(to ")") ")") 1)) (texts file))
              :unless (string/has-prefix? "https://" target)
              :let [[name at] (string/split "#" target)
                    folder (if (string/has-prefix? "docs/" file) "docs/" "")
                    to (if (empty? name) (path file) (path folder name))]
              :unless (and (os/stat to)
                           (or (nil? at) (has-value? (anchors (slurp to)) at)))]
          [file target])))

(t/test "each file and folder that the docs name exists"
  (def named
    ~(any (+ (* "`" '(* (+ "bin/" "bundle/" "crates/" "demo/" "dev/" "docs/" "examples/" "janet/" "src/" "test/")
                        (any (+ :w (set "./_-"))))
                "`")
             1)))
  (def found (seq [file :in files name :in (peg/match named (texts file))] [file name]))
  (t/check (> (length found) 30) "names of files")
  (none "missing" (filter (fn [[_ name]] (not (os/stat (path name)))) found)))

(defn- rust-files
  [folder]
  (def here (string/has-suffix? "/target" folder))
  (mapcat (fn [name]
            (def at (string folder "/" name))
            (cond
              (= :directory (os/stat at :mode)) (if (has-value? ["target" ".git" "build" "corpus"] name) [] (rust-files at))
              (string/has-suffix? ".rs" name) [at]
              []))
          (sort (os/dir folder))))

(t/test "each Rust file says in its first line what it is for"
  (def all (rust-files t/project))
  (t/check (> (length all) 30) "Rust files")
  (none "files"
        (filter |(not (peg/match '(* "//! " (if-not (set " \n") 1) (to " ")) (slurp $))) all)))

(t/test "each Janet file says in the first line of its banner, in a sentence, what it is for"
  (none "files"
        (seq [folder :in ["janet/kqnet" "janet/kqnet/http" "janet/kqnet/doctor" "examples" "demo" "test" "test/support"
                          "test/browser" "bundle" "."]
              name :in (sort (os/dir (path folder)))
              :when (string/has-suffix? ".janet" name)
              :let [text (slurp (path folder "/" name))]
              :unless (peg/match '(* "###\n### " (to (+ ".\n" "?\n" "\n")) (set ".?") "\n###") text)]
          (string folder "/" name))))

(t/finish)
