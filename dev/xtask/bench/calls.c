/* To be preloaded into a server on the emulated kqueue. It counts the calls that would be system calls on a kernel with
 * kqueue, without those of the emulation itself, and writes the counts to $KQNET_CALLS when the server ends. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

struct kevent;

enum { KEVENT, ACCEPT, FCNTL, READ, WRITE, CLOSE, OTHER, KINDS };
static const char *const names[KINDS] = {"kevent", "accept", "fcntl", "read", "write", "close", "other"};
static long counts[KINDS];
/* Whether calls of this thread count: only in the first thread, where Janet's loop runs. */
static __thread int counting;

__attribute__((constructor)) static void start(void) { counting = 1; }

/* The body of a function that counts a call and passes it on to the next function of its name. */
#define PASS(kind, type, name, ...) \
    static __typeof__(&name) next; \
    if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
    int outermost = counting; \
    counts[kind] += outermost; \
    counting = 0; \
    type result = next(__VA_ARGS__); \
    counting = outermost; \
    return result

int kevent(int kq, const struct kevent *changes, int nchanges, struct kevent *events, int nevents,
           const struct timespec *timeout) {
    PASS(KEVENT, int, kevent, kq, changes, nchanges, events, nevents, timeout);
}

int accept(int fd, struct sockaddr *address, socklen_t *length) {
    PASS(ACCEPT, int, accept, fd, address, length);
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
    PASS(ACCEPT, int, accept4, fd, address, length, flags);
}

int fcntl(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    void *argument = va_arg(list, void *);
    va_end(list);
    PASS(FCNTL, int, fcntl, fd, command, argument);
}

int fcntl64(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    void *argument = va_arg(list, void *);
    va_end(list);
    PASS(FCNTL, int, fcntl64, fd, command, argument);
}

ssize_t read(int fd, void *data, size_t size) { PASS(READ, ssize_t, read, fd, data, size); }

ssize_t recv(int fd, void *data, size_t size, int flags) { PASS(READ, ssize_t, recv, fd, data, size, flags); }

ssize_t write(int fd, const void *data, size_t size) { PASS(WRITE, ssize_t, write, fd, data, size); }

ssize_t send(int fd, const void *data, size_t size, int flags) { PASS(WRITE, ssize_t, send, fd, data, size, flags); }

int close(int fd) { PASS(CLOSE, int, close, fd); }

int getrlimit(__rlimit_resource_t resource, struct rlimit *limit) { PASS(OTHER, int, getrlimit, resource, limit); }

int getdtablesize(void) { PASS(OTHER, int, getdtablesize); }

int poll(struct pollfd *entries, nfds_t count, int timeout) { PASS(OTHER, int, poll, entries, count, timeout); }

int proc_pidinfo(int process, int flavor, uint64_t argument, void *buffer, int size) {
    PASS(OTHER, int, proc_pidinfo, process, flavor, argument, buffer, size);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t length) {
    PASS(OTHER, int, setsockopt, fd, level, name, value, length);
}

__attribute__((destructor)) static void report(void) {
    const char *path = getenv("KQNET_CALLS");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file) return;
    for (int i = 0; i < KINDS; i++) fprintf(file, "%s %ld\n", names[i], counts[i]);
    fclose(file);
}
