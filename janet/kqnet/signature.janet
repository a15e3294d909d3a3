###
### Docstrings of functions with options: their first line names the options instead of saying `& args`.
###

(defn completed
  ``Returns a docstring whose signature has the optional parameters `positional` and the options `names`, both of which
  are keywords, instead of `& args`.``
  [docstring positional names]
  (defn listed [marker keywords]
    (if (empty? keywords) "" (string " " marker " " (string/join keywords " "))))
  (string/replace " & args)" (string (listed "&opt" positional) (listed "&named" names) ")") docstring))

(defmacro show
  "Completes the docstring of the function `name` of this module."
  [name positional names]
  ~(put (dyn ',name) :doc (,completed (in (dyn ',name) :doc) ,positional ,names)))
