/* The C half of a second native module, for the test of executables that have two. */
#include <janet.h>

int other_answer(void);

static Janet cfun_answer(int32_t argc, Janet *argv) {
    (void) argv;
    janet_fixarity(argc, 0);
    return janet_wrap_integer(other_answer());
}

static const JanetReg cfuns[] = {{"answer", cfun_answer, "(other/answer)"}, {NULL, NULL, NULL}};

JANET_MODULE_ENTRY(JanetTable *env) {
    janet_cfuns(env, "other", cfuns);
}
