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
TRAMPOLINE(check_on_error)
TRAMPOLINE(take_in)
TRAMPOLINE(is_open)
TRAMPOLINE(backend)
TRAMPOLINE(nodelay)
TRAMPOLINE(close)
TRAMPOLINE(drain)
TRAMPOLINE(release)
TRAMPOLINE(tasks)
TRAMPOLINE(stats)
TRAMPOLINE(listeners)
TRAMPOLINE(flights)
TRAMPOLINE(passed)
TRAMPOLINE(file_path)
TRAMPOLINE(file_codings)
TRAMPOLINE(folder_open)
TRAMPOLINE(file_answer)
TRAMPOLINE(file_body)
TRAMPOLINE(file_close)
TRAMPOLINE(file_take)
TRAMPOLINE(http_config)
TRAMPOLINE(http_open)
TRAMPOLINE(http_close)
TRAMPOLINE(http_of)
TRAMPOLINE(http_parse)
TRAMPOLINE(http_read)
TRAMPOLINE(http_send)
TRAMPOLINE(http_body)
TRAMPOLINE(http_continue)
TRAMPOLINE(http_respond)
TRAMPOLINE(http_refuse)
TRAMPOLINE(http_phase)
TRAMPOLINE(http_end_idle)
TRAMPOLINE(http_send_file)

/* Those that open something. */
#define GUARDED(name, sandbox) \
    int kqnet_##name(int32_t argc, const Janet *argv, Janet *out); \
    static Janet cfun_##name(int32_t argc, Janet *argv) { \
        janet_sandbox_assert(sandbox); \
        Janet out = janet_wrap_nil(); \
        int outcome = kqnet_##name(argc, argv, &out); \
        return finish(outcome, out); \
    }

GUARDED(listen, JANET_SANDBOX_NET_LISTEN)
GUARDED(from_fd, JANET_SANDBOX_NET_LISTEN)
GUARDED(folder, JANET_SANDBOX_FS_READ)

/* A file value under a key: its methods, and its pieces, which `each` asks for by number. */
int kqnet_file_piece(int32_t argc, const Janet *argv, Janet *out);
int kqnet_file_get(void *file, Janet key, Janet *out) {
    static const JanetMethod methods[] = {{"close", cfun_file_close}, {NULL, NULL}};
    if (janet_checktype(key, JANET_KEYWORD)) return janet_getmethod(janet_unwrap_keyword(key), methods, out);
    Janet argv[2] = {janet_wrap_abstract(file), key};
    Janet piece = janet_wrap_nil();
    *out = finish(kqnet_file_piece(2, argv, &piece), piece);
    return !janet_checktype(*out, JANET_NIL);
}

/* Arguments are checked, and documented, in janet/kqnet. */
static const JanetReg cfuns[] = {
    {"listen", cfun_listen, "(native/listen host port type no-reuse backlog reuse-port nodelay mode)"},
    {"from-fd", cfun_from_fd, "(native/from-fd number &opt given)"},
    {"nodelay", cfun_nodelay, "(native/nodelay listener)"},
    {"passed", cfun_passed, "(native/passed name pid count names)"},
    {"accept", cfun_accept, "(native/accept listener &opt timeout)"},
    {"accept-loop", cfun_accept_loop,
     "(native/accept-loop listener handler &opt batch max-connections max-accept-rate on-error)"},
    {"check-handler", cfun_check_handler, "(native/check-handler handler)"},
    {"check-on-error", cfun_check_on_error, "(native/check-on-error on-error)"},
    {"take-in", cfun_take_in, "(native/take-in listener)"},
    {"release", cfun_release, "(native/release listener)"},
    {"tasks", cfun_tasks, "(native/tasks listener)"},
    {"close", cfun_close, "(native/close stream)"},
    {"drain", cfun_drain, "(native/drain listener)"},
    {"open?", cfun_is_open, "(native/open? stream)"},
    {"stats", cfun_stats, "(native/stats listener)"},
    {"listeners", cfun_listeners, "(native/listeners)"},
    {"flights", cfun_flights, "(native/flights)"},
    {"backend", cfun_backend, "(native/backend)"},
    {"file-path", cfun_file_path, "(native/file-path path hidden)"},
    {"file-codings", cfun_file_codings, "(native/file-codings accept-encoding)"},
    {"folder", cfun_folder, "(native/folder path symlinks)"},
    {"folder-open", cfun_folder_open, "(native/folder-open folder path &opt stream)"},
    {"file-answer", cfun_file_answer,
     "(native/file-answer file folder coding is-read if-match if-unmodified-since if-none-match "
     "if-modified-since range if-range)"},
    {"file-body", cfun_file_body, "(native/file-body file first length)"},
    {"file-close", cfun_file_close, "(native/file-close file)"},
    {"file-take", cfun_file_take, "(native/file-take file most buffer)"},
    {"http-config", cfun_http_config, "(native/http-config max-head max-request-line max-headers max-body max-requests head body idle write)"},
    {"http-open", cfun_http_open, "(native/http-open stream config)"},
    {"http-close", cfun_http_close, "(native/http-close http)"},
    {"http-of", cfun_http_of, "(native/http-of stream)"},
    {"http-parse", cfun_http_parse, "(native/http-parse http buffer draining)"},
    {"http-read", cfun_http_read, "(native/http-read http buffer most)"},
    {"http-send", cfun_http_send, "(native/http-send http bytes from)"},
    {"http-body", cfun_http_body, "(native/http-body http buffer out)"},
    {"http-continue", cfun_http_continue, "(native/http-continue http)"},
    {"http-respond", cfun_http_respond, "(native/http-respond http response out buffer closing)"},
    {"http-refuse", cfun_http_refuse, "(native/http-refuse http status reason out)"},
    {"http-phase", cfun_http_phase, "(native/http-phase http &opt phase)"},
    {"http-end-idle", cfun_http_end_idle, "(native/http-end-idle http)"},
    {"http-send-file", cfun_http_send_file, "(native/http-send-file http file)"},
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
