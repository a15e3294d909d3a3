###
### The docs are true and complete.
###
### Every public function is documented, every option is in a table of the guide, every number in the README was measured, the pages
### have an order, and every link leads somewhere. Snippets are in docs-snippets.janet.
###

(import ./support :as t)
(import ./support/markdown :prefix "")

(def- from (t/need-spork))
(print "with " from)

(import kqnet)
(import kqnet/http)
(import kqnet/websocket)
(import kqnet/options)

(defn- path [& parts] (string t/project "/" ;parts))

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

(t/test "the guide names each public function and each option"
  (def text (string/join (map texts guide) "\n"))
  (none "public names"
        (seq [[name] :in ours
              :let [bare (last (string/split "/" name))]
              :unless (or (string/find (string "`" name) text) (string/find (string "`" bare "`") text))]
          name))
  (none "options"
        (seq [option :in (sort (distinct (mapcat identity (values with-options))))
              :unless (string/find (string "`" option "`") text)]
          option)))

(def- table-rows
  "The rows of the guide's tables of options: for each row its options, the functions that have them, and their default."
  (let [row (peg/compile
              ~{:name (* "`" (<- (* ":" (some (+ :w "-")))) "`" (any " "))
                :cell (* "|" (some " ") (<- (any (if-not (* (any " ") "|") 1))) (any " "))
                :main (* "| " (group (some :name)) (some :cell) "|" -1)})]
    (mapcat (fn [page]
              (var inside false)
              (seq [line :in (string/split "\n" (texts page))
                    :let [_ (cond
                              (string/has-prefix? "| option | of |" line) (set inside true)
                              (not (string/has-prefix? "|" line)) (set inside false))]
                    :when inside
                    :let [cells (peg/match row line)]
                    :when cells]
                [(first cells) (get cells 1) (last cells)]))
            guide)))

(t/test "the guide's tables give each option for exactly the functions that have it"
  (def told
    (seq [[options owners] :in table-rows owner :in (string/split ", " owners) option :in options]
      [owner option]))
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

(t/test "the guide and the docstrings give the actual defaults of the HTTP server"
  (def defaults (in (in (require "kqnet/http/server") 'defaults) :value))
  (def told
    (tabseq [[options owners text] :in table-rows
             :when (= owners "http/server")
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
### Numbers
###

(t/test "each number in the README's picture and list of advantages is on the page of benchmarks"
  (def numbers '(any (+ (* (not (> -1 (+ :w (set "#./")))) '(* :d (any (+ :d (* (set ",.") :d)))) (not :w)) 1)))
  (def page (tabseq [number :in (peg/match numbers (texts "docs/benchmarks.md"))] number true))
  (def [picture advantages]
    (peg/match '(* (thru `alt="`) '(to `"`) (thru "do not have:\n") '(to "\n\nThe numbers")) (texts "README.md")))
  (def advantages (peg/replace-all '(+ "Janet 1.35 to 1.37" (* "(http" (to ")"))) "" advantages))
  (def found [;(peg/match numbers picture) ;(peg/match numbers advantages)])
  (t/check (> (length found) 20) found)
  (none "not measured" (filter |(not (page $)) found)))

(defn- measured
  ``The cells of a row of a table on the page of benchmarks: the median with its range, and how many times that of the other kqnet's is.
  The table is that of a heading, and the row one of a group.``
  [heading group name]
  (def [table] (or (peg/match ~(* (thru ,(string "\n## " heading "\n")) '(to (+ "\n## " -1))) (texts "docs/benchmarks.md")) [""]))
  (def rows (map |(map string/trim (string/split "|" $)) (filter |(string/has-prefix? "| " $) (string/split "\n" table))))
  (var inside false)
  (var found nil)
  (each [_ condition row median ratio] rows
    (unless (empty? condition) (set inside (= condition group)))
    (when (and inside (= row name)) (set found [median ratio])))
  (t/check found (string heading ", " group ", " name))
  found)

(t/test "the README says what the tables of the benchmarks say"
  (def readme (string/join (filter |(not (empty? $)) (string/split " " (string/replace-all "\n" " " (texts "README.md")))) " "))
  (def kept "64 kept connections")
  (def rate "HTTP requests in a second")
  (def memory "Resident memory for each connection that waits")
  (def files "Static files in a second")
  (def calls "System calls for each connection")
  (each [text heading group row column]
    [["%s requests a second" rate kept "kqnet/http" 0]
     ["%s times as many as `spork/http`, " rate kept "spork/http" 1]
     ["%s times Node" rate kept "Node" 1]
     ["%s times Go" rate kept "Go" 1]
     ["%s times nginx" rate kept "nginx" 1]
     ["it answers %s times as many as `spork/http`.)" rate "64, a connection each" "spork/http" 1]
     ["that waits takes %s KiB" memory "after a request" "kqnet/http" 0]
     ["where Node needs %s and" memory "after a request" "Node" 0]
     ["and Go %s" memory "after a request" "Go" 0]
     ["half a head takes %s KiB" memory "after half a head" "kqnet/http" 0]
     ["it takes %s KiB for ever" memory "after half a head" "spork/http" 0]
     ["%s times as fast as from nginx" files "1 MiB, 16 clients" "nginx" 1]
     ["%s times as fast as from Node" files "1 MiB, 16 clients" "Node" 1]
     ["takes %s system calls" calls "64 clients" "kqnet" 0]
     ["core needs %s" calls "64 clients" "core 1.42.0" 0]]
    (def number (fn [text] (scan-number (string/replace-all "," "" text))))
    (def [before after] (string/split "%s" text))
    (def said (last (or (peg/match ~(any (+ (* ,before '(* (some :d) (any (* (set ",.") (some :d)))) ,after) 1)) readme) [])))
    (t/check said text)
    (def exact (number (first (string/split " " (in (measured heading group row) column)))))
    # As the summary of the benchmarks rounds: three digits, or what is given.
    (t/check (<= (math/abs (- exact (number said))) (* 0.035 exact)) [text said exact])))

(t/test "the README's picture has the numbers that its description has"
  (def described (first (peg/match '(* (thru `alt="`) '(to `"`)) (texts "README.md"))))
  (each name ["light" "dark"]
    (def bars (peg/match '(any (+ (* ">" '(any (if-not (set "<>") 1)) "</text>\n<rect" (thru "/>\n") (thru ">") '(to "<")) 1))
                         (slurp (path "docs/benchmarks/readme-" name ".svg"))))
    (t/check (> (length bars) 8) name)
    (none name
          (seq [[server number] :in (partition 2 bars)
                :unless (string/find (string server " " number) described)]
            [server number]))))

###
### The order of the pages
###

(def- order
  "The pages of the guide, in the order in which docs/README.md gives them."
  (peg/match '(any (+ (* "\n| " :d+ ". [" (thru "](") '(to ")")) 1)) (texts "docs/README.md")))

(t/test "the guide names each page in its order, and each page ends with a link to the next"
  (t/same (sort (filter |(not= "docs/README.md" $) guide))
          (sort (map |(string "docs/" $) (filter |(not (string/has-prefix? "../" $)) order))))
  (none "without a link to the next page"
        (seq [[page next] :in (map array ["README.md" ;(array/slice order 0 -2)] order)
              :let [line (last (string/split "\n" (string/trimr (texts (string "docs/" page)))))]
              :unless (and (string/has-prefix? "Next: [" line) (string/has-suffix? (string "](" next ").") line))]
          [page next])))

(t/test "each page of the guide begins with what it is for"
  (none "pages"
        (filter |(not (peg/match '(* (? (* "<!--" (thru "-->\n"))) "# " (thru "\n\n") (if-not (set "-|#`<") 1) (thru ".")) (texts $)))
                guide)))

(t/test "no line of text is on two pages"
  (def seen @{})
  (none "repeated"
        (seq [page :in ["README.md" ;guide]
              line :in (peg/match '(any (+ (* "```" (thru "\n```")) (* '(any (if-not "\n" 1)) "\n"))) (texts page))
              :when (and (> (length line) 60) (not (string/has-prefix? "![" line)))
              :let [before (seen line)]
              :when (do (put seen line page) (and before (not= before page)))]
          [before page line])))

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
        (seq [file :in (files)
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
  (def found (seq [file :in (files) name :in (peg/match named (texts file))] [file name]))
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
