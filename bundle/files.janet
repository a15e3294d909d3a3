###
### Lists folders that are to be installed, and fills them without disturbing a program that uses them.
###

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

(defn make-folder
  "Makes a folder, and those that it is in."
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
  ``Makes `folder` hold the files below `sources` and the native ones, and nothing else: a file of an earlier version
  that was left there would be installed too, and kqnet/http.janet be loaded instead of kqnet/http/init.janet.
  `natives` maps names to the paths of files.``
  [folder natives sources]
  (make-folder folder)
  (def wanted (from-pairs (tree sources)))
  (eachk name natives (put wanted name false))
  # What is in a folder comes before the folder.
  (each [path directory?] (reverse (tree folder))
    (unless (= directory? (in wanted path))
      ((if directory? os/rmdir os/rm) (string folder "/" path))))
  (eachp [name path] natives (place path (string folder "/" name)))
  (copy-tree sources folder))
