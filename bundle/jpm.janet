###
### Installation rules for jpm.
###
### jpm's own would overwrite a loaded library in place, and in a local tree they would give scripts a `#!` line with a
### Janet that does not exist.
###

(import ./build)
(import ./files)
(import ./header)

(defn- fresh
  "The path beside a path that is to be replaced, where what replaces it is written first."
  [to]
  (string to ".new"))

(defn stage-modules
  "Copies the module to beside where it is installed."
  [to]
  (files/writing (fresh to) to
                 (fn []
                   (files/remove (fresh to))
                   (files/copy-tree build/folder (fresh to)))))

(defn discard
  "Removes what was staged."
  [to]
  (files/remove (fresh to)))

(defn install
  "Moves what was staged to where it is installed."
  [to]
  (when (os/stat (fresh to))
    # jpm has removed it before, unless it does not know of it.
    (files/remove to)
    (os/rename (fresh to) to)))

(defn- first-line
  "The line that has this Janet run a script. If the system could not read the path there, `env` looks for Janet."
  []
  (def janet (header/executable))
  (def absolute (if janet (if (string/has-prefix? "/" janet) janet (os/realpath janet))))
  (string "#!" (if (and absolute (< (length absolute) 100) (not (string/find " " absolute)))
                 absolute
                 "/usr/bin/env janet")))

(defn stage-script
  "Copies a script to beside where it is installed, as one that this Janet runs and that finds the modules in a folder."
  [from to modules]
  (def [_ text] (string/split "\n" (slurp from) 0 2))
  (def script (string (first-line) "\n" (string/format "(put root-env :syspath %v)\n" modules) text))
  (files/writing (fresh to) to
                 (fn []
                   (files/make-folder (string/join (slice (string/split "/" to) 0 -2) "/"))
                   (files/write (fresh to) script 8r755))))
