###
### build.janet
###
### Builds the native half with cargo, for project.janet and for the bundle's hooks.
###

(import ./archive)
(import ./current)
(import ./files)
(import ./header)

(def folder
  "Where a build leaves the whole module, as it is installed."
  "build/kqnet")

(def- artifacts "build/cargo/release")

(defn- no-cargo
  "What to say when cargo cannot be run."
  []
  (if-let [user (os/getenv "SUDO_USER")]
    (string "root has no cargo: as " user ", build first (jpm build, or janet-pm build), then install as root what was built; "
            "or install Rust for all users")
    "cannot run cargo: install Rust, which brings it, and try again"))

(defn- run
  "Runs a program with JANET_HEADERPATH."
  [headerpath & args]
  (def env (merge (os/environ) {"JANET_HEADERPATH" headerpath}))
  (def status (try (os/execute args :pe env) ([_] (error (no-cargo)))))
  (unless (zero? status)
    (error (string (string/join args " ") " failed with status " status))))

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
  (current/forget folder)
  (def libraries (string (os/cwd) "/build/cargo/libraries"))
  (files/make-folder "build/cargo")
  (run headerpath
       "cargo" "rustc" "--release" "--locked" "--lib" "--target-dir" "build/cargo"
       "--" "--print" (string "native-static-libs=" libraries))
  (def library (find os/stat (map |(string artifacts "/libkqnet." $) ["dylib" "so"])))
  (files/lay-out folder (merge {"_native.so" library} (make-archive libraries)) "janet/kqnet")
  (current/record state folder))
