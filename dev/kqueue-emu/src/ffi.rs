//! Everything unsafe: the system calls that the emulation makes, and the C symbols that it exports.
//!
//! The exported `close`, `dup2`, `dup3`, `close_range`, `listen`, `connect`, `accept`, `accept4`, `shutdown` and `poll` stand before
//! libc's in any program that links this library, and make the system call themselves. Until the process has called `kqueue()` they do
//! nothing more. The system calls here never go through those names, which may be the exported ones.

use std::ffi::{c_int, c_long, c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{mem, ptr, slice};

use libc::{EFAULT, EINVAL, epoll_event, pollfd, sockaddr, socklen_t, timespec};

use crate::kevent::{Errno, Kevent};
use crate::real;

fn check(result: c_long) -> Result<c_int, Errno> {
    if result < 0 { Err(Errno(errno())) } else { Ok(result as c_int) }
}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(EINVAL)
}

fn set_errno(error: i32) {
    // SAFETY: the address of this thread's errno is always valid.
    unsafe { *libc::__errno_location() = error }
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

/// Takes the events that are there, with no wait.
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

/// poll(2) itself, for so many nanoseconds or for ever.
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

/// Waits until `fd` is readable, for so many nanoseconds or for ever. Takes nothing from an epoll.
pub(crate) fn wait_readable(fd: c_int, nanoseconds: Option<u64>) -> Result<(), Errno> {
    poll_all(&mut [pollfd { fd, events: libc::POLLIN, revents: 0 }], nanoseconds).map(drop)
}

/// How many threads this process has. Needs no descriptor.
pub(crate) fn threads() -> usize {
    let mut stat = mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: a path that ends with NUL, and room for a stat to write to.
    if unsafe { libc::stat(c"/proc/self/task".as_ptr(), stat.as_mut_ptr()) } < 0 {
        return usize::MAX;
    }
    // SAFETY: stat has succeeded, so it has filled it in.
    let stat = unsafe { stat.assume_init() };
    // Beside one link for each of them the folder has its own two.
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
    // A zero would disarm it.
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
    // SAFETY: no pointer; whose descriptor it is, the caller answers for.
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

/// The descriptor again under a number that is `lowest` or more.
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
    let wanted = (at_least as libc::rlim_t).max(old.rlim_cur).min(old.rlim_max);
    let raised = libc::rlimit { rlim_cur: wanted, ..old };
    // SAFETY: an rlimit that lives through the call.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) };
    let value = action();
    // SAFETY: as above.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &old) };
    value
}

/// What fstat(2) says: device and inode, type, size. None when the descriptor is closed.
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

/// Bytes written and not yet taken.
pub(crate) fn unsent(fd: c_int) -> usize {
    ioctl_int(fd, libc::TIOCOUTQ)
}

/// How much a pipe holds.
pub(crate) fn pipe_size(fd: c_int) -> usize {
    // SAFETY: no pointer.
    usize::try_from(unsafe { libc::fcntl(fd, libc::F_GETPIPE_SZ) }).unwrap_or(0)
}

/// Whether it is a socket of IPv6.
pub(crate) fn is_ipv6(fd: c_int) -> bool {
    socket_option(fd, libc::SO_DOMAIN) == Some(libc::AF_INET6)
}

/// Whether it is a unix socket.
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

/// What TCP knows of the socket: its state, and of a listener how many connections wait. None: it is not TCP.
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

pub(crate) unsafe extern "C" fn forked_child() {
    real::after_fork();
}

/// accept4(2) itself, with no address.
pub(crate) fn accept_raw(fd: c_int) -> Result<c_int, Errno> {
    let null = ptr::null_mut::<c_void>();
    // SAFETY: no address is asked for.
    check(unsafe { libc::syscall(libc::SYS_accept4, fd, null, null, libc::SOCK_CLOEXEC) })
}

/// Where the caller of accept(2) wants the peer's address.
struct Address {
    address: *mut sockaddr,
    length: *mut socklen_t,
}

impl Address {
    fn accept(&self, fd: c_int, flags: c_int) -> Result<c_int, Errno> {
        // SAFETY: the caller of the exported function answers for its pointers, as with libc's.
        check(unsafe { libc::syscall(libc::SYS_accept4, fd, self.address, self.length, flags) })
    }

    fn clear(&self) {
        if !self.length.is_null() {
            // SAFETY: not null, and the kernel has just written a length there.
            unsafe { *self.length = 0 };
        }
    }
}

/// Makes a C result of a Rust one. No panic crosses into C: it becomes EFAULT.
fn guard(action: impl FnOnce() -> Result<c_int, Errno>) -> c_int {
    match catch_unwind(AssertUnwindSafe(action)) {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => {
            set_errno(error.0);
            -1
        }
        Err(_) => {
            set_errno(EFAULT);
            -1
        }
    }
}

/// kqueue(2)
#[unsafe(no_mangle)]
pub extern "C" fn kqueue() -> c_int {
    guard(real::kqueue)
}

/// kevent(2)
///
/// # Safety
/// `changelist` points to `nchanges` changes and `eventlist` to room for `nevents` events; `timeout` is null or a
/// timespec.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kevent(
    kq: c_int,
    changelist: *const Kevent,
    nchanges: c_int,
    eventlist: *mut Kevent,
    nevents: c_int,
    timeout: *const timespec,
) -> c_int {
    guard(|| {
        let nchanges = usize::try_from(nchanges).map_err(|_| Errno(EINVAL))?;
        let nevents = usize::try_from(nevents).map_err(|_| Errno(EINVAL))?;
        if (changelist.is_null() && nchanges > 0) || (eventlist.is_null() && nevents > 0) {
            return Err(Errno(EFAULT));
        }
        // The lists may be the same memory, so the changes are copied before there is a reference to the events.
        let mut changes = Vec::with_capacity(nchanges);
        for index in 0..nchanges {
            // SAFETY: the caller has passed so many changes.
            changes.push(unsafe { changelist.add(index).read() });
        }
        let events: &mut [Kevent] = match nevents {
            0 => &mut [],
            // SAFETY: not null, and the caller has passed room for so many. A Kevent is integers and a pointer, for
            // which any bytes are valid once they are written; C callers pass memory that they own.
            _ => unsafe {
                ptr::write_bytes(eventlist, 0, nevents);
                slice::from_raw_parts_mut(eventlist, nevents)
            },
        };
        // SAFETY: null or a timespec.
        let timeout = unsafe { timeout.as_ref() };
        let timeout = match timeout {
            None => None,
            Some(time) if time.tv_sec < 0 || !(0..1_000_000_000).contains(&time.tv_nsec) => {
                return Err(Errno(EINVAL));
            }
            Some(time) => Some((time.tv_sec as u64).saturating_mul(1_000_000_000) + time.tv_nsec as u64),
        };
        real::kevent(kq, &changes, events, timeout).map(|count| count as c_int)
    })
}

/// listen(2), with the backlog that the kernel makes of it.
#[unsafe(no_mangle)]
pub extern "C" fn listen(fd: c_int, backlog: c_int) -> c_int {
    guard(|| {
        // SAFETY: no pointer.
        check(unsafe { libc::syscall(libc::SYS_listen, fd, real::backlog(fd, backlog)) })
    })
}

/// shutdown(2), which the kernels do not let stop a listener.
#[unsafe(no_mangle)]
pub extern "C" fn shutdown(fd: c_int, how: c_int) -> c_int {
    guard(|| {
        if real::shutting_down(fd)? {
            // SAFETY: no pointer.
            check(unsafe { libc::syscall(libc::SYS_shutdown, fd, how) })
        } else {
            Ok(0)
        }
    })
}

/// connect(2), of which the model has to know.
///
/// # Safety
/// As for libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    guard(|| {
        // SAFETY: the caller answers for its pointer.
        let done = check(unsafe { libc::syscall(libc::SYS_connect, fd, address, length) });
        real::connected(fd, done)
    })
}

/// close(2), which takes the knotes of the descriptor with it.
#[unsafe(no_mangle)]
pub extern "C" fn close(fd: c_int) -> c_int {
    guard(|| {
        real::closing(fd)?;
        close_fd(fd)
    })
}

/// dup2(2): what `to` was is closed.
#[unsafe(no_mangle)]
pub extern "C" fn dup2(from: c_int, to: c_int) -> c_int {
    guard(|| {
        real::replacing(from, to)?;
        if from == to {
            return if is_open(from) { Ok(to) } else { Err(Errno(libc::EBADF)) };
        }
        // SAFETY: no pointer.
        check(unsafe { libc::syscall(libc::SYS_dup3, from, to, 0) })
    })
}

/// dup3(2): what `to` was is closed.
#[unsafe(no_mangle)]
pub extern "C" fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int {
    guard(|| {
        real::replacing(from, to)?;
        // SAFETY: no pointer.
        check(unsafe { libc::syscall(libc::SYS_dup3, from, to, flags) })
    })
}

/// close_range(2)
#[unsafe(no_mangle)]
pub extern "C" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    guard(|| {
        if flags as c_uint & libc::CLOSE_RANGE_CLOEXEC == 0 {
            real::closing_range(first, last);
        }
        // SAFETY: no pointer.
        check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) })
    })
}

/// poll(2), which on XNU finds less.
///
/// # Safety
/// As poll(2): `entries` points to `count` pollfds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn poll(entries: *mut pollfd, count: libc::nfds_t, milliseconds: c_int) -> c_int {
    guard(|| {
        if entries.is_null() && count > 0 {
            return Err(Errno(EFAULT));
        }
        let entries: &mut [pollfd] = match count as usize {
            0 => &mut [],
            // SAFETY: not null, and the caller has passed so many.
            count => unsafe { slice::from_raw_parts_mut(entries, count) },
        };
        real::poll(entries, u64::try_from(milliseconds).ok().map(|milliseconds| milliseconds * 1_000_000))
    })
}

/// proc_pidinfo(3) of macOS: for this process, and of what it tells, PROC_PIDLISTFDS, and the number of threads in
/// PROC_PIDTASKINFO.
///
/// # Safety
/// `buffer` is null, or has room for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proc_pidinfo(
    id: c_int,
    flavor: c_int,
    _argument: u64,
    buffer: *mut c_void,
    size: c_int,
) -> c_int {
    let result = guard(|| {
        if id != pid() {
            return Err(Errno(libc::ESRCH));
        }
        let room = usize::try_from(size).map_err(|_| Errno(EINVAL))?;
        match (flavor, buffer.is_null()) {
            // Of a descriptor: its number, and what it is.
            (PROC_PIDLISTFDS, true) => Ok((real::table_size() + 20) as c_int * 8),
            (PROC_PIDLISTFDS, false) => {
                let open = real::open_numbers();
                let fit = open.len().min(room / 8);
                for (index, fd) in open[..fit].iter().enumerate() {
                    // SAFETY: so many pairs of integers fit in the buffer.
                    unsafe { buffer.cast::<[c_int; 2]>().add(index).write_unaligned([*fd, 0]) };
                }
                Ok(fit as c_int * 8)
            }
            (PROC_PIDTASKINFO, false) if room >= size_of::<TaskInfo>() => {
                let mut info = TaskInfo { sizes_and_times: [0; 6], counts: [0; 12] };
                info.counts[9] = c_int::try_from(threads()).unwrap_or(c_int::MAX);
                // SAFETY: there is room for one.
                unsafe { buffer.cast::<TaskInfo>().write_unaligned(info) };
                Ok(size_of::<TaskInfo>() as c_int)
            }
            _ => Err(Errno(EINVAL)),
        }
    });
    // libproc's errors are no -1.
    result.max(0)
}

const PROC_PIDLISTFDS: c_int = 1;
const PROC_PIDTASKINFO: c_int = 4;

/// `struct proc_taskinfo`; the tenth of its counts is that of threads.
#[repr(C)]
struct TaskInfo {
    sizes_and_times: [u64; 6],
    counts: [c_int; 12],
}

/// accept(2), with the O_NONBLOCK of the listener where the kernel inherits it.
///
/// # Safety
/// As accept(2): `address` and `length` are null, or a buffer and its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn accept(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int {
    accept_guarded(fd, Address { address, length }, None)
}

/// accept4(2)
///
/// # Safety
/// As accept4(2): `address` and `length` are null, or a buffer and its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn accept4(fd: c_int, address: *mut sockaddr, length: *mut socklen_t, flags: c_int) -> c_int {
    accept_guarded(fd, Address { address, length }, Some(flags))
}

fn accept_guarded(fd: c_int, address: Address, flags: Option<c_int>) -> c_int {
    guard(|| real::accept(fd, flags, |flags| address.accept(fd, flags), || address.clear()))
}

// What the C header declares.
const _: () = assert!(size_of::<Kevent>() == 32);
