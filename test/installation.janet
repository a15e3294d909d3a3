###
### Installing, upgrading and removing kqnet, by jpm, by Janet's bundles and by janet-pm.
###
### What was built by one user is installed by another who has no cargo, and an installation that fails leaves the one
### that works.
###

(import ./support :as t)
(import ./support/programs :as p)
(import ../bundle/current)
(import ../bundle/files)

(def- spork (t/need-spork))

(def- modules (dyn *syspath*))

(defn- copy [from to] (spit to (slurp from)))

(defn- make-checkout
  "Makes a checkout that somebody has built: the module is the one under test, and what depends on cargo is left out."
  [checkout]
  (each folder ["" "/bundle" "/bin" "/build"] (os/mkdir (string checkout folder)))
  (each file (os/dir (string t/project "/bundle"))
    (copy (string t/project "/bundle/" file) (string checkout "/bundle/" file)))
  (copy (string t/project "/project.janet") (string checkout "/project.janet"))
  (each name ["kqnet-doctor" "kqnet-serve"]
    (copy (string t/project "/bin/" name) (string checkout "/bin/" name)))
  # A bundle is not installed before those that it needs.
  (def info (parse (slurp (string checkout "/bundle/info.jdn"))))
  (spit (string checkout "/bundle/info.jdn") (string/format "%j" (merge info {:dependencies []})))
  (spit (string checkout "/Cargo.toml") "")
  (def here (os/cwd))
  (defer (os/cd here)
    (os/cd checkout)
    (files/copy-tree (string modules "/kqnet") "build/kqnet")
    (current/record (current/state (string p/prefix "/include/janet")) "build/kqnet")))

(defn- with-checkout
  ``Calls a function with a built checkout, an empty folder for modules, and a function that runs a command in the
  checkout, by a user who has no cargo, and returns its status and what it printed.``
  [f]
  (unless (os/stat (string p/prefix "/include/janet/janet.h"))
    (t/skip (string "this Janet was installed without " p/prefix "/include/janet/janet.h")))
  (p/with-folder
    (fn [work]
      (def [checkout target bin] (map |(string work "/" $) ["checkout" "modules" "bin"]))
      (make-checkout checkout)
      (each folder [target bin] (os/mkdir folder))
      (os/symlink p/janet (string bin "/janet"))
      (defn run [& args]
        (p/run "sh" "-c" `cd "$0" && PATH=$1 JANET_PATH=$2 && export PATH JANET_PATH && shift 2 && exec "$@"`
               checkout bin target ;args))
      (f checkout target run))))

(defn- succeeds
  "Runs something, which has to succeed, and returns what it printed."
  [run & args]
  (def [status said] (run ;args))
  (t/same 0 status said)
  said)

(defn- works
  "Fails unless the installed module can be loaded."
  [run]
  (t/check (string/find "installed" (succeeds run p/janet "-e" "(import kqnet) (kqnet/backend) (print `installed`)"))
           "the module loads"))

(defn- is-gone
  [run]
  (t/check (not= 0 (first (run p/janet "-e" "(import kqnet)"))) "the module is gone"))

(defn- over-a-running-program
  "Installs while a program runs that has the module loaded, which has to go on."
  [target install]
  (def forms '[(import kqnet)
               (def l (kqnet/server "127.0.0.1" 0 (fn [conn] (defer (:close conn) (:write conn (:read conn 10))))))
               (print (last (net/localname l)))
               (flush)])
  (with [process (t/start {"JANET_PATH" target} p/janet "-e" (t/source forms))]
    (def port (:port process))
    (install)
    (repeat 3 (t/same "hello" (t/ask port "hello")))
    (t/same nil (process :status))))

(defn- change
  "Makes a file of the checkout another one, so that its build is not current."
  [checkout]
  (spit (string checkout "/Cargo.toml") "changed"))

# jpm.

(def- script-runs "What kqnet-doctor says to an option that it does not know." "kqnet-doctor")

(t/test "jpm installs what was built, upgrades it under a running program, and removes it"
  (with-checkout
    (fn [checkout target run]
      (def jpm (p/jpm target))
      (succeeds run ;jpm "install")
      (works run)
      (t/check (os/stat (string target "/kqnet/_native.so")) "the library")
      (each name ["kqnet-doctor" "kqnet-serve"]
        (t/check (string/find name (last (run (string target "/bin/" name) "--unknown"))) "the script runs"))
      (over-a-running-program target |(succeeds run ;jpm "install"))
      (works run)
      (succeeds run ;jpm "uninstall")
      (is-gone run)
      (each name ["kqnet-doctor" "kqnet-serve"]
        (t/same nil (os/stat (string target "/bin/" name)))))))

(t/test "an installation by jpm that cannot build says what to type, and leaves the one that works"
  (with-checkout
    (fn [checkout target run]
      (def jpm (p/jpm target))
      (succeeds run ;jpm "install")
      (change checkout)
      (def [status said] (run "/usr/bin/env" "SUDO_USER=alice" ;jpm "install"))
      (t/check (not= 0 status) "the installation fails")
      (t/check (string/find "as alice, build first" said) said)
      (works run)
      # It builds nothing.
      (succeeds run ;jpm "uninstall")
      (is-gone run))))

(t/test "an installation by jpm that cannot copy everything leaves the one that works"
  (with-checkout
    (fn [checkout target run]
      (def jpm (p/jpm target))
      (succeeds run ;jpm "install")
      (def before (slurp (string target "/bin/kqnet-doctor")))
      # Nothing can be written there, not even by root.
      (os/mkdir (string target "/bin/kqnet-doctor.new"))
      (os/mkdir (string target "/bin/kqnet-doctor.new/in-the-way"))
      (def [status said] (run ;jpm "install"))
      (t/check (not= 0 status) "the installation fails")
      (t/check (string/find (string "cannot write " target "/bin/kqnet-doctor: ") said) said)
      (t/same before (slurp (string target "/bin/kqnet-doctor")))
      (t/same nil (os/stat (string target "/kqnet.new")))
      (works run)
      (succeeds run ;jpm "install")
      (works run))))

(t/test "jpm installs over what an interrupted installation has left"
  (with-checkout
    (fn [checkout target run]
      (os/mkdir (string target "/kqnet"))
      (spit (string target "/kqnet/left.janet") "")
      (os/mkdir (string target "/kqnet.new"))
      (spit (string target "/kqnet.new/left.janet") "")
      (succeeds run ;(p/jpm target) "install")
      (works run)
      (t/same nil (os/stat (string target "/kqnet/left.janet")))
      (t/same nil (os/stat (string target "/kqnet.new"))))))

(t/test "the script in jpm's local tree runs"
  (with-checkout
    (fn [checkout target run]
      (succeeds run ;(p/jpm target) "-l" "install")
      (def said (last (run (string checkout "/jpm_tree/bin/kqnet-doctor") "--unknown")))
      (t/check (string/find script-runs said) said))))

# Bundles.

(defn- need-bundles
  []
  (unless (t/version-at-least? [1 38])
    (t/skip (string "Janet " janet/version " cannot install this bundle"))))

(t/test "janet --install installs what was built, --reinstall upgrades it under a running program, --uninstall removes it"
  (need-bundles)
  (with-checkout
    (fn [checkout target run]
      (succeeds run p/janet "--install" ".")
      (works run)
      (t/check (string/find script-runs (last (run (string target "/bin/kqnet-doctor") "--unknown"))) "the script runs")
      (over-a-running-program target |(succeeds run p/janet "--reinstall" "kqnet"))
      (works run)
      (succeeds run p/janet "--uninstall" "kqnet")
      (is-gone run))))

(t/test "a bundle is installed over what an interrupted installation has left"
  (need-bundles)
  (with-checkout
    (fn [checkout target run]
      (each folder ["/kqnet" "/bin"] (os/mkdir (string target folder)))
      (each file ["/kqnet/init.janet" "/bin/kqnet-doctor"] (spit (string target file) "half"))
      (succeeds run p/janet "--install" ".")
      (works run)
      # An interruption leaves a bundle of which Janet knows no files.
      (def manifest (string target "/bundle/kqnet/manifest.jdn"))
      (spit manifest (string/format "%j" (merge (parse (slurp manifest)) {:files @[]})))
      (succeeds run p/janet "--reinstall" "kqnet")
      (works run)
      (succeeds run p/janet "--uninstall" "kqnet")
      (is-gone run))))

(t/test "what jpm has installed is not installed by Janet, nor the other way round"
  (need-bundles)
  (with-checkout
    (fn [checkout target run]
      (def jpm (p/jpm target))
      (succeeds run ;jpm "install")
      (def [status said] (run p/janet "--install" "."))
      (t/check (not= 0 status) "Janet refuses")
      (t/check (string/find "kqnet was installed by jpm; type: jpm uninstall kqnet" said) said)
      (works run)
      (succeeds run ;jpm "uninstall")
      (run p/janet "--uninstall" "kqnet")
      (succeeds run p/janet "--install" ".")
      (def [status said] (run ;jpm "install"))
      (t/check (not= 0 status) "jpm refuses")
      (t/check (string/find "type: janet --uninstall kqnet" said) said)
      (works run))))

(t/test "a bundle that cannot be built says what to type, and leaves the one that works"
  (need-bundles)
  (with-checkout
    (fn [checkout target run]
      (succeeds run p/janet "--install" ".")
      (change checkout)
      (def [status said] (run "/usr/bin/env" "SUDO_USER=alice" p/janet "--reinstall" "kqnet"))
      (t/check (not= 0 status) "it fails")
      (t/check (string/find "as alice, build first" said) said)
      (works run))))

(t/test "janet-pm installs what was built, upgrades it under a running program, and removes it"
  (need-bundles)
  (unless (os/stat (string modules "/spork/pm.janet"))
    (t/skip (string "it needs the real spork, and there is " spork)))
  (with-checkout
    (fn [checkout target run]
      (os/symlink (os/realpath (string modules "/spork")) (string target "/spork"))
      (defn janet-pm [call] (succeeds run p/janet "-e" (string "(import spork/pm) " call)))
      # What its commands install and uninstall do.
      (def install "(pm/pm-install `file::.` :force-update true :no-deps true)")
      (janet-pm install)
      (works run)
      (over-a-running-program target |(janet-pm install))
      (works run)
      (janet-pm "(bundle/uninstall `kqnet`)")
      (is-gone run))))

(t/test "a header path may be relative, and an empty one is none"
  (with-checkout
    (fn [checkout target run]
      (os/symlink (string p/prefix "/include") (string checkout "/include"))
      (each given ["" "include/janet"]
        (def said (succeeds run "/usr/bin/env" (string "JANET_HEADERPATH=" given) p/janet "-e"
                            "(import /bundle/header) (print (header/path))"))
        (t/same (os/realpath (string p/prefix "/include/janet")) (os/realpath (string/trim said)))))))

(t/finish)
