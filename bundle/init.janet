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
  (bundle/add-directory manifest "kqnet")
  (each [path directory?] (files/tree module/folder)
    (def target (string "kqnet/" path))
    (if directory?
      (bundle/add-directory manifest target)
      (bundle/add-file manifest (string module/folder "/" path) target)))
  (bundle/add-bin manifest "bin/kqnet-doctor"))
