###
### What the tests know about the repository, the system and this process.
###

(defn shell-says
  "What a shell command prints."
  [command]
  (def shell (os/spawn ["sh" "-c" command] :p {:out :pipe}))
  (def text (ev/read (shell :out) :all))
  (os/proc-wait shell)
  (os/proc-close shell)
  (string/trim (or text "")))

(defn exists?
  "Whether there is something of this mode, such as :file, at a path."
  [path mode]
  (= mode (os/stat path :mode)))

(defn absolute
  "A path from the root, of a path that may be relative."
  [path]
  (if (string/has-prefix? "/" path) path (string (os/cwd) "/" path)))

(def project
  "The path of the repository."
  # This file is test/support/system.janet.
  (absolute (string/join (array/slice (string/split "/" (absolute (dyn *current-file*))) 0 -4) "/")))

(defn descriptor-limit
  "How many descriptors a process may have here."
  []
  (or (scan-number (shell-says "ulimit -n")) math/int32-max))

(defn scratch
  "A path in the folder for temporary files at which there is no file yet."
  [name]
  (def unique (string/join (map |(string/format "%02x" $) (os/cryptorand 6))))
  (string (os/getenv "TMPDIR") "/kqnet-" unique "-" name))

(defn remove
  "Removes a file, a link, or a folder with everything in it."
  [path]
  (when (= :directory (os/lstat path :mode))
    (each name (os/dir path) (remove (string path "/" name)))
    (os/rmdir path))
  (when (os/lstat path) (os/rm path)))

(defn descriptors
  "How many descriptors this process has open."
  []
  # Without the one that reads the folder.
  (dec (length (os/dir (if (exists? "/proc/self/fd" :directory) "/proc/self/fd" "/dev/fd")))))

(defn tasks
  "How many tasks the event loop has."
  []
  (length (ev/all-tasks)))

(defn event-loop
  "The system interface of Janet's event loop: :epoll, :poll, or nil if it is unknown."
  []
  (def folder "/proc/self/fd")
  (when (exists? folder :directory)
    (def targets (map |(protect (os/readlink (string folder "/" $))) (os/dir folder)))
    # A poll loop has no descriptor. kqnet's queue has one, so call this before it is in use.
    (if (some |(= "anon_inode:[eventpoll]" (get $ 1)) targets) :epoll :poll)))

(defn version-at-least?
  "Whether this Janet has at least a version such as [1 38]."
  [wanted]
  (def have (map scan-number (string/split "." (first (string/split "-" janet/version)))))
  (>= (compare (tuple/slice have 0 2) wanted) 0))

(def linux? "Whether this is Linux." (= :linux (os/which)))

(def slow?
  "Whether a sanitizer or a processor's emulator slows this down, so that measurements mean little."
  (let [host (os/getenv "KQNET_HOST" "")]
    (truthy? (or (string/has-suffix? "-asan" host) (string/has-suffix? "-arm64" host)))))
