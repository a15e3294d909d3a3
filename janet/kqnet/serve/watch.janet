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

(defn- below
  "Returns a folder and all folders in it."
  [folder]
  (def found @[folder])
  (each name (or (last (protect (os/dir folder))) [])
    (def path (string folder "/" name))
    (when (and (not (string/has-prefix? "." name))
               (not (has-value? ignored name))
               (= :directory (os/lstat path :mode)))
      (array/concat found (below path))))
  found)

(defn- times
  "Returns the times and sizes of the files in some folders that matter, by their paths."
  [folders matters?]
  (def found @{})
  (each root folders
    (each folder (below root)
      (each name (or (last (protect (os/dir folder))) [])
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
  (defn add [root] (each folder (below root) (protect (filewatch/add watcher folder))))
  (each folder folders (add folder))
  (filewatch/listen watcher)
  (forever
    (var event (ev/take told))
    (var changed nil)
    # All that belongs to one change.
    (while event
      (def path (string (event :dir-name) "/" (event :file-name)))
      (cond
        (= :directory (os/stat path :mode)) (add path)
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
