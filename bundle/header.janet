###
### Finds the janet.h of the Janet that runs this.
###

(import ./prerequisites)

(defn- version-of
  "The version of the janet.h in a folder, or nil when there is none."
  [folder]
  (when-let [file (file/open (string folder "/janet.h") :r)]
    (def text (with [_ file] (file/read file :all)))
    (first (peg/match '(thru (* "#define JANET_VERSION" (some (set " \t")) `"` '(to `"`) `"`)) text))))

(defn- parent [path] (string/join (slice (string/split "/" path) 0 -2) "/"))

(defn executable
  "The path of the Janet that runs this, or nil when it is unknown."
  []
  (def name (dyn :executable ""))
  # `:executable` is what was typed. A name without a slash was found on the PATH.
  (if (string/find "/" name)
    (if (os/stat name) name)
    (find |(= :file (os/stat $ :mode)) (map |(string $ "/" name) (string/split ":" (os/getenv "PATH" ""))))))

(defn- candidates
  "Where the header may be, nearest first."
  []
  (def program (if-let [found (executable)] (os/realpath found)))
  (filter identity
          [(dyn :headerpath)
           (string (dyn :syspath) "/../../include/janet")
           (if program (string (parent (parent program)) "/include/janet"))]))

(defn path
  ``Returns the folder that has the janet.h of the Janet that runs this: JANET_HEADERPATH if it is set and not empty,
  else the first of the usual places with a header of the same version. Raises an error that says what was found where
  when there is none: a module built with another one would be refused when it is loaded, or worse.``
  []
  (def named (os/getenv "JANET_HEADERPATH" ""))
  (def places (if (empty? named) (candidates) [(prerequisites/typed-path named)]))
  (def found (find |(= janet/version (version-of $)) places))
  (unless found
    (error (string "no janet.h of Janet " janet/version " was found; set JANET_HEADERPATH to the folder that has it. "
                   "Looked in: "
                   (string/join (map |(string $ " (" (or (version-of $) "none") ")") places) ", "))))
  # Build scripts run in other folders, so the path must be absolute.
  (if (string/has-prefix? "/" found) found (string (os/cwd) "/" found)))
