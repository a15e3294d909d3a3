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
TRAMPOLINE(claim)
TRAMPOLINE(check_function)
TRAMPOLINE(is_open)
TRAMPOLINE(backend)
TRAMPOLINE(nodelay)
TRAMPOLINE(close)
TRAMPOLINE(drain)
TRAMPOLINE(cancel)
TRAMPOLINE(environments)
TRAMPOLINE(say)
TRAMPOLINE(release)
TRAMPOLINE(tasks)
TRAMPOLINE(stats)
TRAMPOLINE(listeners)
TRAMPOLINE(trackers)
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
TRAMPOLINE(http_write)
TRAMPOLINE(http_linger)
TRAMPOLINE(http_watch)
TRAMPOLINE(http_gone)
TRAMPOLINE(http_ending)
TRAMPOLINE(http_detach)
TRAMPOLINE(http_limit_unsent)
TRAMPOLINE(http_tracker)
TRAMPOLINE(http_body)
TRAMPOLINE(http_continue)
TRAMPOLINE(http_respond)
TRAMPOLINE(http_refuse)
TRAMPOLINE(http_begun)
TRAMPOLINE(http_phase)
TRAMPOLINE(http_end_idle)
TRAMPOLINE(http_is_invalid)
TRAMPOLINE(http_answered)
TRAMPOLINE(http_observe)
TRAMPOLINE(http_peer)
TRAMPOLINE(http_piece)
TRAMPOLINE(http_tally)
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
     "(native/accept-loop listener handler &opt batch max-connections max-accept-rate on-error claimant)"},
    {"check-handler", cfun_check_handler, "(native/check-handler handler)"},
    {"check-function", cfun_check_function, "(native/check-function what takes value arity)"},
    {"check-on-error", cfun_check_on_error, "(native/check-on-error on-error)"},
    {"claim", cfun_claim, "(native/claim listener)"},
    {"release", cfun_release, "(native/release listener)"},
    {"tasks", cfun_tasks, "(native/tasks listener)"},
    {"close", cfun_close, "(native/close stream)"},
    {"drain", cfun_drain, "(native/drain listener)"},
    {"cancel", cfun_cancel, "(native/cancel task reason quiet)"},
    {"environments", cfun_environments, "(native/environments)"},
    {"say", cfun_say, "(native/say text)"},
    {"open?", cfun_is_open, "(native/open? stream)"},
    {"stats", cfun_stats, "(native/stats listener)"},
    {"listeners", cfun_listeners, "(native/listeners)"},
    {"trackers", cfun_trackers, "(native/trackers)"},
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
    {"http-open", cfun_http_open, "(native/http-open stream config tracker)"},
    {"http-close", cfun_http_close, "(native/http-close http)"},
    {"http-of", cfun_http_of, "(native/http-of stream)"},
    {"http-parse", cfun_http_parse, "(native/http-parse http buffer draining)"},
    {"http-limit-unsent", cfun_http_limit_unsent, "(native/http-limit-unsent listener)"},
    {"http-tracker", cfun_http_tracker, "(native/http-tracker http)"},
    {"http-read", cfun_http_read, "(native/http-read http buffer most &opt number)"},
    {"http-write", cfun_http_write, "(native/http-write http bytes from)"},
    {"http-linger", cfun_http_linger, "(native/http-linger http draining)"},
    {"http-watch", cfun_http_watch, "(native/http-watch http number)"},
    {"http-gone", cfun_http_gone, "(native/http-gone http number or-ended)"},
    {"http-ending", cfun_http_ending, "(native/http-ending http &opt number or-ended channel)"},
    {"http-detach", cfun_http_detach, "(native/http-detach http)"},
    {"http-body", cfun_http_body, "(native/http-body http buffer out number)"},
    {"http-continue", cfun_http_continue, "(native/http-continue http number)"},
    {"http-respond", cfun_http_respond, "(native/http-respond http response out buffer closing)"},
    {"http-refuse", cfun_http_refuse, "(native/http-refuse http status reason out)"},
    {"http-begun", cfun_http_begun, "(native/http-begun http)"},
    {"http-phase", cfun_http_phase, "(native/http-phase http)"},
    {"http-end-idle", cfun_http_end_idle, "(native/http-end-idle http)"},
    {"http-invalid?", cfun_http_is_invalid, "(native/http-invalid? http)"},
    {"http-answered", cfun_http_answered, "(native/http-answered http)"},
    {"http-observe", cfun_http_observe, "(native/http-observe http number observers)"},
    {"http-peer", cfun_http_peer, "(native/http-peer http &opt peer)"},
    {"http-piece", cfun_http_piece, "(native/http-piece http framing payload)"},
    {"http-tally", cfun_http_tally, "(native/http-tally config)"},
    {"http-send-file", cfun_http_send_file, "(native/http-send-file http file)"},
    {NULL, NULL, NULL},
};

const JanetCFunction kqnet_cfun_accept = cfun_accept;
const JanetCFunction kqnet_cfun_accept_loop = cfun_accept_loop;
const JanetCFunction kqnet_cfun_close = cfun_close;

void kqnet_register(JanetTable *env) {
    janet_cfuns(env, "kqnet/_native", cfuns);
    janet_def(env, "version", janet_cstringv(KQNET_VERSION), "The version of the module.");
}

JanetBuildConfig kqnet_build_config(void) {
    return janet_config_current();
}

/* Functions of Janet's that may raise, for Rust to call. cargo xtask test c-api finds others that it calls. */

/* Like JanetTryState, for what is tried inside a C function: Janet marks the running fiber as one that a longjmp left,
 * though it goes on here. */
typedef struct {
    JanetTryState state;
    JanetFiber *fiber;
    int32_t flags;
} Attempt;

static Attempt *begin(Attempt *attempt) {
    attempt->fiber = janet_current_fiber();
    attempt->flags = attempt->fiber ? attempt->fiber->flags : 0;
    return attempt;
}

static void end(Attempt *attempt) {
    janet_restore(&attempt->state);
    if (attempt->fiber) attempt->fiber->flags = attempt->flags;
}

#define ATTEMPT(attempt) (janet_try(&begin(&(attempt))->state) == JANET_SIGNAL_OK)

/* Makes a stream, or gives NULL and the error that janet_stream raised (epoll_ctl may fail). */
JanetStream *kqnet_stream(JanetHandle handle, uint32_t flags, const JanetMethod *methods, Janet *error) {
    Attempt attempt;
    /* volatile: written between setjmp and longjmp. */
    JanetStream *volatile stream = NULL;
    if (ATTEMPT(attempt)) {
        stream = janet_stream(handle, flags, methods);
    } else {
        *error = attempt.state.payload;
    }
    end(&attempt);
    return stream;
}

/* The flag by which Janet 1.42 leaves a stream registered when it is closed; 0 in older versions, which always do. */
const uint32_t kqnet_stays_registered =
#ifdef JANET_STREAM_NODUPS
    JANET_STREAM_NODUPS;
#else
    0;
#endif

/* A stream that no fiber waits for. */
static JANET_THREAD_LOCAL JanetStream nobody;

/* Has Janet's loop forget a stream that is about to be closed. As long as another process has the socket, an epoll
 * instance keeps what was registered for it, which is the address of a stream that may be freed. Janet before 1.42
 * offers no way to remove it, but it can be pointed elsewhere. */
void kqnet_unregister(JanetStream *stream) {
    Attempt attempt;
    nobody.handle = stream->handle;
    if (ATTEMPT(attempt)) janet_stream_edge_triggered(&nobody);
    end(&attempt);
}

/* Closes a stream. Janet 1.42 raises an error where epoll does not know the descriptor, before it closes it. */
void kqnet_close_stream(JanetStream *stream) {
    Attempt attempt;
    if (ATTEMPT(attempt)) {
        janet_stream_close(stream);
    } else {
        stream->flags |= kqnet_stays_registered;
        janet_stream_close(stream);
    }
    end(&attempt);
}

/* How Janet would print a value, or NULL where that raises: a type of another module may, and so does a text that
 * would have more than 2 GiB. */
const uint8_t *kqnet_description(Janet value) {
    Attempt attempt;
    const uint8_t *volatile text = NULL;
    if (ATTEMPT(attempt)) text = janet_description(value);
    end(&attempt);
    return text;
}
