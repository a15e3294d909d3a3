/* The main program around Janet's amalgamation. It does what Janet's own does, without line editing. */

#include "janet.h"

#ifdef __SANITIZE_ADDRESS__
/* No version of Janet frees its weak tables when a VM ends (janet_clear_memory). */
const char *__lsan_default_suppressions(void) {
    return "leak:janet_table_weakk\n";
}
#endif

int main(int argc, char **argv) {
    janet_init();
    JanetTable *env = janet_core_env(NULL);
    janet_table_put(env, janet_ckeywordv("executable"), janet_cstringv(argv[0]));
    /* The amalgamation has the path of the machine on which it was made. */
    janet_table_put(env, janet_ckeywordv("syspath"), janet_cstringv(HOST_SYSPATH));

    JanetArray *args = janet_array(argc);
    for (int i = 1; i < argc; i++) {
        janet_array_push(args, janet_cstringv(argv[i]));
    }

    Janet cli_main;
    janet_resolve(env, janet_csymbol("cli-main"), &cli_main);
    Janet argument = janet_wrap_array(args);
    JanetFiber *fiber = janet_fiber(janet_unwrap_function(cli_main), 64, 1, &argument);
    janet_gcroot(janet_wrap_fiber(fiber));
    fiber->env = env;

    int status = janet_loop_fiber(fiber);
    janet_deinit();
    return status;
}
