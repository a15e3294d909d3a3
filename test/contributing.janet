###
### What CONTRIBUTING.md says of a first change is still so.
###

(import ./support :as t)

(defn- text [name] (string (slurp (string t/project "/" name))))
(def- guide (first (string/split "\n## Layers" (text "CONTRIBUTING.md"))))

(t/test "the guide to a first change comes first"
  (t/check (string/has-prefix? "# Contributing\n\n## Your first change in ten minutes\n" guide) guide))

(t/test "what it names is there once, and what it adds is not there yet"
  (each [name there] [["test/http-files.janet" `"content types follow file extensions"`]
                      ["janet/kqnet/http/types.janet" `"text/plain; charset=utf-8" "txt text log conf ini"`]]
    (t/check (string/find (string "`" there "`") guide) there)
    (t/check (string/find (string "`" name "`") guide) name)
    (t/same 1 (length (string/find-all there (text name))) there))
  (t/check (string/find `["t.janet" "text/plain; charset=utf-8"]` guide) "the row to add")
  (t/same nil (string/find `"t.janet"` (text "test/http-files.janet")) "the row to add, in the test"))

(t/finish)
