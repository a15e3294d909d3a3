###
### Noticing that files in folders, or in folders below them, were changed.
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
  path in them.``
  [folder on-folder on-file]
  (on-folder folder)
  (def [read? names] (protect (os/dir folder)))
  (each name (if read? names [])
    (def path (string folder "/" name))
    (if (= :directory (os/lstat path :mode))
      (unless (or (string/has-prefix? "." name) (has-value? ignored name))
        (visit path on-folder on-file))
      (unless (peg/match of-editors name)
        (on-file path)))))

(defn- versions
  "Returns the versions of the files in some folders that matter, by their paths. Calls `on-folder` with each folder."
  [folders matters? on-folder]
  (def found @{})
  (each folder folders
    (visit folder on-folder (fn [path] (when (matters? path) (put found path (native/file-version path))))))
  found)

(defn- changed
  "Returns the paths whose versions differ."
  [before now]
  (distinct (filter |(not= (before $) (now $)) [;(keys now) ;(keys before)])))

(defn- wait-for-events
  "Waits until the stream of the system has told of a change, and then until it tells of nothing for a moment."
  [stream]
  (def events @"")
  (while (not (native/tells-of-change? events))
    (unless (ev/read stream 65536 (buffer/clear events))
      (error "the system no longer tells of changes")))
  (def end (+ longest-wait (os/clock :monotonic)))
  (forever
    (ev/sleep quiet)
    # What is there already is read at once.
    (unless (and (first (protect (ev/read stream 65536 (buffer/clear events) 0.001)))
                 (< (os/clock :monotonic) end))
      (break))))

(defn start
  ``Calls `tell` with an array of the paths of files that were changed in one of these folders, or below, again and again, from now
  on. `matters?` says, of a path, whether anybody wants to know, and `say` tells the operator something.``
  [folders matters? tell say]
  (var stream nil)
  (defn do-without [why]
    (say (string "the system does not tell when files change: " why "; they are looked at again and again instead"))
    (when stream (ev/close stream))
    (set stream nil))
  (defn missing [] (find |(not= :directory (os/stat $ :mode)) folders))
  (var pause interval)
  (defn look []
    (def began (os/clock :monotonic))
    (defer (set pause (max interval (* 10 (- (os/clock :monotonic) began))))
      (versions folders matters?
                (fn [folder]
                  (when stream
                    (try (native/watch-folder stream folder) ([err] (do-without err))))))))
  (try (set stream (native/notifications)) ([err] (do-without err)))
  (var before (look))
  (defn watch []
    (if stream
      (try (wait-for-events stream) ([err] (do-without err)))
      (ev/sleep pause))
    (when-let [folder (missing)]
      (say (string "the folder " folder " is gone; no change is seen until it is back"))
      (while (missing) (ev/sleep interval)))
    (def now (look))
    (def paths (changed before now))
    (set before now)
    (unless (empty? paths) (tell paths)))
  (ev/go (fn watch-files []
           (try
             (forever (watch))
             ([err] (say (string "files are no longer watched: " err)))))))
