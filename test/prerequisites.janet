###
### A build that lacks something says in one line what, and what to type, before it compiles anything.
###

(import ./support :as t)
(import ../bundle/header)
(import ../bundle/prerequisites :as prerequisites)

(defn- remove-folder
  [folder]
  (each name (os/dir folder) (os/rm (string folder "/" name)))
  (os/rmdir folder))

(defn- with-variables
  "Calls a function while variables of the environment have other values; nil is none."
  [variables f]
  (def before (tabseq [name :keys variables] name (os/getenv name)))
  (defer (eachp [name] variables (os/setenv name (in before name)))
    (eachp [name value] variables (os/setenv name value))
    (f)))

(defn- on-path
  "Calls a function while the PATH has only programs that are given as names and shell scripts."
  [programs f]
  (def folder (t/scratch "programs"))
  (os/mkdir folder)
  (defer (remove-folder folder)
    (eachp [name script] programs
      (def path (string folder "/" name))
      (spit path (string "#!/bin/sh\n" script "\n"))
      (os/chmod path 8r755))
    (with-variables {"PATH" folder "CC" nil "SUDO_USER" nil} f)))

(defn- complaint
  "The error of a check, which must be one line."
  [check]
  (def text (t/raised check))
  (t/check (string? text) "an error is raised")
  (t/same nil (string/find "\n" text))
  text)

(defn- begins
  [expected text]
  (t/check (string/has-prefix? expected text) text))

(t/test "a cargo that is too old is named with its version, the oldest that will do, and a way to a newer one"
  (each version ["1.84.1" "1.65.0" "0.66.0"]
    (on-path {"cargo" (string "echo 'cargo " version " (4bc8f24d3 2022-10-20)'")}
      (fn []
        (def text (complaint prerequisites/check))
        (begins (string "cargo " version " is too old: Rust 1.85 or later is needed, ") text)
        (t/check (string/has-suffix? "get it from https://rustup.rs" text) text)))))

(t/test "who has rustup is told to type rustup update"
  (on-path {"cargo" "echo cargo 1.80.0" "rustup" "exit 0"}
    |(t/same "cargo 1.80.0 is too old: Rust 1.85 or later is needed, type: rustup update" (complaint prerequisites/check))))

(t/test "who has an old cargo before rustup's on the PATH is told to put rustup's first"
  (def own (t/scratch "rustup"))
  (os/mkdir own)
  (spit (string own "/rustup") "#!/bin/sh\n")
  (os/chmod (string own "/rustup") 8r755)
  (defer (remove-folder own)
    (on-path {"cargo" "echo cargo 1.80.0"}
      (fn []
        (with-variables {"PATH" (string (os/getenv "PATH") ":" own)}
          (fn []
            (def text (complaint prerequisites/check))
            (t/check (string/has-suffix? (string "type: export PATH=" own ":$PATH; rustup update") text) text)))))))

(t/test "a cargo that is new enough passes"
  (each version ["1.85.0" "1.85.0-nightly" "1.100.0" "2.0.0"]
    (on-path {"cargo" (string "echo cargo " version)}
      |(t/same nil (prerequisites/check-rust)))))

(t/test "without cargo, Rust is asked for"
  (on-path {}
    |(begins "cargo was not found; Rust 1.85 or later is needed, " (complaint prerequisites/check))))

(t/test "under sudo, where the user's cargo is not found, the way is named"
  (on-path {}
    (fn []
      (with-variables {"SUDO_USER" "ada"}
        |(begins "root has no cargo: as ada, build first" (complaint prerequisites/check))))))

(t/test "a cargo that fails is quoted"
  (on-path {"cargo" "echo 'error: rustup could not choose a version of cargo to run' >&2; exit 1"}
    |(t/same "cargo does not run: error: rustup could not choose a version of cargo to run"
             (complaint prerequisites/check))))

(t/test "a build names the system that rustc runs on"
  (on-path {"rustc" "printf 'rustc 1.85.0\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.85.0\n'"}
    |(t/same "x86_64-unknown-linux-gnu" (prerequisites/host)))
  (on-path {"rustc" "echo 'error: no toolchain' >&2; exit 1"}
    |(begins "rustc --version --verbose names no host: error: no toolchain; " (complaint prerequisites/host))))

(t/test "without a C compiler, one is asked for"
  (on-path {"cargo" "echo cargo 1.85.0"}
    |(begins "no C compiler was found (cc); " (complaint prerequisites/check))))

(t/test "a C compiler without headers or libraries is quoted"
  (on-path {"cargo" "echo cargo 1.85.0"
            "cc" "echo 'build/hello.c:1:10: fatal error: stdio.h: No such file or directory' >&2; exit 1"}
    |(begins "the C compiler cc does not work: build/hello.c:1:10: fatal error: stdio.h: No such file or directory; "
             (complaint prerequisites/check))))

(t/test "cc is needed even if CC names another compiler, and that one is needed too"
  (on-path {"cargo" "echo cargo 1.85.0" "gcc" "exit 0"}
    (fn []
      (with-variables {"CC" "gcc"} |(begins "no C compiler was found (cc); " (complaint prerequisites/check)))))
  (on-path {"cargo" "echo cargo 1.85.0" "cc" "exit 0" "ar" "exit 0" "gcc" "exit 0"}
    (fn []
      (with-variables {"CC" "nope -O2"}
        |(t/same "the C compiler that CC names was not found (nope); type: unset CC" (complaint prerequisites/check)))
      (each good ["gcc -O2" "" nil]
        (with-variables {"CC" good} |(t/same nil (prerequisites/check)))))))

(t/test "without ar, one is asked for"
  (on-path {"cargo" "echo cargo 1.85.0" "cc" "exit 0"}
    (fn []
      (with-variables {"AR" nil} |(begins "no archiver was found (ar); " (complaint prerequisites/check)))
      (with-variables {"AR" "nope"}
        |(t/same "no archiver was found (nope); type: unset AR" (complaint prerequisites/check))))))

(t/test "a folder build that cannot be written is named, with how to remove it"
  (def [here folder] [(os/cwd) (t/scratch "checkout")])
  (os/mkdir folder)
  (defer (do (os/cd here) (remove-folder folder))
    (os/cd folder)
    # Nobody can write into a file as if it were a folder, not even root.
    (spit "build" "")
    (def text (complaint prerequisites/check-compiler))
    (begins (string "cannot write to " (os/cwd) "/build: ") text)
    (t/check (string/has-suffix? "; if it belongs to root, type: sudo rm -rf build" text) text)))

(t/test "when packages could not be downloaded, the error says where they come from"
  (on-path {"cargo" "exit 101"}
    (fn []
      (def text (prerequisites/failure "cargo build" 101))
      (begins "cargo build could not download the packages that Cargo.lock names" text)
      (t/check (string/find "type, with a network: cargo fetch --locked" text) text)))
  (on-path {"cargo" "exit 0"}
    |(t/same "cargo build failed with status 101" (prerequisites/failure "cargo build" 101))))

(t/test "JANET_HEADERPATH may be empty, or relative to the folder in which it was typed"
  (def folder (t/scratch "headers"))
  (os/mkdir folder)
  (defer (remove-folder folder)
    (spit (string folder "/janet.h") (string "#define JANET_VERSION \"" janet/version "\"\n"))
    (def parts (string/split "/" folder))
    (def [parent name] [(string/join (slice parts 0 -2) "/") (last parts)])
    (with-variables {"JANET_HEADERPATH" name "PWD" parent}
      |(t/same folder (header/path)))
    (with-variables {"JANET_HEADERPATH" (string "./" name) "PWD" parent}
      |(t/same (os/realpath folder) (os/realpath (header/path))))
    # The shell's folder may have been left behind by a program in between.
    (def here (os/cwd))
    (defer (os/cd here)
      (os/cd parent)
      (with-variables {"JANET_HEADERPATH" name "PWD" "/nonexistent"}
        |(t/same (os/realpath folder) (os/realpath (header/path)))))
    (setdyn :headerpath folder)
    (defer (setdyn :headerpath nil)
      (with-variables {"JANET_HEADERPATH" ""} |(t/same folder (header/path))))))

(t/test "a JANET_HEADERPATH without the header of this Janet is named"
  (with-variables {"JANET_HEADERPATH" "/nonexistent"}
    (fn []
      (def text (complaint header/path))
      (begins (string "no janet.h of Janet " janet/version " was found; set JANET_HEADERPATH") text)
      (t/check (string/find "/nonexistent (none)" text) text))))

(t/finish)
