###
### Makes the two files with which jpm and janet-pm link kqnet into an executable.
###
### They are _native.a, an archive, and _native.meta.janet, which says how to use it.
###
### The static library that cargo builds is not that archive. It has all of Rust's standard library, and names such as
### the allocator's that every module written in Rust has, so that two of them would clash. Here, what the entry needs is
### linked into one object file, in which every other name is made local.
###

(import ./process)

(def entry
  "The name of the function that puts the native functions into a table (src/lib.rs)."
  "janet_module_entry_kqnet_native")

(defn- words [text] (filter |(not (empty? $)) (string/split " " text)))

(defn- tool
  "The command that a variable of the environment names, or the usual one, as a tuple."
  [variable usual]
  (def given (words (os/getenv variable "")))
  (if (empty? given) [usual] given))

(defn- failure-of
  "Runs a command. Returns nil, or what it wrote on standard error when it failed or could not be run."
  [args &opt env]
  (def [status _ err] (process/run args env))
  (def said (string/trim err))
  (cond
    (nil? status) (string "cannot run " (first args))
    (zero? status) nil
    (string (first args) ": " (if (empty? said) (string "status " status) said))))

(defn- output
  "What a command prints, or nil when it cannot be run."
  [& args]
  (def [status out] (process/run args))
  (if (= 0 status) (string/trim out)))

(defn- rust-objcopy
  "The objcopy that comes with Rust, and the environment that it needs; nil if there is none."
  []
  (when-let [root (output "rustc" "--print" "sysroot")
             libraries (output "rustc" "--print" "target-libdir")
             path (string libraries "/../bin/rust-objcopy")]
    (when (os/stat path)
      [[path] {"LD_LIBRARY_PATH" (string root "/lib") "DYLD_LIBRARY_PATH" (string root "/lib")}])))

(defn- keep-only
  "Makes every name in an object file local, except one."
  [symbol object]
  (def options [(string "--keep-global-symbol=" symbol) "--strip-unneeded"
                # The standard library's objects contain LLVM bitcode of the same code.
                "--remove-section=.llvmbc" "--remove-section=.llvmcmd"
                # Of several section groups with one name a linker keeps one. If it kept ours, another module would
                # refer to names that are local here.
                "--remove-section=.group" object])
  (def failures @[])
  (unless
    (some (fn [[command env]]
            (if-let [failure (failure-of [;command ;options] env)]
              (do (array/push failures failure) nil)
              true))
          # rustc is asked only after the other tools have failed.
          [[(tool "OBJCOPY" "objcopy") {}] [["llvm-objcopy"] {}]])
    (def [command env] (or (rust-objcopy) (error (string/join failures "; "))))
    (when-let [failure (failure-of [;command ;options] env)]
      (error (string/join [;failures failure] "; ")))))

(defn- link
  "Links what the entry needs of a static library into one object file that has no other global name."
  [library object system]
  (def apple? (= :macos system))
  (def symbol (string (if apple? "_" "") entry))
  (def failure
    (failure-of [;(tool "CC" "cc") "-r" "-nostdlib" (string "-Wl,-u," symbol) "-Wl,-S"
          ;(if apple? [(string "-Wl,-exported_symbol," symbol) "-Wl,-x"] [])
          "-o" object library]))
  (when failure (error failure))
  # ELF's linkers cannot hide a name in an object file.
  (unless apple? (keep-only symbol object)))

(defn libraries
  ``Returns the options for the linker in what `rustc --print native-static-libs` prints. The C compiler adds libgcc_s
  by itself, and its static stand-in when the executable is to be static, for which libgcc_s does not exist.``
  [text]
  (filter |(not= "-lgcc_s" $) (words (string/trim text))))

(defn make
  ``Makes the two files in a folder, and returns them as a table of names and paths. `library` is the static library,
  and `options` what the linker needs beside it. `system` is that of the compiler, if not this one. If the tools
  cannot hide its names, the archive is the library as it is, and a line on standard error says so.``
  [library options folder &opt system]
  (default system (os/which))
  (def [object archive meta]
    (map |(string folder "/" $) ["kqnet.o" "_native.a" "_native.meta.janet"]))
  # `ar` would add to an archive that is there.
  (when (os/stat archive) (os/rm archive))
  (try
    (do
      (link library object system)
      (when-let [failure (failure-of [;(tool "AR" "ar") "rcs" archive object])] (error failure))
      (os/rm object))
    ([err]
      (eprint "kqnet cannot share an executable with another module written in Rust, since its names cannot be hidden: " err)
      (spit archive (slurp library))))
  (spit meta (string/format "# How to link kqnet into an executable, for jpm and janet-pm.\n%j\n"
                            {:static-entry entry :cpp false :lflags (array ;options)}))
  @{"_native.a" archive "_native.meta.janet" meta})
