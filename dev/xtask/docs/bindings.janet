###
### Which modules and bindings are on the API page.
###

# It warns when other modules are loaded before it.
(import kqnet/install)

(def modules
  ``The public modules, in the order of the page. :prefix is how programs write the names after the import. Names that
  are the same in the module :besides are not described. :note follows the module's docstring.``
  [{:name "kqnet" :prefix "kqnet/"}
   {:name "kqnet/http" :prefix "http/" :besides "spork/http"
    :note ``
          `request`, `cookies`, `read-request`, `send-response` and the other public names of
          [spork/http](https://github.com/janet-lang/spork) that are not listed here are spork's, unchanged.
          ``}
   {:name "kqnet/websocket" :prefix "websocket/"}
   {:name "kqnet/install" :prefix "install/"}])

(defn- value-of [entry] (if-let [ref (entry :ref)] (in ref 0) (entry :value)))

(defn- kind-of [entry] (if (entry :macro) "macro" (string (type (value-of entry)))))

(defn- file-of
  "The file in the repository that has a binding."
  [entry]
  (def [path] (entry :source-map))
  (string "janet/" (string/slice path (inc (last (string/find-all "/kqnet/" path))))))

(defn- split
  "A docstring as its signature, or nil, and its text."
  [docstring]
  (or (peg/match '(* '(* "(" (to ")\n\n") ")") "\n\n" '(any 1)) docstring)
      [nil docstring]))

(defn of-module
  ``The public bindings of a module in alphabetical order, as structs of :name, which has the module's prefix, :kind, :file,
  :signature (nil for what is no function), :parameters (the words of the signature before the named ones) and :text.``
  [{:name module :prefix prefix :besides besides}]
  (def others (if besides (require besides) {}))
  (seq [name :in (sort (filter symbol? (keys (require module))))
        :let [entry (in (require module) name)
              other (in others name)]
        :unless (or (entry :private) (and other (= (value-of other) (value-of entry))))]
    (def [signature text] (split (or (entry :doc) "")))
    {:name (string prefix name)
     :kind (kind-of entry)
     :file (file-of entry)
     :signature (if signature (string "(" prefix (string/slice signature 1)))
     # Docstrings write those after &named as keywords.
     :parameters (take-until |(= "&named" $) (if signature (string/split " " (string/slice signature 1 -2)) []))
     :text text}))
