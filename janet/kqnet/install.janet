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

(defn- own?
  [path]
  (not (nil? (string/find "kqnet" path))))

# Janet puts the value of such a name into a function when it compiles it, so what was loaded
# before keeps core's functions.
(when-let [early (first (sort (filter |(not (own? $)) (keys module/cache))))]
  (eprint "kqnet/install: loaded too late: " early " was loaded before and may go on with core's "
          "net/ functions; run the program by: janet -l kqnet/install PROGRAM"))

(eachp [name value] replaced
  (put (in root-env name) :value value))
