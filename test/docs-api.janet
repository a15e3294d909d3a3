###
### docs/api.md is what the docstrings say.
###

(import ./support :as t)
(import ./support/programs)
(import ../dev/xtask/docs/markdown)

(def- from (t/need-spork))
(print "with " from)

(def- command "cargo xtask docs")
(def- kept (string (slurp (string t/project "/docs/api.md"))))

(defn- made
  "Makes the page, in a process of its own, since it loads kqnet/install."
  []
  (with [process (t/start (dyn *executable*) (string t/project "/dev/xtask/docs/page.janet"))]
    (t/same 0 (:wait process) (string (process :err)))
    (t/wait-until "the end of its output" |(process :out-ended))
    (t/same "" (string (process :err)))
    (string (process :out))))

(defn- first-difference
  "The number of the first line that differs, and the line in each of two texts."
  [a b]
  (def [a b] (map |(string/split "\n" $) [a b]))
  (def i (find |(not= (get a $) (get b $)) (range (max (length a) (length b)))))
  [(inc i) (get a i) (get b i)])

(t/test "the API page is current, whichever Janet makes it"
  (def page (made))
  (unless (= page kept)
    (def [line there now] (first-difference kept page))
    (t/fail now there (string "line " line " of docs/api.md, which is not current; type: " command))))

(t/test "each heading of the API page has an anchor of its own, and each public function is a heading"
  (def headings (peg/match '(any (+ (* "\n##" (any "#") " " '(to "\n")) 1)) kept))
  (t/check (> (length headings) 40) headings)
  (def anchors (map markdown/anchor headings))
  (t/same (length anchors) (length (distinct anchors)) "anchors")
  (each name ["kqnet/server" "http/gone?" "websocket/upgrade" "kqnet-doctor" "kqnet-serve"]
    (t/check (has-value? headings (string "`" name "`")) name)))

(t/test "the API page has no private binding, and none of spork's"
  (each name ["kqnet/open" "kqnet/run-loop" "http/native" "http/read-request" "websocket/close"]
    (t/check (not (string/find (string "### `" name "`") kept)) name)))

###
### From docstrings to Markdown
###

(defn- linked [name] (string "<" name ">"))
(defn- inline [text] (markdown/inline text linked))

(t/test "names in backticks and keywords become code, and other markup is text"
  (each [text expected]
    [["see `a-b/c?` now" "see <a-b/c?> now"]
     ["(`a`), `(f x :k)`." "(<a>), <(f x :k)>."]
     [":max-body, :a/:b (:c)" "`:max-body`, `:a`/`:b` (`:c`)"]
     ["Default: 5. ::1 10:30 [::]:80 a:b" "Default: 5. ::1 10:30 \\[::\\]:80 a:b"]
     ["<b> *x* [y](z) snake_case _a_ \\" "\\<b> \\*x\\* \\[y\\](z) snake_case \\_a\\_ \\\\"]
     ["one of +-.^_`|~ and `x`" "one of +-.^\\_\\`|~ and <x>"]
     ["the page docs/http.md says" "the page [docs/http.md](http.md) says"]
     ["* a\n* b * c" "* a\n* b \\* c"]]
    (t/same expected (inline text) text)))

(t/test "indented code becomes a block, with its blank lines, and nothing in it is changed"
  (t/same (string "Before `:x`:\n\n" markdown/code-comment "```janet\n(f :x)\n\n  (g *y*)\n```\n\nAfter.")
          (markdown/body "Before :x:\n\n    (f :x)\n\n      (g *y*)\n\nAfter.\n" linked)))

(t/test "a table shows the first sentence on one line"
  (each [text expected] [["One thing,\nin two lines. More." "One thing, in two lines."]
                         ["Version 1.1 of it.\n\nMore." "Version 1.1 of it."]
                         ["One of:\n\n* :a - it." "One of."]
                         ["No end" "No end."]]
    (t/same expected (markdown/first-sentence text) text)))

(t/finish)
