/* The only frames that raise or await: a longjmp must not cross a frame of Rust. */
#include <janet.h>

/* What an entry point in Rust asks for (src/boundary.rs). */
enum { KQNET_VALUE = 0, KQNET_ERROR = 1, KQNET_AWAIT = 2 };

static Janet finish(int outcome, Janet out) {
    switch (outcome) {
        case KQNET_VALUE:
            return out;
        case KQNET_AWAIT:
            janet_await();
        default:
            janet_panicv(out);
    }
}

#define TRAMPOLINE(name) \
    int kqnet_##name(int32_t argc, const Janet *argv, Janet *out); \
    static Janet cfun_##name(int32_t argc, Janet *argv) { \
        Janet out = janet_wrap_nil(); \
        int outcome = kqnet_##name(argc, argv, &out); \
        return finish(outcome, out); \
    }

TRAMPOLINE(accept)
TRAMPOLINE(accept_loop)
TRAMPOLINE(check_handler)
TRAMPOLINE(is_open)
TRAMPOLINE(backend)
TRAMPOLINE(close)
TRAMPOLINE(release)
TRAMPOLINE(stats)
TRAMPOLINE(listeners)
TRAMPOLINE(passed)

/* Those that open a listener. */
#define GUARDED(name) \
    int kqnet_##name(int32_t argc, const Janet *argv, Janet *out); \
    static Janet cfun_##name(int32_t argc, Janet *argv) { \
        janet_sandbox_assert(JANET_SANDBOX_NET_LISTEN); \
        Janet out = janet_wrap_nil(); \
        int outcome = kqnet_##name(argc, argv, &out); \
        return finish(outcome, out); \
    }

GUARDED(listen)
GUARDED(from_fd)

/* Arguments are checked, and documented, in janet/kqnet. */
static const JanetReg cfuns[] = {
    {"listen", cfun_listen, "(native/listen host port type no-reuse backlog reuse-port nodelay mode)"},
    {"from-fd", cfun_from_fd, "(native/from-fd number)"},
    {"passed", cfun_passed, "(native/passed name pid count names)"},
    {"accept", cfun_accept, "(native/accept listener &opt timeout)"},
    {"accept-loop", cfun_accept_loop,
     "(native/accept-loop listener handler &opt batch max-connections max-accept-rate on-error counted)"},
    {"check-handler", cfun_check_handler, "(native/check-handler handler)"},
    {"release", cfun_release, "(native/release listener)"},
    {"close", cfun_close, "(native/close stream)"},
    {"open?", cfun_is_open, "(native/open? stream)"},
    {"stats", cfun_stats, "(native/stats listener)"},
    {"listeners", cfun_listeners, "(native/listeners)"},
    {"backend", cfun_backend, "(native/backend)"},
    {NULL, NULL, NULL},
};

const JanetCFunction kqnet_cfun_accept = cfun_accept;
const JanetCFunction kqnet_cfun_accept_loop = cfun_accept_loop;
const JanetCFunction kqnet_cfun_close = cfun_close;

void kqnet_register(JanetTable *env) {
    janet_cfuns(env, "kqnet/_native", cfuns);
}

JanetBuildConfig kqnet_build_config(void) {
    return janet_config_current();
}

/* Makes a stream, or gives NULL and the error that janet_stream raised (epoll_ctl may fail). Newer Janet saves a
 * system call on closing descriptors that were never duplicated. */
JanetStream *kqnet_stream(JanetHandle handle, uint32_t flags, const JanetMethod *methods, Janet *error) {
    JanetTryState state;
    /* volatile: written between setjmp and longjmp. */
    JanetStream *volatile stream = NULL;
#ifdef JANET_STREAM_NODUPS
    if (flags & JANET_STREAM_SOCKET) flags |= JANET_STREAM_NODUPS;
#endif
    if (janet_try(&state) == JANET_SIGNAL_OK) {
        stream = janet_stream(handle, flags, methods);
    } else {
        *error = state.payload;
    }
    janet_restore(&state);
    return stream;
}
