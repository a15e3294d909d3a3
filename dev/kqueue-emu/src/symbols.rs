//! The C symbols that the library exports.
//!
//! `close`, `dup2`, `dup3`, `close_range`, `listen`, `connect`, `accept`, `accept4`, `shutdown` and `poll` stand before
//! libc's in any program that links this library. They tell the queues what these must know, and make the system call
//! themselves. Until the process has called `kqueue()` they do nothing more.

use std::ffi::{c_int, c_uint, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{ptr, slice};

use libc::{EFAULT, EINVAL, pollfd, sockaddr, socklen_t, timespec};

use crate::kevent::{Errno, Kevent};
use crate::real;
use crate::system::{self, check};

fn set_errno(error: i32) {
    // SAFETY: the address of this thread's errno is always valid.
    unsafe { *libc::__errno_location() = error }
}

/// Where the caller of accept(2) wants the peer's address stored.
struct Address {
    address: *mut sockaddr,
    length: *mut socklen_t,
}

impl Address {
    fn accept(&self, fd: c_int, flags: c_int) -> Result<c_int, Errno> {
        // SAFETY: the caller of the exported function vouches for its pointers, as with libc's.
        check(unsafe { libc::syscall(libc::SYS_accept4, fd, self.address, self.length, flags) })
    }

    fn clear(&self) {
        if !self.length.is_null() {
            // SAFETY: not null, and the kernel has just written a length there.
            unsafe { *self.length = 0 };
        }
    }
}

/// Turns a Rust result into a C one. No panic crosses into C: it becomes EFAULT.
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
        // Both lists may be in the same memory, so the changes are copied before a reference to the events exists.
        let mut changes = Vec::with_capacity(nchanges);
        for index in 0..nchanges {
            // SAFETY: the caller passes `nchanges` changes, and `index` is below that.
            changes.push(unsafe { changelist.add(index).read() });
        }
        let events: &mut [Kevent] = match nevents {
            0 => &mut [],
            // SAFETY: not null, and the caller passes room for `nevents`. A Kevent is integers and a pointer, for which
            // any bytes are valid once they are written. C callers pass memory that they own.
            _ => unsafe {
                ptr::write_bytes(eventlist, 0, nevents);
                slice::from_raw_parts_mut(eventlist, nevents)
            },
        };
        // SAFETY: the caller passes null or a timespec.
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

/// listen(2), with the backlog as the imitated kernel interprets it.
#[unsafe(no_mangle)]
pub extern "C" fn listen(fd: c_int, backlog: c_int) -> c_int {
    guard(|| {
        // SAFETY: no pointer.
        check(unsafe { libc::syscall(libc::SYS_listen, fd, real::backlog(fd, backlog)) })
    })
}

/// shutdown(2), with which no imitated kernel stops a listener.
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

/// connect(2), which the model has to know about.
///
/// # Safety
/// As for connect(2): `address` points to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn connect(fd: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    guard(|| {
        // SAFETY: the caller vouches for its pointer.
        let done = check(unsafe { libc::syscall(libc::SYS_connect, fd, address, length) });
        real::connected(fd, done)
    })
}

/// close(2), which removes the knotes of the descriptor.
#[unsafe(no_mangle)]
pub extern "C" fn close(fd: c_int) -> c_int {
    guard(|| {
        real::closing(fd)?;
        system::close_fd(fd)
    })
}

/// dup2(2), which closes what `to` was.
#[unsafe(no_mangle)]
pub extern "C" fn dup2(from: c_int, to: c_int) -> c_int {
    guard(|| {
        real::replacing(from, to)?;
        if from == to {
            return if system::is_open(from) { Ok(to) } else { Err(Errno(libc::EBADF)) };
        }
        // SAFETY: no pointer.
        check(unsafe { libc::syscall(libc::SYS_dup3, from, to, 0) })
    })
}

/// dup3(2), which closes what `to` was.
#[unsafe(no_mangle)]
pub extern "C" fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int {
    guard(|| {
        real::replacing(from, to)?;
        // SAFETY: no pointer.
        check(unsafe { libc::syscall(libc::SYS_dup3, from, to, flags) })
    })
}

/// close_range(2), which removes the knotes of the descriptors that it closes.
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

/// poll(2), which finds less on XNU.
///
/// # Safety
/// As for poll(2): `entries` points to `count` pollfds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn poll(entries: *mut pollfd, count: libc::nfds_t, milliseconds: c_int) -> c_int {
    guard(|| {
        if entries.is_null() && count > 0 {
            return Err(Errno(EFAULT));
        }
        let entries: &mut [pollfd] = match count as usize {
            0 => &mut [],
            // SAFETY: not null, and the caller passes `count` entries.
            count => unsafe { slice::from_raw_parts_mut(entries, count) },
        };
        real::poll(entries, u64::try_from(milliseconds).ok().map(|milliseconds| milliseconds * 1_000_000))
    })
}

/// proc_pidinfo(3) of macOS, for this process only. It knows PROC_PIDLISTFDS, and the number of threads in
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
        if id != system::pid() {
            return Err(Errno(libc::ESRCH));
        }
        let room = usize::try_from(size).map_err(|_| Errno(EINVAL))?;
        match (flavor, buffer.is_null()) {
            // An entry is 8 bytes: the descriptor's number, and what it is.
            (PROC_PIDLISTFDS, true) => Ok((real::table_size() + 20) as c_int * 8),
            (PROC_PIDLISTFDS, false) => {
                let open = real::open_numbers();
                let fit = open.len().min(room / 8);
                for (index, fd) in open[..fit].iter().enumerate() {
                    // SAFETY: `fit` entries of 8 bytes fit in the buffer, and `index` is below that.
                    unsafe { buffer.cast::<[c_int; 2]>().add(index).write_unaligned([*fd, 0]) };
                }
                Ok(fit as c_int * 8)
            }
            (PROC_PIDTASKINFO, false) if room >= size_of::<TaskInfo>() => {
                let mut info = TaskInfo { sizes_and_times: [0; 6], counts: [0; 12] };
                info.counts[9] = c_int::try_from(system::threads()).unwrap_or(c_int::MAX);
                // SAFETY: the buffer has `room` bytes, at least the size of a TaskInfo.
                unsafe { buffer.cast::<TaskInfo>().write_unaligned(info) };
                Ok(size_of::<TaskInfo>() as c_int)
            }
            _ => Err(Errno(EINVAL)),
        }
    });
    // libproc returns 0 for an error, not -1.
    result.max(0)
}

const PROC_PIDLISTFDS: c_int = 1;
const PROC_PIDTASKINFO: c_int = 4;

/// `struct proc_taskinfo`. The tenth of its counts is the number of threads.
#[repr(C)]
struct TaskInfo {
    sizes_and_times: [u64; 6],
    counts: [c_int; 12],
}

/// accept(2), which passes on the O_NONBLOCK of the listener if the imitated kernel does.
///
/// # Safety
/// As for accept(2): `address` and `length` are null, or a buffer and its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn accept(fd: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int {
    accept_guarded(fd, Address { address, length }, None)
}

/// accept4(2)
///
/// # Safety
/// As for accept4(2): `address` and `length` are null, or a buffer and its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn accept4(fd: c_int, address: *mut sockaddr, length: *mut socklen_t, flags: c_int) -> c_int {
    accept_guarded(fd, Address { address, length }, Some(flags))
}

fn accept_guarded(fd: c_int, address: Address, flags: Option<c_int>) -> c_int {
    guard(|| real::accept(fd, flags, |flags| address.accept(fd, flags), || address.clear()))
}

// The size that the C header declares.
const _: () = assert!(size_of::<Kevent>() == 32);
