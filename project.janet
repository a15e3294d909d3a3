###
### How jpm builds and installs kqnet.
###

(import ./bundle/build :as module)
(import ./bundle/jpm :as own)

(def info (parse (slurp "bundle/info.jdn")))

(declare-project
  :name (info :name)
  :version (info :version)
  :description (info :description)
  :license (info :license)
  :dependencies (info :dependencies))

(task "build" [] (module/build))

# jpm removes the installed module before it builds. It has to build first, so that a module that works is not lost when the
# build fails. `jpm uninstall` must not build.
(when (index-of "install" (dyn :args []))
  (add-dep "uninstall" "build"))

(def modules (dyn :modpath))
(def scripts (dyn :binpath))
(def installed (string modules "/kqnet"))
(def doctor (string scripts "/kqnet-doctor"))
(array/push (dyn :installed-files) installed doctor)

(task "install" []
  (def root (dyn :dest-dir ""))
  (print "installing " installed " and " doctor)
  (own/install-modules (string root installed))
  (own/install-script "bin/kqnet-doctor" (string root doctor) modules))
