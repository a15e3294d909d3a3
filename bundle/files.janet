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

(defn remove
  "Removes a file, or a folder with everything below it, if it is there."
  [path]
  (case (os/lstat path :mode)
    nil nil
    :directory (do
                 (each name (os/dir path) (remove (string path "/" name)))
                 (os/rmdir path))
    (os/rm path)))

(defn writing
  ``Calls a function that writes `fresh`, which is to become `to`. If it fails, `fresh` is removed, and the error names
  `to`.``
  [fresh to f]
  (try
    (f)
    ([err]
      (protect (remove fresh))
      (def text (string err))
      (error (if (string/has-prefix? "cannot write " text)
               text
               (string "cannot write " to ": " text "; is the disk full, or does the folder belong to another user?"))))))

(defn write
  "Writes a text to a file. Raises an error if it is not all there afterwards, as on a full disk."
  [path text &opt mode]
  (spit path text)
  (unless (= (length text) (os/stat path :size)) (error "the file is not complete"))
  (when mode (os/chmod path mode)))

(defn place
  "Copies a file in one step. A library that a program has loaded must not be written over."
  [from to &opt mode]
  (def fresh (string to ".new"))
  (def text (slurp from))
  (writing fresh to
           (fn []
             (write fresh text mode)
             (os/rename fresh to))))

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
