/* The C functions between Janet and Rust. Only they raise errors and await, since a longjmp must not cross a Rust frame. */
#include <janet.h>

/* The outcome of a native function (src/boundary.rs). */
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

/* Defined in Rust, and used in this library only. */
#define FROM_RUST extern __attribute__((visibility("hidden")))

/* The native functions in the order of their list (src/functions.rs). */
typedef struct {
    /* Always writes a value to `out`. */
    int (*entry)(int32_t argc, const Janet *argv, Janet *out);
    /* The capability that it needs (JANET_SANDBOX_*), or 0. */
    uint32_t capability;
} Call;
FROM_RUST const Call kqnet_calls[];

static inline Janet call(uint32_t index, int32_t argc, const Janet *argv) {
    if (kqnet_calls[index].capability) janet_sandbox_assert(kqnet_calls[index].capability);
    Janet out;
    int outcome = kqnet_calls[index].entry(argc, argv, &out);
    return finish(outcome, out);
}

/* The trampolines: call_0 calls the function at index 0, and so on. */
#define TEN(EACH, tens) \
    EACH(tens##0) EACH(tens##1) EACH(tens##2) EACH(tens##3) EACH(tens##4) \
    EACH(tens##5) EACH(tens##6) EACH(tens##7) EACH(tens##8) EACH(tens##9)
#define ALL(EACH) TEN(EACH, ) TEN(EACH, 1) TEN(EACH, 2) TEN(EACH, 3) TEN(EACH, 4) TEN(EACH, 5) TEN(EACH, 6) \
    TEN(EACH, 7) TEN(EACH, 8) TEN(EACH, 9) TEN(EACH, 10) TEN(EACH, 11) TEN(EACH, 12) TEN(EACH, 13)
#define TRAMPOLINE(n) \
    static Janet call_##n(int32_t argc, Janet *argv) { return call(n, argc, argv); }
#define ADDRESS(n) call_##n,

ALL(TRAMPOLINE)

const JanetCFunction kqnet_trampolines[140] = {ALL(ADDRESS)};

/* Returns what a file value has under a key: a method, or, for a number, a piece of the file, as `each` asks for it. */
FROM_RUST const uint32_t kqnet_file_close, kqnet_file_piece;
int kqnet_file_get(void *file, Janet key, Janet *out) {
    if (janet_checktype(key, JANET_KEYWORD)) {
        const JanetMethod methods[] = {{"close", kqnet_trampolines[kqnet_file_close]}, {NULL, NULL}};
        return janet_getmethod(janet_unwrap_keyword(key), methods, out);
    }
    Janet argv[2] = {janet_wrap_abstract(file), key};
    *out = call(kqnet_file_piece, 2, argv);
    return !janet_checktype(*out, JANET_NIL);
}

JanetBuildConfig kqnet_build_config(void) {
    return janet_config_current();
}

/* Functions of Janet's that may raise, wrapped so that Rust can call them. `cargo xtask test c-api` reports any others. */

/* Like JanetTryState, but for use within a C function: when an error is raised, Janet marks the running fiber as one that a
 * longjmp has left, although it goes on here. */
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

/* Makes a stream, or returns NULL and the error that janet_stream raised, as epoll_ctl may fail. */
JanetStream *kqnet_stream(JanetHandle handle, uint32_t flags, const JanetMethod *methods, Janet *error) {
    Attempt attempt;
    /* It is volatile because it is written between setjmp and longjmp. */
    JanetStream *volatile stream = NULL;
    if (ATTEMPT(attempt)) {
        stream = janet_stream(handle, flags, methods);
    } else {
        *error = attempt.state.payload;
    }
    end(&attempt);
    return stream;
}

/* The flag that makes Janet 1.42 leave a stream registered when it is closed. It is 0 for older versions,
   which always leave it registered. */
const uint32_t kqnet_stays_registered =
#ifdef JANET_STREAM_NODUPS
    JANET_STREAM_NODUPS;
#else
    0;
#endif

/* Whether closing a channel resumes tasks that no longer wait for it (janet#1705). Channels of these versions are laid out as
   src/functions/old_waits.rs says. */
const int kqnet_close_wakes_others = JANET_VERSION_MAJOR == 1 && JANET_VERSION_MINOR >= 36 && JANET_VERSION_MINOR < 41;

/* A stream that no fiber waits for. */
static JANET_THREAD_LOCAL JanetStream nobody;

/* Makes Janet's loop forget a stream that is about to be closed. As long as another process has the socket, an epoll instance
 * keeps what was registered for it, which is the address of a stream that may be freed. Janet before 1.42 offers no way to
 * remove the registration, but it can be changed to another stream. */
void kqnet_unregister(JanetStream *stream) {
    Attempt attempt;
    nobody.handle = stream->handle;
    if (ATTEMPT(attempt)) janet_stream_edge_triggered(&nobody);
    end(&attempt);
}

/* Closes a stream. If epoll does not know the descriptor, Janet 1.42 raises an error before it closes it. */
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

/* Returns how Janet would print a value, or NULL if that raises: a type of another module may, and so does a text that would
 * have more than 2 GiB. */
const uint8_t *kqnet_description(Janet value) {
    Attempt attempt;
    const uint8_t *volatile text = NULL;
    if (ATTEMPT(attempt)) text = janet_description(value);
    end(&attempt);
    return text;
}
