###
### The hooks that Janet's own bundles need: janet --install . and janet-pm install.
###

(import ./build :as module)
(import ./files)

(defn build
  "Builds the module."
  [&]
  (module/build))

(defn install
  "Installs what `build` has built."
  [manifest &]
  (def modules (dyn *syspath*))
  (when (os/stat (string modules "/.manifests/kqnet.jdn"))
    (error "kqnet was installed by jpm; type: jpm uninstall kqnet"))
  # An installation that was interrupted leaves files that Janet does not know of, and would refuse to write over.
  (each left ["kqnet" ;(map |(string "bin/" $) module/commands)] (files/remove (string modules "/" left)))
  (bundle/add-directory manifest "kqnet")
  (each [path directory?] (files/tree module/folder)
    (def target (string "kqnet/" path))
    (if directory?
      (bundle/add-directory manifest target)
      (bundle/add-file manifest (string module/folder "/" path) target)))
  (each name module/commands
    (bundle/add-bin manifest (string "bin/" name))))
