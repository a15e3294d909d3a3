###
### build.janet
###
### Builds the native half with cargo, for project.janet and for the bundle's hooks.
###

(import ./prerequisites)

(def folder
  "Where a build leaves the whole module, as it is installed."
  "build/kqnet")

(defn- header-version
  "The version that a janet.h is of, or nil when there is none."
  [headerpath]
  (when-let [file (file/open (string headerpath "/janet.h") :r)]
    (def text (with [_ file] (file/read file :all)))
    (first (peg/match '(thru (* "#define JANET_VERSION" (some (set " \t")) `"` '(to `"`) `"`)) text))))

(defn- parent [path] (string/join (slice (string/split "/" path) 0 -2) "/"))

(defn- candidates
  "Where the janet.h of the running Janet may be, nearest first."
  []
  (def executable (dyn :executable ""))
  # It is what was typed: a shell has looked for a bare name.
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
  ``Returns the folder that has the janet.h of the Janet that runs this: JANET_HEADERPATH if it is
  set and not empty, else the first of the usual places with a header of the same version. Raises an error
  that says what was found where when there is none: a module built with another one would be
  refused when it is loaded, or worse.``
  []
  (def named (os/getenv "JANET_HEADERPATH" ""))
  (def places (if (empty? named) (candidates) [(prerequisites/typed-path named)]))
  (or (find |(= janet/version (header-version $)) places)
      (error (string "no janet.h of Janet " janet/version " was found; set JANET_HEADERPATH to the folder that has it. "
                     "Looked in: "
                     (string/join (map |(string $ " (" (or (header-version $) "none") ")") places) ", ")))))

(defn- run
  [& args]
  (def env (merge-into (os/environ) {"JANET_HEADERPATH" (headerpath)}))
  (def status (os/execute args :pe env))
  (unless (zero? status)
    (error (prerequisites/failure (string/join args " ") status))))

(defn- place
  "Copies a file in one step. A library that a program has loaded must not be written over."
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
  "Returns the paths below a folder, those of folders before what is in them, as pairs of path and whether it is a folder."
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
  ``Makes `folder` hold a library and the files below `sources`, and nothing else: a file of an earlier version
  that was left there would be installed too, and kqnet/http.janet be loaded instead of kqnet/http/init.janet.``
  [folder library sources]
  (make-folder folder)
  (def wanted (from-pairs [["_native.so" false] ;(tree sources)]))
  # What is in a folder comes before the folder.
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
  (prerequisites/check)
  (run "cargo" "build" "--release" "--locked" "--target-dir" "build/cargo")
  (def library
    (find |(os/stat $) (map |(string "build/cargo/release/libkqnet." $) ["dylib" "so"])))
  (lay-out folder library "janet/kqnet"))
