###
### Looks for what a build needs before anything is compiled.
###
### That is a cargo that is new enough, a C compiler, ar, and a folder `build` that can be written.
###

(import ./process)

(defn- first-line
  "The first line of a text with `word` in it, or else the first."
  [text &opt word]
  (def lines (filter |(not (empty? $)) (map string/trim (string/split "\n" text))))
  (or (if word (find |(string/find word $) lines)) (first lines) "it says nothing"))

(defn- rust-version
  "The oldest Rust that can compile this, as Cargo.toml has it."
  []
  (first (peg/match '(thru (* "\nrust-version = \"" '(to `"`))) (slurp "Cargo.toml"))))

(defn- numbers
  "The numbers of a version, as a tuple that compares as the version does."
  [version]
  (tuple ;(map scan-number (take 2 (string/split "." version)))))

(defn- how-to-get-rust
  "What to type for a new Rust, where there is none or an old one."
  [&opt old]
  (def system
    (case (os/which)
      # Where a distribution's Rust is too old, its package manager has no newer one under that name.
      :linux (if old
               "type: apt-get install cargo-web (Debian 12 only); or "
               "type: apt-get install cargo (Debian 13) or cargo-web (Debian 12); or ")
      :macos "type: brew install rust; or "
      :freebsd "type: pkg install rust; or "
      :dragonfly "type: pkg install rust; or "
      :netbsd "type: pkgin install rust; or "
      :openbsd "type: pkg_add rust; or "
      ""))
  (string system "get it from https://rustup.rs"))

(defn- how-to-get-a-compiler
  "What to type for a C compiler."
  []
  (case (os/which)
    :macos "type: xcode-select --install"
    :linux "type: apt-get install gcc libc6-dev (Debian, Ubuntu), or your system's command for its package of gcc or clang"
    :netbsd "it is in NetBSD's set comp"
    :openbsd "it is in OpenBSD's set comp"
    "it is a part of the base system"))

(defn- folder-of
  "The folder of the PATH that has a program, or nil."
  [name]
  (find |(= :file (os/stat (string $ "/" name) :mode)) (string/split ":" (os/getenv "PATH" ""))))

(defn- how-to-update-rust
  "What to type for a new Rust when there is an old one."
  []
  (def rustup (if (= 0 (first (process/run ["rustup" "--version"]))) (folder-of "rustup")))
  (cond
    (nil? rustup) (how-to-get-rust :old)
    (= rustup (folder-of "cargo")) "type: rustup update"
    (string "and " (folder-of "cargo") ", which has this one, comes before rustup's folder on the PATH, type: export PATH="
            rustup ":$PATH; rustup update")))

(defn check-rust
  "Raises an error that says what to do when there is no cargo, or one that is too old."
  []
  (def needed (rust-version))
  (def [status out err] (process/run ["cargo" "--version"]))
  (when (nil? status)
    (def user (os/getenv "SUDO_USER"))
    (error (if user
             (string "root has no cargo: as " user ", build first (jpm build, or janet-pm build), then install as root what was built")
             (string "cargo was not found; Rust " needed " or later is needed, " (how-to-get-rust)))))
  (unless (zero? status)
    (error (string "cargo does not run: " (first-line err "error"))))
  (def version (first (peg/match '(* "cargo " '(some (range "09" ".."))) out)))
  (unless version
    (error (string "cargo --version says no version: " (first-line out))))
  (when (< (numbers version) (numbers needed))
    (error (string "cargo " version " is too old: Rust " needed " or later is needed, " (how-to-update-rust)))))

(defn host
  "Returns Rust's name of this system, such as x86_64-unknown-linux-gnu."
  []
  (def [status out err] (process/run [(os/getenv "RUSTC" "rustc") "--version" "--verbose"]))
  (or (first (peg/match '(thru (* "\nhost: " '(some (range "az" "AZ" "09" "__" "--" "..")))) out))
      (error (string "rustc --version --verbose names no host: " (first-line (if (= 0 status) out err) "error")
                     "; " (how-to-get-rust)))))

(defn- named
  "The program that a variable of the environment names, without its arguments, or nil."
  [variable]
  (find |(not (empty? $)) (string/split " " (os/getenv variable ""))))

(defn check-compiler
  ``Raises an error that says what to do when there is no C compiler, or one that cannot compile and link. Rust always
  links with cc, also when CC names another compiler for C.``
  []
  (def [source program] ["build/hello.c" "build/hello"])
  (def [written why]
    (protect
      (os/mkdir "build")
      (spit source "#include <stdio.h>\nint main(void) { return puts(\"hello\") < 0; }\n")))
  (unless written
    (error (string "cannot write to " (os/cwd) "/build: " why "; if it belongs to root, type: sudo rm -rf build")))
  (def [status _ err] (process/run ["cc" source "-o" program]))
  (each file [source program] (protect (os/rm file)))
  (case status
    0 nil
    nil (error (string "no C compiler was found (cc); " (how-to-get-a-compiler)))
    (error (string "the C compiler cc does not work: " (first-line err "error") "; " (how-to-get-a-compiler))))
  (when-let [compiler (named "CC")]
    (unless (first (process/run [compiler "--version"]))
      (error (string "the C compiler that CC names was not found (" compiler "); type: unset CC")))))

(defn check-archiver
  "Raises an error that says what to do when there is no ar."
  []
  (def archiver (or (named "AR") "ar"))
  (unless (first (process/run [archiver "--version"]))
    (error (string "no archiver was found (" archiver "); "
                   (cond
                     (named "AR") "type: unset AR"
                     (= :linux (os/which)) "type: apt-get install binutils (Debian, Ubuntu), or your system's command for binutils"
                     (how-to-get-a-compiler))))))

(defn check
  "Raises an error of one line that says what is missing and what to type, if anything is."
  []
  (check-rust)
  (check-compiler)
  (check-archiver))

(defn failure
  "Returns a line that says why a cargo command may have failed. cargo has printed the details."
  [command status]
  # Without the network, this fails if a package has not been downloaded.
  (def [packages] (process/run ["cargo" "tree" "--offline" "--locked" "--edges" "normal,build"]))
  (if (= 0 packages)
    (string command " failed with status " status)
    (string command " could not download the packages that Cargo.lock names, see above; they come from the registry of Rust packages, or "
            "from a mirror that ~/.cargo/config.toml names; type, with a network: cargo fetch --locked "
            "(behind a proxy, set HTTPS_PROXY first)")))

(defn typed-path
  ``Returns a path that a person typed as an absolute one. A relative one starts from the folder of their shell, since jpm
  may have changed to another, or else from the current one: a program that starts this one may leave PWD as it was.``
  [path]
  (def shell (string (os/getenv "PWD" (os/cwd)) "/" path))
  (cond
    (string/has-prefix? "/" path) path
    (os/stat shell) shell
    (string (os/cwd) "/" path)))
