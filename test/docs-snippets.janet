###
### Every snippet of the README and of docs/ is put into a file as it stands and runs, or is accepted by the program that it is for.
###

(import ./support :as t)
(import ./support/markdown :prefix "")
(import ./support/programs)

(def- from (t/need-spork))
(print "with " from)

(defn- path [& parts] (string t/project "/" ;parts))

# The examples in docstrings are parts of programs.
(def- found (mapcat snippets (filter |(not= "docs/api.md" $) (files))))

###
### Snippets
###

(t/test "each block of code is found, and is in a language that is tested here"
  (each file (files)
    (def fences (length (string/find-all "\n```" (string "\n" (texts file)))))
    (t/same fences (* 2 (length (snippets file))) (string "fences in " file)))
  (none "languages"
        (seq [snippet :in found
              :unless (has-value? ["janet" "sh" "nginx" "haproxy" "ini" "xml" "text"] (snippet :language))]
          [(where snippet) (snippet :language)])))

(defn- of [language] (filter |(= language ($ :language)) found))

(defn- with-snippet
  ``Puts a Janet snippet into a file of an empty folder as it stands, together with the modules that its page has told to save, and
  starts it there. Calls a function with the process, and with the port once it serves, or nil if it has ended without serving.``
  [{:file page :text text} f]
  (def folder (t/scratch "snippet"))
  (os/mkdir folder)
  (each {:kind kind :value name :text module} (snippets page)
    (when (and (= kind "file") (string/has-suffix? ".janet" name))
      (spit (string folder "/" name) module)))
  (spit (string folder "/snippet.janet") (slurp (t/program "snippet")))
  (spit (string folder "/program.janet") text)
  (defer (t/remove folder)
    (with [process (t/start "sh" "-c" `cd "$0" && exec "$@"` folder (dyn *executable*) "-l" "./snippet" "program.janet")]
      # The snippet may print its own lines.
      (def serving ~(* (thru "serving ") (number (some :d)) "\n"))
      (t/wait-until "its end, or that it serves" |(or (process :out-ended) (peg/match serving (process :out))))
      (f process (first (or (peg/match serving (process :out)) []))))))

(defn- run-snippet
  "Fails unless a Janet snippet runs as it stands: to its end, or until it serves and, if it says so, ends on SIGTERM."
  [snippet]
  (with-snippet snippet
    (fn [process port]
      (def graceful (some |(string/find $ (snippet :text)) ["serve-forever" "os/sigaction"]))
      (when (and port graceful) (:signal process :term))
      (when (or graceful (nil? port))
        (t/same 0 (:wait process) (process :err)))
      # Joy's own modules have warnings of the compiler.
      (def said (filter |(not (string/find "compile warning (normal)" $)) (string/split "\n" (process :err))))
      (t/same "" (string/join said "\n") "what it says on stderr"))))

(defn- need-imports
  "Skips the test if a module that a snippet imports is missing, as those in C are for a Janet that spork does not know."
  [snippet]
  (each module (peg/match '(any (+ (* (+ "(import " "(use ") '(* (+ "spork/" "joy") (any (+ :w (set "-/"))))) 1)) (snippet :text))
    (unless (if (= module "joy") (first (module/find module)) (first (protect (require module))))
      (t/skip (string module " cannot be imported: " from)))))

(each snippet (of "janet")
  (if (= "not run" (snippet :kind))
    (t/test (string "the Janet of " (where snippet) " can be parsed; it is not run: " (snippet :value))
      (t/check (not (empty? (parse-all (snippet :text)))) "forms"))
    (t/test (string "the Janet of " (where snippet) " runs as it stands")
      (need-imports snippet)
      (run-snippet snippet))))

(defn- answer
  "What a client gets for a path."
  [port path]
  (with [conn (net/connect "127.0.0.1" port)]
    (:write conn (string "GET " path " HTTP/1.0\r\n\r\n"))
    (string (t/receive conn))))

(t/test "the programs of the README answer as they stand"
  (def programs (filter |(= "README.md" ($ :file)) (of "janet")))
  (t/check (> (length programs) 1) "programs")
  (each program programs
    (with-snippet program
      (fn [_ port]
        (t/check (string/has-suffix? "\r\n\r\nHello!\n" (answer port "/")) (where program))))))

(t/test "the first program of the guide answers as it stands"
  (with-snippet (find |(= "docs/start.md" ($ :file)) (of "janet"))
    (fn [_ port]
      (t/check (string/find "visitor number 1." (answer port "/")) "its page")
      (t/check (string/has-suffix? "\r\n\r\nHello, world!\n" (answer port "/hello/world")) "its other page"))))

###
### Shell commands
###

(each snippet (of "sh")
  (t/test (string "the shell commands of " (where snippet) " can be parsed")
    (def file (t/scratch "snippet.sh"))
    (spit file (snippet :text))
    (defer (os/rm file)
      (def [status output] (programs/run "/bin/sh" "-n" file))
      (t/same 0 status output))))

(def- known-programs
  "What the docs may call besides the commands of kqnet: programs of the systems, of Janet and of the tools."
  ["apt-get" "brew" "cargo" "cd" "curl" "export" "git" "janet" "janet-pm" "jpm" "kill" "launchctl" "make" "pkg" "sudo" "systemctl"
   "xcode-select"])

(defn- commands-of
  "The commands of a shell snippet, as arrays of words, without comments, what is assigned and what is in parentheses."
  [text]
  (def words '(any (+ (* `"` '(any (if-not `"` 1)) `"`) '(some (if-not (set " \"\n") 1)) " ")))
  (seq [line :in (string/split "\n" text)
        command :in (string/split "&&" (first (peg/match '(* '(any (if-not (* (+ " " (not (> -1 1))) "#") 1))) line)))
        :let [[first & rest] (peg/match words (string/trim command " ()"))
              all (if (= first "sudo") rest [first ;rest])]
        :when first]
    (filter |(not (peg/match '(* (some (+ :w "_")) "=") $)) all)))

# Jpm's own bootstrap.janet is in a folder that was cloned.
(t/test "each command in a shell snippet is a known one, and its files are in the repository or on its page"
  (def usage
    (tabseq [name :in ["kqnet-serve" "kqnet-doctor"]]
      name (last (programs/run (dyn *executable*) (path "bin/" name) "--help"))))
  (def saved (peg/compile '(any (+ (* "`" '(some (+ :w (set "./-_"))) "`") (* "<!-- file: " '(to " -->")) 1))))
  (def checked (filter |(has-value? ["README.md" ;guide] ($ :file)) (of "sh")))
  (t/check (> (length checked) 8) "shell snippets")
  (none "mistakes"
        (seq [snippet :in checked
              [name & words] :in (commands-of (snippet :text))
              wrong :in (if-let [help (usage name)]
                          (filter |(and (string/has-prefix? "-" $) (not (string/find $ help))) words)
                          (if (has-value? known-programs name) [] [name]))]
          [(where snippet) wrong]))
  (none "files"
        (seq [snippet :in checked
              words :in (commands-of (snippet :text))
              word :in words
              :when (some |(string/has-suffix? $ word) [".janet" ".service" ".socket" ".plist"])
              :let [name (last (string/split "/" word))
                    named (map |(last (string/split "/" $)) (peg/match saved (texts (snippet :file))))]
              :unless (or (os/stat (path word)) (has-value? named name) (= name "bootstrap.janet"))]
          [(where snippet) word])))

(t/test "each cargo xtask command in the docs exists, with its options"
  (def usage (slurp (path "dev/xtask/src/main.rs")))
  (def commands
    (mapcat |(peg/match ~(any (+ (* "cargo xtask " '(some (+ :w "-")) '(to (+ (set "`\n#>|;()") -1))) 1)) $)
            [;(map texts (files))]))
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

(t/test "systemd accepts the socket and the services"
  (def [systemd-analyze] (programs/need "systemd-analyze"))
  (def folder (t/scratch "units"))
  (os/mkdir folder)
  (def command "/usr/local/bin/kqnet-serve -b 127.0.0.1:8000 -w auto /srv/app/app.janet")
  (def first-service (replaced (named "start.service" "docs/start.md") command "/bin/true"))
  (def alone (replaced (named "app.service") command "/bin/true" "User=app" "User=root"))
  (def with-socket (replaced alone "[Unit]\n" "[Unit]\nRequires=app.socket\n"))
  (spit (string folder "/app.socket") (named "app.socket"))
  (defer (t/remove folder)
    (each [service & units] [[first-service "app.service"] [alone "app.service"] [with-socket "app.socket" "app.service"]]
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
  (with-file "app.janet" (replaced (named "served.janet") ` "127.0.0.1" 8000` "")
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
  (with-file "app.janet" (named "app.janet")
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
  (with-file "app.plist" (named "org.example.app.plist")
             (fn [file]
               (def [status output] (programs/run python "-c" program file))
               (t/same [0 "['Listeners']\n"] [status output]))))

(t/finish)
