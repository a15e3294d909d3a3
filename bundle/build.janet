###
### build.janet
###
### Builds the native half with cargo, for project.janet and for the bundle's hooks.
###

(import ./archive)
(import ./current)
(import ./files)
(import ./header)
(import ./prerequisites)

(def folder
  "The folder in which a build lays out the whole module as it will be installed."
  "build/kqnet")

(def- artifacts "build/cargo/release")

(defn- compile
  "Has cargo build both libraries, and write to a file what the static one has to be linked with."
  [headerpath libraries]
  (def command
    ["cargo" "rustc" "--release" "--locked" "--lib" "--target-dir" "build/cargo"
     "--" "--print" (string "native-static-libs=" (os/cwd) "/" libraries)])
  (def status (os/execute command :pe (merge (os/environ) {"JANET_HEADERPATH" headerpath})))
  (unless (zero? status)
    (error (prerequisites/failure (string/join command " ") status))))

(defn- make-archive
  "Makes the files for executables. The module is of use without them, so a failure is only reported."
  [libraries]
  (try
    (archive/make (string artifacts "/libkqnet.a") (archive/libraries (slurp libraries)) "build/cargo")
    ([err]
      (eprint "kqnet cannot be linked into executables on this machine, and works otherwise: " err)
      {})))

(defn build
  "Builds the module and lays it out in `folder`, below the current directory, unless that has been done."
  []
  (def headerpath (header/path))
  (def state (current/state headerpath))
  (when (current/current? state folder)
    (print "kqnet is built, and nothing has changed since")
    (break))
  (prerequisites/check)
  (current/forget folder)
  (def libraries "build/cargo/libraries")
  (files/make-folder "build/cargo")
  (compile headerpath libraries)
  (def library (find os/stat (map |(string artifacts "/libkqnet." $) ["dylib" "so"])))
  (files/lay-out folder (merge {"_native.so" library} (make-archive libraries)) "janet/kqnet")
  (current/record state folder))
