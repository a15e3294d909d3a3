###
### How a build lays out the module, for jpm and for Janet's bundles to install.
###

(import ./support :as t)
(import ../bundle/archive)
(import ../bundle/build)
(import ../bundle/files)
(import ../bundle/prerequisites)

(defn- make
  "Makes a folder with files, given as pairs of path and text; a folder comes before its files."
  [folder & files]
  (os/mkdir folder)
  (each [path text] (partition 2 files)
    (def parts (string/split "/" path))
    (when (next (slice parts 0 -2)) (os/mkdir (string folder "/" (first parts))))
    (spit (string folder "/" path) text)))

(defn- paths [folder] (map first (files/tree folder)))

(t/test "a build leaves nothing of an earlier version, which Janet might load instead"
  (def [sources out] (map t/scratch ["sources" "out"]))
  (make sources "init.janet" "" "http/init.janet" "new" "http/types.janet" "")
  (make out "init.janet" "" "http.janet" "old" "gone/init.janet" "" "_native.so" "old")
  (def library (t/scratch "library"))
  (spit library "new")
  (defer (do (os/rm library) (each folder [sources out] (t/remove folder)))
    (files/lay-out out {"_native.so" library} sources)
    (t/same ["_native.so" "http" "http/init.janet" "http/types.janet" "init.janet"] (tuple ;(paths out)))
    (t/same "new" (string (slurp (string out "/_native.so"))))))

(t/test "a folder may become a file, and a file may become a folder"
  (def [sources out] (map t/scratch ["sources" "out"]))
  (make sources "a/b.janet" "new" "c" "new")
  (make out "a" "old" "c/d.janet" "old")
  (def library (t/scratch "library"))
  (spit library "")
  (defer (do (os/rm library) (each folder [sources out] (t/remove folder)))
    (files/lay-out out {"_native.so" library} sources)
    (t/same ["_native.so" "a" "a/b.janet" "c"] (tuple ;(paths out)))))

(t/test "a file is replaced in one step, and not written over"
  (def [from to] (map t/scratch ["from" "to"]))
  (spit from "new")
  (spit to "old")
  (defer (each path [from to] (os/rm path))
    (with [reader (file/open to :r)]
      (files/place from to)
      (t/same "new" (string (slurp to)))
      # A program that uses the old one still has it.
      (t/same "old" (string (file/read reader :all))))))

(t/test "a file that cannot be written is named with the reason, and nothing of it stays"
  (def [from out] (map t/scratch ["from" "out"]))
  (spit from "new")
  (make out)
  # A folder cannot be replaced by a file.
  (os/mkdir (string out "/taken"))
  (defer (do (os/rm from) (t/remove out))
    (each to [(string out "/taken") (string out "/missing/file")]
      (def said (t/raised |(files/place from to)))
      (t/check (string/has-prefix? (string "cannot write " to ": ") said) said)
      (t/check (string/find "; is the disk full" said) said)
      (t/same nil (string/find "\n" said)))
    (t/same ["taken"] (tuple ;(paths out)))
    (when (os/stat "/dev/full")
      (t/check (t/raised |(files/write "/dev/full" "new")) "a full disk is noticed"))))

(t/test "without the tools that hide its names, the static library itself is what executables are linked with"
  (def [library out] (map t/scratch ["library" "out"]))
  (spit library "library")
  (os/mkdir out)
  (def before (os/getenv "CC"))
  (os/setenv "CC" "kqnet-no-compiler")
  (defer (do (os/setenv "CC" before) (os/rm library) (t/remove out))
    (def said @"")
    (with-dyns [*err* said] (archive/make library ["-lm"] out))
    (t/check (string/has-suffix? "cannot be hidden: cannot run kqnet-no-compiler\n" said) said)
    (t/same ["_native.a" "_native.meta.janet"] (tuple ;(paths out)))
    (t/same "library" (string (slurp (string out "/_native.a"))))
    (t/same ["-lm"] (in (eval-string (slurp (string out "/_native.meta.janet"))) :lflags))))

(t/test "a library that cargo did not make is an error, and one of another target is not taken"
  (def cargo (t/scratch "cargo"))
  (make cargo "release/libkqnet.so" "old")
  (defer (t/remove cargo)
    (def folder (string cargo "/x86_64-unknown-linux-gnu/release"))
    (t/same (string "cargo succeeded but made no " folder "/libkqnet.dylib or " folder
                    "/libkqnet.so; type: rm -rf build, and build again")
            (t/raised |(build/artifact folder "dylib" "so")))
    (t/same (string cargo "/release/libkqnet.so") (build/artifact (string cargo "/release") "dylib" "so"))))

(t/test "a build is for this system, whatever target the user's configuration of cargo names"
  (def folder (t/scratch "programs"))
  (os/mkdir folder)
  (def cargo (string folder "/cargo"))
  (spit cargo "#!/bin/sh\necho \"$@\" >>\"$0.said\"; exit 7\n")
  (os/chmod cargo 8r755)
  (def path (os/getenv "PATH"))
  (os/setenv "PATH" (string folder ":" path))
  (defer (do (os/setenv "PATH" path) (t/remove folder))
    (t/check (t/raised |(build/compile "/nonexistent" "libraries")) "cargo fails")
    (def said (string (slurp (string cargo ".said"))))
    (t/check (string/find (string " --target " (prerequisites/host) " ") said) said)))

(t/test "libgcc_s is left to the compiler, and the rest is what rustc says"
  (t/same ["-liconv" "-framework" "Security"] (archive/libraries "-lgcc_s -liconv  -framework Security\n")))

(t/finish)
