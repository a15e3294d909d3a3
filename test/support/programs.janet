###
### Finds and runs the system's programs, for the tests that need them.
###

(import ./init :as t)

(def- folders
  # Servers may be in folders that are not on everybody's path.
  [;(string/split ":" (os/getenv "PATH" "")) "/usr/sbin" "/usr/local/sbin" "/sbin"])

(defn find-program
  "The path of a program, or nil if it is not installed."
  [name]
  (find |(= :file (os/stat $ :mode)) (map |(string $ "/" name) folders)))

(defn need
  "Skips the running test unless all of these programs are installed. Returns their paths."
  [& names]
  (def missing (filter |(nil? (find-program $)) names))
  (unless (empty? missing) (t/skip (string "not installed: " (string/join missing ", "))))
  (map find-program names))

(defn run
  "Runs a program to its end. Returns its exit status, and its output and errors in one string."
  [& args]
  (with [process (t/start ;args)]
    (def status (:wait process))
    (t/wait-until "the end of its output" |(and (process :out-ended) (process :err-ended)))
    [status (string (process :out) (process :err))]))

(def host
  "The host that `cargo xtask test` runs this file on, or \"native\" for the system's Janet."
  (os/getenv "KQNET_HOST" "native"))

(def janet
  "The path of the Janet that runs this."
  (let [name (dyn *executable*)]
    (os/realpath (if (string/find "/" name) name (find-program name)))))

(def prefix
  "The folder in which that Janet is installed."
  (string/join (slice (string/split "/" janet) 0 -3) "/"))

(defn remove
  "Removes a folder and all that is in it."
  [folder]
  (each name (os/dir folder)
    (def path (string folder "/" name))
    (if (= :directory (os/lstat path :mode)) (remove path) (os/rm path)))
  (os/rmdir folder))

(defn with-folder
  "Calls a function with an empty folder."
  [f]
  (def folder (t/scratch "folder"))
  (os/mkdir folder)
  (defer (remove folder) (f (os/realpath folder))))

# jpm.

(def- jpm-folder
  "The folder that has jpm's modules: the one that JPM names, or one of those that have Janet's modules."
  (find |(= :file (os/stat (string $ "/jpm/cli.janet") :mode))
        [(os/getenv "JPM" "") t/own-modules]))

(defn jpm
  ``How to run jpm by this Janet, with the modules in one folder. Ends the running test as skipped where there is none.
  Scripts go to the folder bin in that of the modules.``
  [modules]
  (unless jpm-folder (t/skip "jpm is not installed, and $JPM does not name the folder that has jpm/cli.janet"))
  (def config
    {:ar "ar" :cc "cc" :cc-link "cc" :c++ "c++" :c++-link "c++" :cflags @["-std=c99"] :cppflags @["-std=c++11"]
     :cflags-verbose @[] :dynamic-cflags @["-fPIC"] :dynamic-lflags @["-shared"] :ldflags @[] :lflags @[]
     :janet-cflags @[] :janet-lflags @["-lm" "-pthread"] :modext ".so" :statext ".a" :is-msvc false
     :optimize 2 :auto-shebang true :gitpath "git" :tarpath "tar" :curlpath "curl" :pkglist "" :janet janet
     :headerpath (string prefix "/include/janet") :libpath (string prefix "/lib")
     :modpath modules :binpath (string modules "/bin") :manpath (string modules "/man")
     :nocolor true :use-batch-shell false :verbose false :silent false :local false :test false})
  (def program
    ~[(put root-env :jpm-config ',config)
      (put root-env :syspath ,jpm-folder)
      (import jpm/cli)
      (cli/main "jpm" ;(drop 2 (dyn :args)))
      (os/exit)])
  [janet "-e" (t/source program)])
