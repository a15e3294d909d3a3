###
### install.janet
###
### Runs a program that was written for net/ on kqnet: janet -l kqnet/install app.janet
###

(import ./_native :as native)
(import ./init :as kqnet)

(def replaced
  "What stands in for what in Janet's root environment."
  {'net/listen kqnet/listen
   'net/accept kqnet/accept
   'net/accept-loop kqnet/accept-loop
   'net/server kqnet/server})

(def- folder
  "Where kqnet's own modules are."
  (string/slice (dyn *current-file*) 0 (- (inc (length "install.janet")))))

(defn- own?
  [path]
  (string/has-prefix? folder path))

# Janet puts the value of such a name into a function when it compiles it, so what was compiled
# before keeps core's functions.

(defn- keeps-core?
  "Whether a function, or one within it, was compiled with one of core's functions."
  [f]
  (def cores (map |(in (in root-env $) :value) (keys replaced)))
  (defn has? [{:constants constants :defs defs}]
    (or (some |(has-value? cores $) (or constants []))
        (some has? (or defs []))))
  (has? (disasm f)))

(defn- function-in
  "The name of a function in an environment that was compiled with one of core's functions."
  [env]
  (find (fn [name]
          (def entry (in env name))
          (def value (if (table? entry) (or (get entry :value) (get-in entry [:ref 0]))))
          (and (symbol? name) (function? value) (keeps-core? value)))
        (sort (filter symbol? (keys env)))))

(defn- early-module
  "The path of a module that was loaded before, and has such a function."
  []
  (first (sort (filter |(and (not (own? $)) (function-in (in module/cache $))) (keys module/cache)))))

(defn- early-function
  "The name of such a function in the files that are being run."
  []
  (some function-in (filter |(not (or (= $ root-env) (= $ (curenv)))) (native/environments))))

(defn- say
  [what]
  (native/say (string "kqnet/install: loaded too late: " what "; run the program by: janet -l kqnet/install PROGRAM")))

(if-let [early (early-module)]
  (say (string early " was loaded before and may go on with core's net/ functions"))
  (when-let [name (early-function)]
    (say (string "the function " name " was compiled before and goes on with core's net/ functions"))))

# The compiler takes :ref, if there is one, and not :value. The value stays core's, since jpm and janet-pm leave out of an
# executable what is a value in the root environment: the program would look it up by its name, and find core's again.
(eachp [name value] replaced
  (merge-into (in root-env name) {:ref @[value] :redef true}))
