/* The plain C loop of cargo xtask bench, which shows what the kernel allows. It looks for nothing but the ends of HTTP heads
 * in what it reads, and assumes that a write never blocks. It ends when its input does.
 * Usage: limit bytes|http|http-close PORT */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/epoll.h>
#else
#include <sys/event.h>
#endif

#define EVENTS 64

static const char REPLY[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nhello, world";

static int queue;

static void watch(int fd) {
#ifdef __linux__
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(queue, EPOLL_CTL_ADD, fd, &event)) perror("epoll_ctl"), exit(1);
#else
    struct kevent event;
    EV_SET(&event, fd, EVFILT_READ, EV_ADD, 0, 0, 0);
    if (kevent(queue, &event, 1, NULL, 0, NULL)) perror("kevent"), exit(1);
#endif
}

static int wait_for(int *fds) {
#ifdef __linux__
    struct epoll_event events[EVENTS];
    int count = epoll_wait(queue, events, EVENTS, -1);
    for (int i = 0; i < count; i++) fds[i] = events[i].data.fd;
#else
    struct kevent events[EVENTS];
    int count = kevent(queue, NULL, 0, events, EVENTS, NULL);
    for (int i = 0; i < count; i++) fds[i] = (int)events[i].ident;
#endif
    return count;
}

static int accept_one(int listener) {
#ifdef __linux__
    return accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
#else
    int fd = accept(listener, NULL, NULL);
    if (fd >= 0) fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
#endif
}

static void serve(int fd, int http, int closes) {
    char in[16384], out[sizeof REPLY * 512];
    ssize_t count = recv(fd, in, sizeof in, 0);
    if (count <= 0) {
        close(fd);
        return;
    }
    size_t length = 0;
    if (!http) {
        out[length++] = '!';
    } else {
        /* The clients of the benchmark never send a head in two parts. */
        for (char *at = in; (at = memmem(at, in + count - at, "\r\n\r\n", 4)) && length + sizeof REPLY < sizeof out; at += 4) {
            memcpy(out + length, REPLY, sizeof REPLY - 1);
            length += sizeof REPLY - 1;
        }
    }
    if (length && send(fd, out, length, 0) < 0) closes = 1;
    if (closes) close(fd);
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: limit bytes|http|http-close PORT\n"), 2;
    int http = strcmp(argv[1], "bytes") != 0, closes = strcmp(argv[1], "http") != 0;
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[2]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 65535)) return perror("listen"), 1;
    fcntl(listener, F_SETFL, O_NONBLOCK);
#ifdef __linux__
    queue = epoll_create1(EPOLL_CLOEXEC);
#else
    queue = kqueue();
#endif
    watch(listener);
    watch(0);
    for (;;) {
        int fds[EVENTS], count = wait_for(fds);
        for (int i = 0; i < count; i++) {
            if (fds[i] == 0) return 0;
            if (fds[i] != listener) {
                serve(fds[i], http, closes);
                continue;
            }
            for (int fd; (fd = accept_one(listener)) >= 0;) watch(fd);
        }
    }
}
