###
### Finds out whether what is in build/ was made from the files as they are now.
###
### If it was, root may install what another user has built, and needs no cargo for that.
###

(import ./files)

(def- sources ["Cargo.toml" "Cargo.lock" "build.rs" "src" "crates" "bundle" "janet"])

(defn- seen
  "A tuple that differs for different states of a file."
  [path]
  (def {:size size :modified modified} (or (os/stat path) {}))
  [path size modified])

(defn- below
  "The files below a folder, or the path itself if it is not a folder."
  [path]
  (if (= :directory (os/stat path :mode))
    (seq [[name directory?] :in (files/tree path) :unless directory?] (string path "/" name))
    [path]))

(defn state
  "Returns what a build depends on as a string: the checkout's files, and this Janet with its header."
  [headerpath]
  (def [_ size modified] (seen (string headerpath "/janet.h")))
  (string/format "%j" [janet/version size modified ;(map seen (mapcat below sources))]))

(defn- record-of [folder] (string folder ".built"))

(defn- whole
  "The text of a record: the state that a folder was built from, and the files that were built."
  [state folder]
  (string/format "%s\n%j\n" state (map seen (below folder))))

(defn current?
  "Whether a folder has everything that was built from this state."
  [state folder]
  (and (os/stat folder)
       (os/stat (record-of folder))
       (= (whole state folder) (string (slurp (record-of folder))))))

(defn record
  "Records that a folder has what was built from this state."
  [state folder]
  (spit (record-of folder) (whole state folder)))

(defn forget
  "Removes the record of a folder that is about to change."
  [folder]
  (protect (os/rm (record-of folder))))
