###
### Turns docstrings into Markdown.
###
### Docstrings are read in a terminal first. They have paragraphs, lists, names in backticks, and code that is indented by
### four spaces.
###

(defn escaped
  "Escapes what Markdown would take for markup in a text without code."
  [text]
  (first
    (peg/match
      ~{# Within a word, an underscore means nothing.
        :inner (* (> -1 :w) '"_" (> 0 :w))
        :special (/ '(set "\\*_[]<`") ,|(string "\\" $))
        :main (% (any (+ :inner :special '1)))}
      text)))

(defn inline
  ``Turns paragraphs into Markdown for a file in docs/. What is in backticks becomes what `link` returns for it, keywords
  become code, and names of pages become links.``
  [text link]
  (first
    (peg/match
      ~{:opening (* (! (> -1 (if-not (set " \n([") 1))) "`")
        :code (/ (* :opening '(some (if-not "`" 1)) "`") ,link)
        :keyword (/ (* (! (> -1 (+ :w (set "-_.:")))) '(* ":" :a (any (+ :w (set "-_?!"))))) ,|(string "`" $ "`"))
        # The marker of a list is not emphasis.
        :marker (* (! (> -1 (if-not "\n" 1))) '"* ")
        :page (/ (* "docs/" '(* (some (+ :w "-")) ".md")) ,|(string "[docs/" $ "](" $ ")"))
        :plain (/ '(some (if-not (+ :marker :code :keyword :page) 1)) ,escaped)
        :main (% (any (+ :marker :code :keyword :page :plain)))}
      text)))

(defn- blocks
  "Splits a text at its blank lines. Code that has blank lines stays one block."
  [text]
  (def found @[])
  (each block (string/split "\n\n" text)
    (def code? (string/has-prefix? "    " block))
    (def before (last found))
    (if (and code? before (before :code))
      (put before :text (string (before :text) "\n\n" block))
      (array/push found @{:code code? :text block})))
  found)

(defn- dedented [text]
  (string/join (map |(if (string/has-prefix? "    " $) (string/slice $ 4) $) (string/split "\n" text)) "\n"))

(def code-comment
  "Examples in docstrings are parts of programs, so the test of the docs does not run them."
  "<!-- not run: a part of a program -->\n")

(defn body
  "Turns a docstring without its signature into Markdown. `link` is as for `inline`."
  [text link]
  (string/join
    (seq [{:code code? :text text} :in (blocks (string/trim text "\n"))]
      (if code?
        (string code-comment "```janet\n" (dedented text) "\n```")
        (inline text link)))
    "\n\n"))

(defn first-sentence
  "The first sentence of a text, on one line."
  [text]
  (def line (string/replace-all "\n" " " (first (string/split "\n\n" (string/trim text)))))
  (def [sentence]
    (or (peg/match '(* '(to (* "." (+ " " -1)))) line)
        (peg/match '(* '(to (* ":" -1))) line)
        [line]))
  (string sentence "."))

(defn anchor
  "The anchor that GitHub gives a heading."
  [heading]
  (string/join (peg/match '(any (+ '(+ :w (set "-_")) (/ " " "-") 1)) (string/ascii-lower heading))))
