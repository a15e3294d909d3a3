###
### Runs the programs that a build needs, and returns what they say.
###

(defn run
  ``Runs a program with its arguments, and with more variables in its environment. Returns its status, nil when it cannot
  be run, and what it printed and wrote to standard error.``
  [args &opt env]
  (def options (merge (os/environ) (or env {}) {:out :pipe :err :pipe}))
  (def [started process] (protect (os/spawn args :pe options)))
  (if-not started
    [nil "" ""]
    # Both pipes are read at once, so that neither fills up.
    (let [texts (ev/gather (ev/read (process :out) :all) (ev/read (process :err) :all) (os/proc-wait process))
          [out err status] texts]
      (:close process)
      [status (string (or out "")) (string (or err ""))])))
