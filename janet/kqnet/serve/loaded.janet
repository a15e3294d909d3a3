###
### In a worker under `kqnet-serve --reload`: telling the supervisor which files the program loads, so that it watches them too.
###
### A file is told of before it is read, so that one with an error in it is known as well.
###

(import ../_native :as native)

(def- variable
  ``The variable with the descriptor of the pipe to the supervisor. Each line that is written to it is "file VERSION", a tab and a path,
  or "folder", a tab and a path. A file that does not exist has no version.``
  "KQNET_LOADED")

# It belongs to the VM, and not to this module, of which the program may have another copy than kqnet-serve. Threads have none.
(def- key "Where the root environment has the pipe, or false if nobody wants to know." :kqnet/loaded)

(defn- absolute
  "Returns the absolute path of a file that need not exist, as short as it can be."
  [path]
  (def end (or (last (string/find-all "/" path)) -1))
  (def folder (string/slice path 0 (inc end)))
  (def [found? real] (protect (os/realpath (if (empty? folder) "." folder))))
  (def name (string/slice path (inc end)))
  (cond
    found? (string (string/trimr real "/") "/" name)
    (string/has-prefix? "/" path) path
    (string (os/cwd) "/" path)))

(defn- tell
  "Writes a line, unless it was the last one about this path. Nothing that fails here is of importance to the program."
  [{:pipe pipe :told told} kind path]
  (protect
    (def path (if (= "file" kind) (absolute path) (os/realpath path)))
    (def line (string kind (if (= "file" kind) (string " " (native/file-version path))) "\t" path "\n"))
    (unless (or (= line (in told path)) (string/find "\n" path))
      (put told path line)
      (native/tell-supervisor pipe line))))

(defn- candidates
  "Where a module would most likely be that is nowhere yet."
  [name]
  (def place (cond (string/has-prefix? "." name) ":cur:/:all:" (string/has-prefix? "/" name) ".:all:" ":sys:/:all:"))
  (map |(string (module/expand-path name (string place $))) [".janet" "/init.janet"]))

(defn- tell-of-modules
  "Tells of the files of all modules that are required from now on, by whichever loader, if the program does not hide module/paths."
  [channel]
  (var looking? false)
  (defn look [name]
    (unless looking?
      (set looking? true)
      (def [ok? found] (protect (module/find name)))
      (set looking? false)
      (when ok?
        (def [path] found)
        (each one (if path [path] (candidates name)) (tell channel "file" one))))
    # The search goes on.
    nil)
  (array/insert module/paths 0 [look :source]))

(defn- tell-of-dofile
  "Tells of the files that the program gives to `dofile`."
  [channel]
  (def original dofile)
  (defn telling [path & args]
    (when (bytes? path) (tell channel "file" path))
    (original path ;args))
  # An image, which may be loaded elsewhere, has core's.
  (put make-image-dict telling 'dofile)
  (put root-env 'dofile (merge (in root-env 'dofile) {:value telling})))

(defn- join
  "Returns the channel to the supervisor, after telling it of what was loaded before, or false."
  []
  (if-let [pipe (scan-number (or (os/getenv variable) ""))]
    (let [channel @{:pipe pipe :told @{}}]
      # Not imported by others: a function that is given to a thread would take the tables of all modules along.
      (put channel :folder (fn [path] (tell channel "folder" path)))
      (os/setenv variable nil)
      (native/keep-descriptor pipe)
      (each path [;(keys module/cache) ;(keys module/loading)]
        (when (and (bytes? path) (os/stat path)) (tell channel "file" path)))
      (tell-of-modules channel)
      (tell-of-dofile channel)
      channel)
    false))

(defn start
  "Tells the supervisor, if it wants to know, of what the program loads from now on."
  []
  (when (nil? (in root-env key))
    (def [ok? channel] (protect (join)))
    (put root-env key (if ok? channel false)))
  (in root-env key))
