###
### The README, the docs and their snippets, for the tests that check and run them.
###

(import ./init :as t)

(def- peg
  # A comment before a block may say what is special about it: `file: NAME`, `not run: WHY`.
  (peg/compile
    ~{:end-of-line (+ "\n" -1)
      :comment (* "<!-- " '(to " -->") " -->" (any "\n"))
      :fence (+ -1 (* "\n```" :end-of-line))
      :block (/ (* (? :comment) (line) "```" '(any (range "az")) "\n" '(to :fence) :fence)
                ,(fn [& parts]
                   (def [remark line language text] (if (= 4 (length parts)) parts ["" ;parts]))
                   (def [kind value] (string/split ": " remark 0 2))
                   {:kind kind :value value :line line :language language :text (string text "\n")}))
      :main (any (+ :block (* (to "\n") "\n") 1))}))

(defn snippets
  ``The blocks of code in a file, which is named relative to the repository. They are structs with :file, :line, :language
  and :text, and with what the comment before the block says: :kind ("file", "not run" or "") and :value.``
  [file]
  (map |(merge $ {:file file}) (peg/match peg (slurp (string t/project "/" file)))))

(defn files
  "The names of the README and the docs, relative to the repository."
  []
  ["README.md" "CONTRIBUTING.md" "CHANGELOG.md" "SECURITY.md"
   ;(map |(string "docs/" $) (filter |(string/has-suffix? ".md" $) (sort (os/dir (string t/project "/docs")))))])

(def texts
  "The texts of these files by their names."
  (tabseq [file :in (files)] file (slurp (string t/project "/" file))))

(def guide
  "The pages for users that are written by hand, and not made from docstrings."
  (filter |(and (string/has-prefix? "docs/" $) (not (has-value? ["docs/api.md" "docs/releasing.md"] $))) (files)))

(defn none
  "Fails unless a list of mistakes is empty."
  [what wrong]
  (t/same [] wrong what))

(defn where
  "The file and the line of a snippet."
  [{:file file :line line}]
  (string file ":" line))

(defn named
  "The text of the block that is the file `name`, in docs/deployment.md or another page."
  [name &opt page]
  (default page "docs/deployment.md")
  (def found (find |(and (= "file" ($ :kind)) (= name ($ :value))) (snippets page)))
  (t/check found (string "a block named " name " in " page))
  (found :text))

(defn replaced
  "A text with replacements, which are given as pairs of old and new. Each old one must occur in it."
  [text & pairs]
  (reduce (fn [text [old new]]
            (t/check (string/find old text) (string "the snippet has " old))
            (string/replace-all old new text))
          text
          (partition 2 pairs)))
