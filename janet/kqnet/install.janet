###
### install.janet
###
### Runs a program that was written for net/ on kqnet: janet -l kqnet/install app.janet
###

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

# Janet puts the value of such a name into a function when it compiles it, so what was loaded
# before keeps core's functions.
(when-let [early (first (sort (filter |(not (own? $)) (keys module/cache))))]
  (eprint "kqnet/install: loaded too late: " early " was loaded before and may go on with core's "
          "net/ functions; run the program by: janet -l kqnet/install PROGRAM"))

(eachp [name value] replaced
  (put (in root-env name) :value value))
