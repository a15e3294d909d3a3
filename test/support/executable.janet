###
### Links a Janet program and the native modules that it uses into an executable, as jpm and janet-pm do.
###
### It needs only a C compiler and libjanet.a.
### Usage: janet executable.janet PROGRAM OUTPUT PREFIX OPTION...
### PREFIX is the folder that has lib/libjanet.a and include/janet/janet.h, and the options are more ones for the linker.
###

(def- start
  ``
  #include <janet.h>

  ENTRIES

  int main(int argc, const char **argv) {
      janet_init();
      JanetTable *env = janet_core_env(NULL);
      JanetTable *lookup = janet_env_lookup(env);
      int handle = janet_gclock();
      CALLS
      Janet value = janet_unmarshal(image, sizeof(image), 0, lookup, NULL);
      JanetArray *args = janet_array(argc);
      for (int i = 0; i < argc; i++) janet_array_push(args, janet_cstringv(argv[i]));
      JanetFiber *fiber = janet_fiber(janet_unwrap_function(value), 64, argc, args->data);
      fiber->env = env;
      janet_gcroot(janet_wrap_fiber(fiber));
      janet_gcunlock(handle);
      janet_schedule(fiber, janet_wrap_nil());
      janet_loop();
      int status = janet_fiber_status(fiber);
      janet_deinit();
      return status;
  }
  ``)

(defn- source
  "The program in C: an image of the function `main`, and how its native modules are entered."
  [image natives]
  (def entries (map |(string "void " (in $ :static-entry) "(JanetTable *);") natives))
  (def calls
    (map |(string "{ JanetTable *module = janet_table(0); module->proto = env; " (in $ :static-entry) "(module); "
                  "janet_env_lookup_into(lookup, module, \"" (in $ :prefix) "\", 0); }")
         natives))
  (string (string/join entries "\n")
          "\nstatic const unsigned char image[] = {" (string/join (map string image) ",") "};\n"
          (->> start
               (string/replace "ENTRIES" "")
               (string/replace "CALLS" (string/join calls "\n    ")))))

(defn main
  [_ program output prefix & options]
  (def env (dofile program :env (make-env)))
  (def core (invert (env-lookup root-env)))
  (def natives
    (seq [module :in (values module/cache)
          :let [path (in module :native)]
          :when path]
      (def base (string/slice path 0 (- (inc (length ".so")))))
      (def name (string (gensym)))
      (loop [[key value] :pairs (env-lookup (table/setproto (table/clone module) nil))]
        (put core value (symbol name key)))
      (merge (eval-string (slurp (string base ".meta.janet"))) {:archive (string base ".a") :prefix name})))
  (spit (string output ".c") (string "#include <janet.h>\n" (source (marshal (in (in env 'main) :value) core) natives)))
  (def status
    (os/execute ["cc" "-std=c99" "-pthread" (string "-I" prefix "/include/janet") "-o" output (string output ".c")
                 ;(map |(in $ :archive) natives)
                 (string prefix "/lib/libjanet.a")
                 ;(mapcat |(in $ :lflags) natives)
                 ;options
                 "-lm" ;(if (= :linux (os/which)) ["-ldl" "-lrt"] [])]
                :p))
  (os/rm (string output ".c"))
  (os/exit status))
