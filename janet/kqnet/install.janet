###
### Runs a program that was written for net/ on kqnet, unmodified.
### Usage: janet -l kqnet/install PROGRAM
###

(setdyn :doc
        ``Runs a program that was written for net/ on kqnet, unmodified. Importing the module makes `net/listen`, `net/accept`,
        `net/accept-loop` and `net/server` kqnet's functions, for all that is compiled afterwards. So it has to be loaded before
        the program: `janet -l kqnet/install app.janet`. If it is loaded too late, a line on stderr says what keeps core's
        functions.``)

(import ./_native :as native)
(import ./init :as kqnet)

(def replaced
  "The functions of Janet's root environment that are replaced, and their replacements."
  {'net/listen kqnet/listen
   'net/accept kqnet/accept
   'net/accept-loop kqnet/accept-loop
   'net/server kqnet/server})

(def- folder
  "The folder of kqnet's own modules."
  (string/slice (dyn *current-file*) 0 (- (inc (length "install.janet")))))

(defn- own?
  "Whether a module is one of kqnet's."
  [path]
  (string/has-prefix? folder path))

# When Janet compiles a function, it puts the values of these names into it. So a function that was compiled before keeps
# core's functions.

(defn- keeps-core?
  "Whether a function, or one within it, was compiled with one of core's functions."
  [f]
  (def cores (map |(in (in root-env $) :value) (keys replaced)))
  (defn has? [{:constants constants :defs defs}]
    (or (some |(has-value? cores $) (or constants []))
        (some has? (or defs []))))
  (has? (disasm f)))

(defn- function-in
  "Returns the name of a function in an environment that was compiled with one of core's functions, or nil."
  [env]
  (find (fn [name]
          (def entry (in env name))
          (def value (if (table? entry) (or (get entry :value) (get-in entry [:ref 0]))))
          (and (symbol? name) (function? value) (keeps-core? value)))
        (sort (filter symbol? (keys env)))))

(defn- early-module
  "Returns the path of a module that was loaded before and has a function compiled with one of core's, or nil."
  []
  (first (sort (filter |(and (not (own? $)) (function-in (in module/cache $))) (keys module/cache)))))

(defn- early-function
  "Returns the name of a function compiled with one of core's in the files that are being run, or nil."
  []
  (some function-in (filter |(not (or (= $ root-env) (= $ (curenv)))) (native/environments))))

(defn- warn
  "Says on stderr that the module was loaded too late."
  [what]
  (native/say (string "kqnet/install: loaded too late: " what "; run the program with: janet -l kqnet/install PROGRAM")))

(if-let [early (early-module)]
  (warn (string early " was loaded before and may go on with core's net/ functions"))
  (when-let [name (early-function)]
    (warn (string "the function " name " was compiled before and goes on with core's net/ functions"))))

# The compiler prefers :ref to :value, so only :ref is set. If :value were replaced too, jpm and janet-pm would treat
# kqnet's function as one of the root environment, and leave it out of an executable. The program would find core's
# function under that name.
(eachp [name value] replaced
  (merge-into (in root-env name) {:ref @[value] :redef true}))
