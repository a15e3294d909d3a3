(import ./bundle/build :as module)

(def info (parse (slurp "bundle/info.jdn")))

(declare-project
  :name (info :name)
  :version (info :version)
  :description (info :description)
  :license (info :license)
  :dependencies (info :dependencies))

(task "build" [] (module/build))

# jpm removes the installed folder first, so a library that a program has loaded is not overwritten.
(install-rule module/folder (dyn :modpath))

(declare-binscript
  :main "bin/kqnet-doctor"
  :hardcode-syspath true
  :is-janet true)
