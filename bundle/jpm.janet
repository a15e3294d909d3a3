###
### Installation rules for jpm.
###
### jpm's own would overwrite a loaded library in place, and in a local tree they would give scripts a `#!` line with a
### Janet that does not exist.
###

(import ./build)
(import ./files)
(import ./header)

(defn install-modules
  "Copies the module to where it is installed."
  [to]
  (files/copy-tree build/folder to))

(defn- first-line
  "The line that has this Janet run a script. If the system could not read the path there, `env` looks for Janet."
  []
  (def janet (header/executable))
  (def absolute (if janet (if (string/has-prefix? "/" janet) janet (os/realpath janet))))
  (string "#!" (if (and absolute (< (length absolute) 100) (not (string/find " " absolute)))
                 absolute
                 "/usr/bin/env janet")))

(defn install-script
  "Copies a script to where it is installed, as one that this Janet runs and that finds the modules in a folder."
  [from to modules]
  (files/make-folder (string/join (slice (string/split "/" to) 0 -2) "/"))
  (def [_ text] (string/split "\n" (slurp from) 0 2))
  (def fresh (string to ".new"))
  (spit fresh (string (first-line) "\n" (string/format "(put root-env :syspath %v)\n" modules) text))
  (os/chmod fresh 8r755)
  (os/rename fresh to))
