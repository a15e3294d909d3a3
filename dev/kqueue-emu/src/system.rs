//! The system calls that the emulation makes. This file and `symbols` hold all of its `unsafe` code.
//!
//! In a program that links this library, the names that `symbols` exports stand before libc's, so nothing here calls
//! one of them: such a call is made by its number.

use std::ffi::{c_int, c_long, c_void};
use std::{mem, ptr};

use libc::{EINVAL, epoll_event, pollfd, socklen_t, timespec};

use crate::kevent::Errno;

/// Turns the result of a system call into a `Result`.
pub(crate) fn check(result: c_long) -> Result<c_int, Errno> {
    if result < 0 { Err(Errno(errno())) } else { Ok(result as c_int) }
}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(EINVAL)
}

/// Monotonic time in nanoseconds.
pub(crate) fn now() -> u64 {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

pub(crate) fn pid() -> i32 {
    // SAFETY: no argument.
    unsafe { libc::getpid() }
}

pub(crate) fn epoll_create() -> Result<c_int, Errno> {
    // SAFETY: no pointer.
    check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }.into())
}

pub(crate) fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, events: u32, token: u64) -> Result<(), Errno> {
    let mut event = epoll_event { events, u64: token };
    // SAFETY: `event` is an epoll_event that lives through the call.
    check(unsafe { libc::epoll_ctl(epoll, operation, fd, &mut event) }.into()).map(drop)
}

/// Takes the events that an epoll has, without waiting.
pub(crate) fn epoll_take(epoll: c_int, tokens: &mut [u64; 64]) -> usize {
    let mut events = [epoll_event { events: 0, u64: 0 }; 64];
    // SAFETY: the pointer and the length are those of `events`.
    let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 64, 0) };
    let count = usize::try_from(count).unwrap_or(0);
    for (token, event) in tokens.iter_mut().zip(&events[..count]) {
        *token = event.u64;
    }
    count
}

/// poll(2) itself. Waits for `nanoseconds`, or for ever.
pub(crate) fn poll_all(entries: &mut [pollfd], nanoseconds: Option<u64>) -> Result<c_int, Errno> {
    let timeout =
        nanoseconds.map(|n| timespec { tv_sec: (n / 1_000_000_000) as i64, tv_nsec: (n % 1_000_000_000) as c_long });
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the entries are as many as said; `timeout` is null or a timespec that lives through the call; no signal
    // mask.
    check(unsafe { libc::ppoll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, timeout, ptr::null()) }.into())
}

/// poll(2) of one descriptor without waiting.
pub(crate) fn poll_one(fd: c_int, events: i16) -> i16 {
    let mut entry = [pollfd { fd, events, revents: 0 }];
    // An error leaves the entry empty.
    let _ = poll_all(&mut entry, Some(0));
    entry[0].revents
}

/// Waits until `fd` is readable, for `nanoseconds` or for ever. If it is an epoll, its events stay in it.
pub(crate) fn wait_readable(fd: c_int, nanoseconds: Option<u64>) -> Result<(), Errno> {
    poll_all(&mut [pollfd { fd, events: libc::POLLIN, revents: 0 }], nanoseconds).map(drop)
}

/// How many threads this process has. Opens no descriptor.
pub(crate) fn threads() -> usize {
    let mut stat = mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: a path that ends with NUL, and room for a stat to write to.
    if unsafe { libc::stat(c"/proc/self/task".as_ptr(), stat.as_mut_ptr()) } < 0 {
        return usize::MAX;
    }
    // SAFETY: stat has succeeded, so it has filled it in.
    let stat = unsafe { stat.assume_init() };
    // The folder has a link for each thread, and two of its own.
    usize::try_from(stat.st_nlink).unwrap_or(usize::MAX).saturating_sub(2).max(1)
}

/// A descriptor that is always readable.
pub(crate) fn always_readable() -> Result<c_int, Errno> {
    // SAFETY: no pointer.
    check(unsafe { libc::eventfd(1, libc::EFD_CLOEXEC) }.into())
}

pub(crate) fn timer_create() -> Result<c_int, Errno> {
    // SAFETY: no pointer.
    check(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) }.into())
}

/// Makes the timer readable at `deadline`, or never.
pub(crate) fn timer_set(timer: c_int, deadline: Option<u64>) {
    let zero = timespec { tv_sec: 0, tv_nsec: 0 };
    // All zeros would disarm the timer.
    let value = deadline.map_or(zero, |deadline| timespec {
        tv_sec: (deadline / 1_000_000_000) as i64,
        tv_nsec: (deadline % 1_000_000_000).max(1) as c_long,
    });
    let spec = libc::itimerspec { it_interval: zero, it_value: value };
    // SAFETY: `spec` lives through the call; the old value is not asked for.
    unsafe { libc::timerfd_settime(timer, libc::TFD_TIMER_ABSTIME, &spec, ptr::null_mut()) };
}

/// close(2) itself.
pub(crate) fn close_fd(fd: c_int) -> Result<c_int, Errno> {
    // SAFETY: no pointer. The caller owns the descriptor.
    check(unsafe { libc::syscall(libc::SYS_close, fd) })
}

pub(crate) fn is_open(fd: c_int) -> bool {
    // SAFETY: no pointer.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

pub(crate) fn is_nonblocking(fd: c_int) -> bool {
    // SAFETY: no pointer.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    flags >= 0 && flags & libc::O_NONBLOCK != 0
}

/// Duplicates the descriptor to the lowest free number that is not below `lowest`.
pub(crate) fn dup_from(fd: c_int, lowest: c_int) -> Result<c_int, Errno> {
    // SAFETY: no pointer.
    check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, lowest) }.into())
}

fn descriptor_limits() -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is an rlimit to write to.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    limit
}

/// RLIMIT_NOFILE.
pub(crate) fn descriptor_limit() -> c_int {
    c_int::try_from(descriptor_limits().rlim_cur).unwrap_or(c_int::MAX)
}

/// Runs `action` with RLIMIT_NOFILE no lower than `at_least`.
pub(crate) fn with_descriptor_limit<T>(at_least: c_int, action: impl FnOnce() -> T) -> T {
    let old = descriptor_limits();
    let soft = (at_least as libc::rlim_t).max(old.rlim_cur).min(old.rlim_max);
    let raised = libc::rlimit { rlim_cur: soft, ..old };
    // SAFETY: `raised` is an rlimit that lives through the call.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) };
    let value = action();
    // SAFETY: `old` is an rlimit that lives through the call.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &old) };
    value
}

/// What fstat(2) says, or `None` when the descriptor is closed.
pub(crate) fn stat(fd: c_int) -> Option<libc::stat> {
    let mut stat = mem::MaybeUninit::uninit();
    // SAFETY: room for a stat to write to.
    if unsafe { libc::fstat(fd, stat.as_mut_ptr()) } < 0 {
        return None;
    }
    // SAFETY: fstat has succeeded, so it has filled it in.
    Some(unsafe { stat.assume_init() })
}

pub(crate) fn position(fd: c_int) -> i64 {
    // SAFETY: no pointer.
    unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) }
}

fn ioctl_int(fd: c_int, request: libc::Ioctl) -> usize {
    let mut value: c_int = 0;
    // SAFETY: both requests below store one int.
    if unsafe { libc::ioctl(fd, request, &mut value) } < 0 {
        return 0;
    }
    usize::try_from(value).unwrap_or(0)
}

/// Bytes that can be read.
pub(crate) fn unread(fd: c_int) -> usize {
    ioctl_int(fd, libc::FIONREAD)
}

/// Bytes that were written and not yet taken by the other end.
pub(crate) fn unsent(fd: c_int) -> usize {
    ioctl_int(fd, libc::TIOCOUTQ)
}

/// How much a pipe holds.
pub(crate) fn pipe_size(fd: c_int) -> usize {
    // SAFETY: no pointer.
    usize::try_from(unsafe { libc::fcntl(fd, libc::F_GETPIPE_SZ) }).unwrap_or(0)
}

/// Whether the descriptor is an IPv6 socket.
pub(crate) fn is_ipv6(fd: c_int) -> bool {
    socket_option(fd, libc::SO_DOMAIN) == Some(libc::AF_INET6)
}

/// Whether the descriptor is a unix socket.
pub(crate) fn is_unix(fd: c_int) -> bool {
    socket_option(fd, libc::SO_DOMAIN) == Some(libc::AF_UNIX)
}

/// An integer option of a socket.
pub(crate) fn socket_option(fd: c_int, option: c_int) -> Option<c_int> {
    let mut value: c_int = 0;
    let mut length = size_of::<c_int>() as socklen_t;
    // SAFETY: `value` has room for `length` bytes.
    let result =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, option, ptr::from_mut(&mut value).cast(), &mut length) };
    (result == 0).then_some(value)
}

/// What TCP knows about the socket: its state, and how many connections wait at a listener. `None` if it is not a TCP
/// socket.
pub(crate) fn tcp_info(fd: c_int) -> Option<libc::tcp_info> {
    let mut info = mem::MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as socklen_t;
    // SAFETY: `info` has room for `length` bytes.
    let result =
        unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &mut length) };
    // SAFETY: it was zeroed, which is a valid tcp_info, and the kernel has written only integers.
    (result == 0).then(|| unsafe { info.assume_init() })
}

/// Calls `reset` in the child after each fork() of this process.
pub(crate) fn in_forked_child(reset: unsafe extern "C" fn()) {
    // SAFETY: `reset` is a function that stays.
    unsafe { libc::pthread_atfork(None, None, Some(reset)) };
}

/// accept4(2) itself, without an address.
pub(crate) fn accept_raw(fd: c_int) -> Result<c_int, Errno> {
    let null = ptr::null_mut::<c_void>();
    // SAFETY: no address is asked for.
    check(unsafe { libc::syscall(libc::SYS_accept4, fd, null, null, libc::SOCK_CLOEXEC) })
}
