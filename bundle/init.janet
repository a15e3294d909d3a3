###
### init.janet
###
### The hooks of Janet's own bundles: janet --install . and janet-pm install.
###

(import ./build :as module)

(defn build
  "Builds the module."
  [&]
  (module/build))

(defn install
  "Installs what `build` has built."
  [manifest &]
  (bundle/add-directory manifest "kqnet")
  (each name (sort (os/dir module/folder))
    (bundle/add-file manifest (string module/folder "/" name) (string "kqnet/" name)))
  (bundle/add-bin manifest "bin/kqnet-doctor"))
