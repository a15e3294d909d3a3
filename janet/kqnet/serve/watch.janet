###
### Noticing that files were changed: those in the program's folder and in folders below it, and those that the program has loaded from
### elsewhere.
###
### What has changed is always found by comparing the versions of all files with those before. Linux tells when to do that, so that
### nothing runs in the meantime. Elsewhere, and if Linux cannot tell, it is done twice a second, or less often for very many files.
###

(import ../_native :as native)

(def- interval
  "How many seconds pass between two looks at the files, where the system does not tell."
  0.5)

(def- quiet
  "How many seconds to wait for more changes: an editor writes a file in several steps, and git many files."
  0.05)

(def- longest-wait
  "For how many seconds to wait for more changes at most, however many there are."
  1)

(def- ignored
  "Folders that are not looked into, besides those whose name begins with a dot."
  ["jpm_tree" "node_modules" "build" "target"])

(def- of-editors
  ``The names of files that editors keep for themselves: hidden ones, backups and half-written ones. Vim tries whether it may make
  files by one that is called 4913 or another number.``
  (peg/compile
    ~(+ "."
        (* "#" (thru "#") -1)
        (* (some :d) -1)
        (thru (* (+ "~" ".swp" ".swo" ".swx" ".tmp" ".bak" "___jb_tmp___" "___jb_old___") -1)))))

(defn- visit
  ``Calls `on-folder` with a folder and each one below it, before the names in that are read, and `on-file` with each other
  path in them. A folder that is a key of `visited` was visited before.``
  [folder visited on-folder on-file]
  (unless (in visited folder)
    (put visited folder true)
    (on-folder folder)
    (def [read? names] (protect (os/dir folder)))
    (each name (if read? names [])
      (def path (string folder "/" name))
      (if (= :directory (os/lstat path :mode))
        (unless (or (string/has-prefix? "." name) (has-value? ignored name))
          (visit path visited on-folder on-file))
        (unless (peg/match of-editors name)
          (on-file path))))))

(defn- versions
  ``Returns the versions of the files in some folders that matter, and of some files, by their paths. Calls `on-folder` with each
  folder.``
  [folders matters? files on-folder]
  (def found @{})
  (def visited @{})
  (each folder folders
    (visit folder visited on-folder (fn [path] (when (matters? path) (put found path (native/file-version path))))))
  (each path files (put found path (native/file-version path)))
  found)

(defn- changed
  "Returns the paths whose versions differ."
  [before now]
  (distinct (filter |(not= (before $) (now $)) [;(keys now) ;(keys before)])))

(defn- wait-for-events
  ``Waits until the stream of the system has told of a change, and then until it tells of nothing for a moment. `some` says which names
  matter in which folders (`native/tells-of-change?`).``
  [stream some]
  (def events @"")
  (while (not (native/tells-of-change? events some))
    (unless (ev/read stream 65536 (buffer/clear events))
      (error "the system no longer tells of changes")))
  (def end (+ longest-wait (os/clock :monotonic)))
  (forever
    (ev/sleep quiet)
    # What is there already is read at once.
    (unless (and (first (protect (ev/read stream 65536 (buffer/clear events) 0.001)))
                 (< (os/clock :monotonic) end))
      (break))))

(defn- parts
  "Returns the folder of a path and the name in it, or nil if there is no folder above it that is known."
  [path]
  (def end (last (string/find-all "/" path)))
  (cond
    (has-value? ["." ".." "/"] path) nil
    (nil? end) ["." path]
    [(if (zero? end) "/" (string/slice path 0 end)) (string/slice path (inc end))]))

(defn- watch-name
  ``Has the stream tell of a name in its folder, and notes that in `watched`. While the folder is not there, the nearest one above it
  that is there tells of it.``
  [stream watched path]
  (when-let [[folder name] (parts path)]
    (def number
      (or (native/watch-folder stream folder)
          (do
            (watch-name stream watched folder)
            # It may have come in the meantime.
            (native/watch-folder stream folder))))
    (when (and number (not (in (watched :whole) number)))
      (put-in (watched :some) [number name] true))))

(defn- watch-path
  "Has the stream tell of a path, and of what it leads to if it is a link."
  [stream watched path]
  (watch-name stream watched path)
  (def [there? real] (protect (os/realpath path)))
  (when (and there? (not= real path))
    (watch-name stream watched real)))

(defn start
  ``Calls `tell` with an array of the paths of files that were changed in a folder, or below, again and again, from now on. `matters?`
  says, of a path, whether anybody wants to know, and `say` tells the operator something. Returns functions that have more watched:

  * :file - takes the number of the worker that has loaded a file, its absolute path, and the version that was loaded, "" if it did
    not exist. It is told of, whether or not it matters otherwise.
  * :folder - takes the absolute path of another folder.
  * :loaded? - takes a path that `tell` was given. Returns whether it is one of a loaded file.``
  [folder matters? tell say]
  (var stream nil)
  (defn do-without [why]
    (say (string "the system does not tell when files change: " why "; they are looked at again and again instead"))
    (when stream (ev/close stream))
    (set stream nil))
  (defn missing? [] (not= :directory (os/stat folder :mode)))
  # The files that were loaded, with the number of the last worker that has done so, and other folders.
  (def files @{})
  (def folders @{})
  # The numbers of the folders in which all names matter, and the names that matter in others.
  (def watched {:whole @{} :some @{}})
  (defn watch-one [path]
    (when stream
      (try (watch-path stream watched path) ([err] (do-without err)))))
  (var pause interval)
  (defn look []
    (def began (os/clock :monotonic))
    (each table (values watched) (table/clear table))
    (each path [;(keys files) ;(keys folders)] (watch-one path))
    (defer (set pause (max interval (* 10 (- (os/clock :monotonic) began))))
      (versions [folder ;(keys folders)] matters? (keys files)
                (fn [folder]
                  (when stream
                    (try
                      (when-let [number (native/watch-folder stream folder)]
                        (put (watched :whole) number true)
                        (put (watched :some) number nil))
                      ([err] (do-without err))))))))
  (try (set stream (native/notifications)) ([err] (do-without err)))
  (var before (look))
  (defn own-path [path]
    # As the files in the program's folder are called here.
    (def [there? real] (protect (os/realpath folder)))
    (def start (if there? (string (string/trimr real "/") "/")))
    (cond
      (not there?) path
      (= path real) folder
      (string/has-prefix? start path) (string folder "/" (string/slice path (length start)))
      path))
  (defn inside? [path] (string/has-prefix? (string folder "/") path))
  (defn watch []
    (if stream
      (try (wait-for-events stream (watched :some)) ([err] (when stream (do-without err))))
      (ev/sleep pause))
    (when (missing?)
      (say (string "the folder " folder " is gone; no change is seen until it is back"))
      (while (missing?) (ev/sleep interval)))
    (def now (look))
    (def paths (changed before now))
    (set before now)
    (unless (empty? paths) (tell paths)))
  (ev/go (fn watch-files []
           (try
             (forever (watch))
             ([err] (say (string "files are no longer watched: " err))))))
  {:file
   (fn [number given version]
     (def path (own-path given))
     (def last-number (in files path))
     (put files path number)
     (unless last-number (watch-one given))
     (def now (native/file-version path))
     (def same? (= version (or now "")))
     (cond
       # A program may write files elsewhere and load them: this version runs, whichever was there before.
       (and same? (or (nil? (in before path)) (and last-number (> number last-number) (not (inside? path))))) (put before path now)
       (and (not same?) (not last-number) (nil? (in before path)))
       (do
         (put before path now)
         (tell [path]))))
   :folder
   (fn [given]
     (def path (own-path given))
     (unless (in folders path)
       (put folders path true)
       (def now (look))
       # What it has in it is not new.
       (eachp [one version] now
         (when (nil? (in before one)) (put before one version)))))
   :loaded? (fn [path] (truthy? (in files path)))})
