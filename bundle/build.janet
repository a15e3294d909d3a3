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

(def commands
  "The scripts in bin/ that are installed with the module."
  ["kqnet-doctor" "kqnet-serve"])

(defn compile
  ``Has cargo build both libraries for this system, and write to a file what the static one has to be linked with.
  Returns the folder that has the libraries. The target is named because the user's configuration of cargo may name
  another one, and because the folder depends on it.``
  [headerpath libraries]
  (def target (prerequisites/host))
  (def command
    ["cargo" "rustc" "--release" "--locked" "--lib" "--target" target "--target-dir" "build/cargo"
     "--" "--print" (string "native-static-libs=" (os/cwd) "/" libraries)])
  (def status (os/execute command :pe (merge (os/environ) {"JANET_HEADERPATH" headerpath})))
  (unless (zero? status)
    (error (prerequisites/failure (string/join command " ") status)))
  (string "build/cargo/" target "/release"))

(defn artifact
  "Returns the path of the library in a folder that has one of these suffixes. Raises an error if there is none."
  [folder & suffixes]
  (def paths (map |(string folder "/libkqnet." $) suffixes))
  (or (find os/stat paths)
      (error (string "cargo succeeded but made no " (string/join paths " or ")
                     "; type: rm -rf build, and build again"))))

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
  (def compiled (compile headerpath libraries))
  (def natives (archive/make (artifact compiled "a") (archive/libraries (slurp libraries)) "build/cargo"))
  (put natives "_native.so" (artifact compiled "dylib" "so"))
  (files/lay-out folder natives "janet/kqnet")
  (current/record state folder))
