###
### Lists folders that are to be installed, and fills them without disturbing a program that uses them.
###

(defn tree
  ``Returns what is below a folder: pairs of a path and whether it is a folder. A folder comes before what is in it.``
  [folder &opt below]
  (default below "")
  (def found @[])
  (each name (sort (os/dir (string folder "/" below)))
    (def path (string below name))
    (def directory? (= :directory (os/stat (string folder "/" path) :mode)))
    (array/push found [path directory?])
    (when directory? (array/concat found (tree folder (string path "/")))))
  found)

(defn make-folder
  "Makes a folder, and the folders that it is in."
  [path]
  (var so-far (if (string/has-prefix? "/" path) "/" ""))
  (each part (filter |(not (empty? $)) (string/split "/" path))
    (set so-far (string so-far part "/"))
    (os/mkdir so-far)))

(defn place
  "Copies a file in one step. A library that a program has loaded must not be written over."
  [from to &opt mode]
  (def fresh (string to ".new"))
  (spit fresh (slurp from))
  (when mode (os/chmod fresh mode))
  (os/rename fresh to))

(defn copy-tree
  "Copies the files below a folder into another one, each in one step."
  [from to]
  (make-folder to)
  (each [path directory?] (tree from)
    (if directory?
      (os/mkdir (string to "/" path))
      (place (string from "/" path) (string to "/" path)))))

(defn lay-out
  ``Fills `folder` with the files below `sources` and the native ones, and removes everything else. A file that was left
  of an earlier version would be installed too: kqnet/http.janet would be loaded instead of kqnet/http/init.janet.
  `natives` maps names to the paths of files.``
  [folder natives sources]
  (make-folder folder)
  (def wanted (from-pairs (tree sources)))
  (eachk name natives (put wanted name false))
  # Reversed, so that what is in a folder comes before the folder.
  (each [path directory?] (reverse (tree folder))
    (unless (= directory? (in wanted path))
      ((if directory? os/rmdir os/rm) (string folder "/" path))))
  (eachp [name path] natives (place path (string folder "/" name)))
  (copy-tree sources folder))
