###
### Prints docs/api.md, which is made from the docstrings of the public modules: `cargo xtask docs`.
###

(import ./bindings)
(import ./markdown)
(import kqnet/doctor)
(import kqnet/serve/options :as serve)

(def- commands
  [{:name "kqnet-doctor" :usage doctor/usage}
   {:name "kqnet-serve" :usage serve/usage}])

(defn- linker
  ``Returns a function that turns a name in backticks into code, which is a link if the page has that name. `short` is the
  prefix that the docstring leaves out, and `own` are names that mean something else here.``
  [names short own]
  (fn link [name]
    (def code (string "`" name "`"))
    (def target
      (unless (has-value? own name)
        (find |(has-value? names $)
              [name (string short name)
               (if (string/has-prefix? "kqnet/" name) (string/slice name (length "kqnet/")) name)])))
    (if target (string "[" code "](#" (markdown/anchor target) ")") code)))

(def- width "How many columns a signature takes." 100)

(defn- wrapped
  "A signature in lines that are not too long."
  [signature]
  (def lines @[@""])
  (each word (string/split " " signature)
    (when (> (+ (length (last lines)) (length word) 1) width)
      (array/push lines @"   "))
    (def line (last lines))
    (unless (empty? line) (buffer/push line " "))
    (buffer/push line word))
  (string/join lines "\n"))

(defn- section
  [{:name name :kind kind :file file :signature signature :parameters parameters :text text} prefix names]
  (string "### `" name "`\n\n"
          kind ", in [" file "](../" file ")\n\n"
          (if signature (string "```text\n" (wrapped signature) "\n```\n\n") "")
          (markdown/body text (linker names prefix [name (string/slice name (length prefix)) ;parameters]))
          "\n\n"))

(defn- row [name text]
  (string "| [`" name "`](#" (markdown/anchor name) ") | "
          (string/replace-all "|" "\\|" (markdown/inline (markdown/first-sentence text) |(string "`" $ "`"))) " |\n"))

(defn- module-section
  [{:name module :prefix prefix :note note} all names]
  (def link (linker names prefix []))
  (def note (if note (string note "\n\n") ""))
  (string "## " module "\n\n"
          (markdown/body (in (require module) :doc) link) "\n\n" note
          "| name | |\n| --- | --- |\n"
          ;(map |(row ($ :name) ($ :text)) all) "\n"
          ;(map |(section $ prefix names) all)))

(defn page
  "Makes the text of the page."
  []
  (def by-module (map |[$ (bindings/of-module $)] bindings/modules))
  (def names (mapcat (fn [[{:name module} all]] [module ;(map |($ :name) all)]) by-module))
  (def headings [;(map |($ :name) bindings/modules) "Commands"])
  (string "<!-- Made from the docstrings by `cargo xtask docs`. -->\n"
          "# API\n\n"
          "Every public name of kqnet, as `(doc kqnet/server)` describes it. The names are those after `(import kqnet)`,\n"
          "`(import kqnet/http)` and so on.\n\n"
          ;(map |(string "- [" $ "](#" (markdown/anchor $) ")\n") headings) "\n"
          ;(map (fn [[module all]] (module-section module all names)) by-module)
          "## Commands\n\n"
          (string/join
            (seq [{:name name :usage usage} :in commands]
              (string "### `" name "`\n\n```text\n" (string/trim usage "\n") "\n```\n"))
            "\n")))

(defn main [&] (prin (page)))
