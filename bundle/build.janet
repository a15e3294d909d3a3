###
### build.janet
###
### Builds the native half with cargo, for project.janet and for the bundle's hooks.
###

(def folder
  "The folder in which a build lays out the whole module as it will be installed."
  "build/kqnet")

(defn- header-version
  "The version of Janet that a janet.h belongs to, or nil if there is no janet.h."
  [headerpath]
  (when-let [file (file/open (string headerpath "/janet.h") :r)]
    (def text (with [_ file] (file/read file :all)))
    (first (peg/match '(thru (* "#define JANET_VERSION" (some (set " \t")) `"` '(to `"`) `"`)) text))))

(defn- parent [path] (string/join (slice (string/split "/" path) 0 -2) "/"))

(defn- candidates
  "The folders in which the running Janet's janet.h may be, in the order in which to look."
  []
  (def executable (dyn :executable ""))
  # This is what was typed. If it is a bare name, the shell found it on the PATH.
  (def found
    (if (string/find "/" executable)
      executable
      (find |(= :file (os/stat $ :mode)) (map |(string $ "/" executable) (string/split ":" (os/getenv "PATH" ""))))))
  (def resolved (if found (os/realpath found)))
  (filter identity
          [(dyn :headerpath)
           (string (dyn :syspath) "/../../include/janet")
           (if resolved (string (parent (parent resolved)) "/include/janet"))]))

(defn headerpath
  ``Returns the folder that has the janet.h of the running Janet: JANET_HEADERPATH if it is
  set, else the first of the usual places that has a header of the same version. If there is none,
  raises an error that says what was found and where. A module that is built with another header
  would be refused when it is loaded, or worse.``
  []
  (def named (os/getenv "JANET_HEADERPATH"))
  (def places (if named [named] (candidates)))
  (or (find |(= janet/version (header-version $)) places)
      (error (string "no janet.h of Janet " janet/version " was found; set JANET_HEADERPATH to the folder that has it. "
                     "Looked in: "
                     (string/join (map |(string $ " (" (or (header-version $) "none") ")") places) ", ")))))

(defn- run
  [& args]
  (def env (merge-into (os/environ) {"JANET_HEADERPATH" (headerpath)}))
  (def status
    (try (os/execute args :pe env)
      ([_] (error (string "cannot run " (first args) ": install Rust, which brings it, and try again")))))
  (unless (zero? status)
    (error (string (string/join args " ") " failed with status " status))))

(defn- place
  "Copies a file and puts it in place in one step, because a library that a program has loaded must not be overwritten."
  [from to]
  (def fresh (string to ".new"))
  (spit fresh (slurp from))
  (os/rename fresh to))

(defn- make-folder
  [path]
  (var so-far "")
  (each part (string/split "/" path)
    (set so-far (string so-far part "/"))
    (os/mkdir so-far)))

(defn tree
  "Returns the paths below a folder as pairs of path and whether it is a folder. A folder comes before its contents."
  [folder &opt below]
  (default below "")
  (def found @[])
  (each name (sort (os/dir (string folder "/" below)))
    (def path (string below name))
    (def directory? (= :directory (os/stat (string folder "/" path) :mode)))
    (array/push found [path directory?])
    (when directory? (array/concat found (tree folder (string path "/")))))
  found)

(defn lay-out
  ``Makes `folder` hold a library and the files below `sources`, and nothing else. A file left from an earlier version
  would be installed too, and kqnet/http.janet would be loaded instead of kqnet/http/init.janet.``
  [folder library sources]
  (make-folder folder)
  (def wanted (from-pairs [["_native.so" false] ;(tree sources)]))
  # The contents of a folder must be removed before the folder.
  (each [path directory?] (reverse (tree folder))
    (unless (= directory? (in wanted path))
      ((if directory? os/rmdir os/rm) (string folder "/" path))))
  (place library (string folder "/_native.so"))
  (each [path directory?] (tree sources)
    (if directory?
      (os/mkdir (string folder "/" path))
      (place (string sources "/" path) (string folder "/" path)))))

(defn build
  "Builds the module and lays it out in `folder`, below the current directory."
  []
  (run "cargo" "build" "--release" "--locked" "--target-dir" "build/cargo")
  (def library
    (find |(os/stat $) (map |(string "build/cargo/release/libkqnet." $) ["dylib" "so"])))
  (lay-out folder library "janet/kqnet"))
