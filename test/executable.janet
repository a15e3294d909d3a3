###
### Programs that are one file: what jpm and janet-pm link with the archive that is installed beside the library.
###

(import ./support :as t)
(import ./support/markdown)
(import ./support/programs :as p)
(import ./support/serve)

(def- spork (t/need-spork))

(def- modules (dyn *syspath*))
(def- archive (string modules "/kqnet/_native.a"))

(defn- need-archive
  []
  (p/need "cc")
  (unless (os/stat archive)
    (t/skip (string "no executables are made for this host (" p/host "): there is no " archive)))
  (unless (os/stat (string p/prefix "/lib/libjanet.a"))
    (t/skip (string "this Janet was installed without " p/prefix "/lib/libjanet.a"))))

(defn- checked
  "Runs a program, which has to succeed. Returns what it printed."
  [& args]
  (def [status said] (p/run ;args))
  (t/same 0 status (string (string/join (map string args) " ") ":\n" said))
  said)

(defn- link
  "How this test links a program itself."
  [program output]
  (checked p/janet (t/program "executable") program output p/prefix))

(defn- alone
  "Starts an executable in a folder of its own, without any variable of the environment."
  [path & args]
  (t/start "env" "-i" path ;args))

(defn- executable
  ``Calls a function with the path of an executable that is all there is in its folder, made of a program given as
  forms or as text. `prepare` is called with the folder that has the program.``
  [link program f &opt prepare]
  (p/with-folder
    (fn [work]
      (when prepare (prepare work))
      (def [entry output] [(string work "/program.janet") (string work "/program")])
      (spit entry (if (bytes? program) program (t/source program)))
      (def here (os/cwd))
      (defer (os/cd here)
        (os/cd work)
        (link entry output))
      (p/with-folder
        (fn [empty]
          (def path (string empty "/program"))
          (spit path (slurp output))
          (os/chmod path 8r755)
          (f path))))))

(def- site
  "A program that serves a page and the files of the folder that it is given, and drains on SIGTERM."
  '[(import kqnet)
    (import kqnet/http)
    (def pages (http/router {"/" (fn [_] {:body "page"})
                             "/fork" (fn [_] (def child (os/posix-fork))
                                       (if child {:body (string (os/proc-wait child))} (os/exit 7)))
                             "/slow" (fn [req] (print "slow") (flush) (ev/sleep 0.2) {:body "drained"})}))
    (defn main [_ folder]
      (def files (http/static folder :prefix "/files/"))
      (def listener (kqnet/listen "127.0.0.1" 0))
      (print (last (net/localname listener)))
      (flush)
      (http/serve-forever (fn [req] (if (string/has-prefix? "/files/" (in req :route)) (files req) (pages req)))
                          nil nil :listener listener))])

(defn- get-page
  [port path]
  (t/ask port (string "GET " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")))

(defn- body
  [answer]
  (last (string/split "\r\n\r\n" answer)))

(defn- serves
  "Fails unless an executable made of `site` serves and drains."
  [path]
  (def folder (string/slice path 0 (- (inc (length "/program")))))
  (spit (string folder "/file.txt") "file")
  (def process (alone path folder))
  (def port (:port process))
  (:line process)
  (t/same "page" (body (get-page port "/")))
  (t/same "file" (body (get-page port "/files/file.txt")))
  (t/same "7" (body (get-page port "/fork")))
  (def slow (t/background |(get-page port "/slow")))
  (t/same "slow" (:line process))
  (:signal process :term)
  (t/same "drained" (body (in (ev/take slow) 1)))
  (t/same 0 (:wait process)))

(def- on-net
  "A program that was written for net/ and finds out whether it runs on kqnet, which lets no second server share a port."
  '[(import kqnet/install)
    (defn main [&]
      (def listener (net/server "127.0.0.1" 0 (fn [conn] (defer (:close conn) (:write conn (:read conn 10))))))
      (def port (last (net/localname listener)))
      (print port)
      (print (if (first (protect (net/server "127.0.0.1" port (fn [conn])))) "shared" "taken"))
      (flush))])

(defn- installs
  [path]
  (def process (alone path))
  (def port (:port process))
  (t/same "taken" (:line process))
  (t/same "hello" (with [conn (t/send port "hello")] (t/receive conn))))

(t/test-within 120 "an executable serves, forks and drains in an empty folder, without Janet"
  (need-archive)
  (executable link site serves))

(defn- link-statically
  [program output]
  (unless (string/find "/" (last (p/run "cc" "-print-file-name=libc.a"))) (t/skip "there is no libc.a"))
  (checked p/janet (t/program "executable") program output p/prefix "-static"))

(t/test-within 120 "so does one that is entirely static"
  (need-archive)
  (executable link-statically site serves))

(def- pid-site
  "A program that answers with the number of its process, at an address or at that of kqnet-serve."
  '[(import kqnet/http)
    (import kqnet/_native :as native)
    (defn main [& args]
      (http/serve-forever (fn [_] {:body (string (native/process-id))}) ;(if-let [port (get args 1)] ["127.0.0.1" (scan-number port)] [])))])

(t/test-within 120 "a static executable serves in a root folder that has nothing else, as in a container's image from scratch"
  (need-archive)
  (def [chroot] (p/need "chroot"))
  (unless (zero? (first (p/run chroot "/" "true"))) (t/skip "only root may change the root folder"))
  (executable link-statically pid-site
              (fn [path]
                (def folder (string/slice path 0 (- (inc (length "/program")))))
                (def process (t/start chroot folder "/program" "0"))
                (def port (scan-number (last (string/split ":" (string/trimr (:line process) "/")))))
                (t/check (scan-number (body (get-page port "/"))) "its answer")
                (:signal process :term)
                (t/same 0 (:wait process) (process :err)))))

(t/test-within 120 "an executable takes over the listener of kqnet-serve, and is replaced by a new one"
  (need-archive)
  (executable link pid-site
              (fn [path]
                (def [process port] (serve/start "-w" 2 path))
                (def before (serve/pids port 2))
                # A running executable cannot be written to, but its file can be replaced.
                (spit (string path ".new") (slurp path))
                (os/chmod (string path ".new") 8r755)
                (os/rename (string path ".new") path)
                (:signal process :hup)
                (serve/pids port 2 before)
                (serve/ends process))))

(t/test-within 120 "kqnet/install replaces core's functions in an executable too"
  (need-archive)
  (executable link on-net installs))

(defn- documented
  "A program of docs/executables.md, on a port that is free, which it prints as the address after it has begun."
  [name]
  (markdown/replaced (markdown/named name "docs/executables.md") "8000" "0"))

(defn- says-hello
  "Fails unless a program of docs/executables.md serves its page."
  [process]
  (def port (scan-number (last (string/split ":" (string/trimr (:line process) "/")))))
  (t/same "Hello!" (body (get-page port "/")))
  (:signal process :term)
  (t/same 0 (:wait process)))

(t/test-within 120 "the documented program can be made into an executable"
  (need-archive)
  (executable link (documented "app.janet") (fn [path] (says-hello (alone path)))))

(t/test "an image cannot hold native functions, and a program in one can load them when it runs"
  (p/with-folder
    (fn [folder]
      (defn compile [name]
        (def program (string folder "/" name ".janet"))
        (spit program (documented (string name ".janet")))
        (p/run p/janet "-c" program (string folder "/" name ".jimage")))
      (def [status said] (compile "app"))
      (t/check (not= 0 status) "the image cannot be made")
      (t/check (string/find "cannot marshal <cfunction kqnet/_native/" said) said)
      (t/same [0 ""] (compile "image"))
      (says-hello (t/start p/janet "-i" (string folder "/image.jimage"))))))

(each [call why] [["(http/static `.`)" "cannot marshal <kqnet/folder "]
                  ["(kqnet/listen `127.0.0.1` 0)" "can only marshal stream with unsafe flag"]]
  (t/test (string "what belongs to a process cannot be made outside main: " call)
    (need-archive)
    (p/with-folder
      (fn [folder]
        (def program (string folder "/program.janet"))
        (spit program (string "(import kqnet) (import kqnet/http) (def thing " call ") (defn main [&] (print thing))"))
        (def [status said] (p/run p/janet (t/program "executable") program (string folder "/program") p/prefix))
        (t/check (not= 0 status) "it cannot be linked")
        (t/check (string/find why said) said)))))

(t/test "the archive has one global name of its own, and is small"
  (need-archive)
  (p/need "nm")
  (def names (peg/match '(any (+ (* (some (set "0123456789abcdef")) " " (set "ABCDRST") " " (? "_") '(to "\n")) 1))
                        (checked "nm" archive)))
  (t/same ["janet_module_entry_kqnet_native"] names)
  (t/check (< (os/stat archive :size) 2.2e6) "less than 2.2 MB"))

(defn- rust-module
  "Makes a second module in Rust, a plain static library: other.so, other.a and other.meta.janet."
  [folder]
  (def [rustc cc ar] (p/need "rustc" "cc" "ar"))
  (defn from [name] (string t/project "/test/support/" name))
  (defn to [name] (string folder "/" name))
  (def compile [cc "-fPIC" (string "-I" p/prefix "/include/janet")])
  (checked rustc "--edition" "2021" "--crate-type" "staticlib" "-O" "-o" (to "libother.a") (from "other-module.rs"))
  (checked ;compile "-shared" "-o" (to "other.so") (from "other-module.c") (to "libother.a")
           ;(if (= :macos (os/which)) ["-undefined" "dynamic_lookup"] []))
  (checked ;compile "-DJANET_ENTRY_NAME=janet_module_entry_other" "-c" "-o" (to "other.o") (from "other-module.c"))
  (checked ar "rcs" (to "other.a") (to "other.o"))
  (spit (to "other.meta.janet")
        (string/format "%j" {:static-entry "janet_module_entry_other" :lflags @[(to "libother.a")]})))

(t/test-within 120 "another module in Rust can be in the same executable"
  (need-archive)
  (executable link
              '[(import kqnet/http)
                (import ./other)
                (defn main [&]
                  (print (other/answer))
                  (def listener (http/server (fn [_] {:body (string (other/answer))}) "127.0.0.1" 0))
                  (print (last (net/localname listener)))
                  (flush))]
              (fn [path]
                (def process (alone path))
                (t/same "42" (:line process))
                (t/same "42" (body (get-page (:port process) "/"))))
              rust-module))

# The real tools.

(defn- quiet
  "Runs a program, which has to succeed without a warning of kqnet/install's."
  [& args]
  (def said (checked ;args))
  (t/check (not (string/find "too late" said)) said))

(defn- jpm
  "How jpm links a program."
  [program output]
  (quiet ;(p/jpm modules) "quickbin" program output))

(defn- janet-pm
  "How janet-pm does."
  [program output]
  (unless (os/stat (string modules "/spork/declare-cc.janet"))
    (t/skip (string "it needs the real spork, and there is " spork)))
  (def name (last (string/split "/" output)))
  (quiet "env" (string "JANET_PREFIX=" p/prefix) p/janet "-e"
           (string/format "(import spork/declare-cc) (declare-cc/quickbin %v %v)" program name)))

(each [name link] [["jpm quickbin" jpm] ["janet-pm quickbin" janet-pm]]
  (t/test-within 120 (string name " makes an executable that serves, forks and drains")
    (need-archive)
    (executable link site serves))
  (t/test-within 120 (string name " makes one in which kqnet/install replaces core's functions")
    (need-archive)
    (executable link on-net installs)))

(t/finish)
