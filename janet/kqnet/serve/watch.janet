###
### Noticing that a file in a folder, or in one below it, was changed.
###
### Janet's filewatch tells on Linux, without any work in the meantime. Elsewhere the times of the files are looked at.
###

(def- interval
  "How many seconds pass between two looks at the times of files, where the system does not tell."
  0.5)

(def- quiet
  "How many seconds to wait for more changes: an editor writes a file in several steps, and git many files."
  0.05)

(def- ignored
  "Folders that are not looked into, besides those whose name begins with a dot."
  ["jpm_tree" "node_modules" "build" "target"])

(defn- watched-folder?
  "Whether the entry of a folder with this name is a folder that is looked into."
  [folder name]
  (and (not (string/has-prefix? "." name))
       (not (has-value? ignored name))
       (= :directory (os/lstat (string folder "/" name) :mode))))

(defn- names-in
  "The names in a folder; none if it is gone."
  [folder]
  (def [read? names] (protect (os/dir folder)))
  (if read? names []))

(defn- below
  "Returns a folder and all folders in it."
  [folder]
  (def found @[folder])
  (each name (names-in folder)
    (when (watched-folder? folder name)
      (array/concat found (below (string folder "/" name)))))
  found)

(defn- times
  "Returns the times and sizes of the files in some folders that matter, by their paths."
  [folders matters?]
  (def found @{})
  (each root folders
    (each folder (below root)
      (each name (names-in folder)
        (def path (string folder "/" name))
        (when-let [{:mode mode :modified modified :size size :inode inode} (if (matters? path) (os/stat path))
                   _ (= mode :file)]
          (put found path [modified size inode])))))
  found)

(defn- look
  "Looks at the times of files for ever."
  [folders matters? tell]
  (var before (times folders matters?))
  (forever
    (ev/sleep interval)
    (def now (times folders matters?))
    (unless (deep= before now)
      (def changed (find |(not= (before $) (now $)) [;(keys now) ;(keys before)]))
      (set before now)
      (tell changed))))

(def- flags [:close-write :create :moved-to :moved-from :delete])

(defn- listen
  "Waits for what the system tells, for ever."
  [folders matters? tell]
  (def told (ev/chan 1000))
  (def watcher (filewatch/new told ;flags))
  (defn add [root]
    (def all (below root))
    (each folder all (protect (filewatch/add watcher folder)))
    all)
  (each folder folders (add folder))
  # Files may have been written to a new folder before it was watched, or have come with it.
  (defn add-new [root]
    (def files (mapcat (fn [folder] (map |(string folder "/" $) (names-in folder))) (add root)))
    (find |(and (= :file (os/stat $ :mode)) (matters? $)) files))
  (filewatch/listen watcher)
  (forever
    (var event (ev/take told))
    (var changed nil)
    # All that belongs to one change.
    (while event
      (def {:dir-name folder :file-name name} event)
      (def path (string folder "/" name))
      (cond
        (= :directory (os/stat path :mode))
        (when (watched-folder? folder name)
          (when-let [file (add-new path)] (set changed file)))
        # A file that was only created is written and closed next.
        (= :create (event :type)) nil
        (matters? path) (set changed path))
      (when (zero? (ev/count told)) (ev/sleep quiet))
      (set event (if (pos? (ev/count told)) (ev/take told))))
    (when changed (tell changed))))

(defn start
  ``Calls `tell` with the path of a file that was changed in one of these folders, or below, again and again. `matters?`
  says, of a path, whether anybody wants to know.``
  [folders matters? tell]
  (ev/go (fn watch-files []
           (if (= :linux (os/which))
             (listen folders matters? tell)
             (look folders matters? tell)))))
