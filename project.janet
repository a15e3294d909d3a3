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

(def modules (dyn :modpath))
(def scripts (dyn :binpath))
(def installed (string modules "/kqnet"))
(def commands (map |(string scripts "/" $) module/commands))
(array/push (dyn :installed-files) installed ;commands)

(defn- rooted [path] (string (dyn :dest-dir "") path))

(task "stage" ["build"]
  (when (os/stat (rooted (string modules "/bundle/kqnet")))
    (error "kqnet was installed by Janet's own bundles; type: janet --uninstall kqnet"))
  (own/stage-modules (rooted installed))
  (try
    (each [name to] (map array module/commands commands)
      (own/stage-script (string "bin/" name) (rooted to) modules))
    ([err]
      (each to [installed ;commands] (own/discard (rooted to)))
      (error err))))

# jpm removes the installed module before it builds. It has to build and copy everything first, so that a module that works is
# not lost when the build fails or the disk is full. `jpm uninstall` must not build.
(add-dep "install" "stage")
(when (index-of "install" (dyn :args []))
  (add-dep "uninstall" "stage"))

(task "install" []
  (print "installing " (string/join [installed ;commands] ", "))
  (each to [installed ;commands] (own/install (rooted to))))
