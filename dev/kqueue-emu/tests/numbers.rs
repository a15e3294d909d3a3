//! Closed, reused and missing descriptor numbers, on real descriptors. The tests run one at a time, since one could open a
//! number that another has just closed.

mod common;

use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::{NOW, Queue, WAIT, fcntl, kevent, last_error, pipe, unix_connect, unix_listener, while_waiting};
use kqueue_emu::kevent::*;
use kqueue_emu::{Kernel, set_kernel};
use libc::{EBADF, EMFILE, EWOULDBLOCK};

const XNU: Kernel = Kernel::Xnu;

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn dup_to(from: &impl AsRawFd, to: RawFd) {
    // SAFETY: no pointer; `to` belongs to the test.
    assert_eq!(unsafe { libc::dup2(from.as_raw_fd(), to) }, to);
}

#[test]
fn closing_removes_the_knote_silently() {
    let _alone = alone();
    for kernel in Kernel::ALL {
        let (queue, listener) = (Queue::new(kernel), unix_listener());
        queue.change(&listener, EVFILT_READ, EV_ADD).unwrap();
        let _client = unix_connect(&listener);
        assert!(queue.fires(), "{kernel:?}");
        let fd = listener.as_raw_fd();
        // The file stays open under another number, so Linux's epoll would still report it.
        let _copy = listener.try_clone().unwrap();
        drop(listener);
        assert!(!queue.fires(), "{kernel:?}");
        let other = unix_listener();
        let _client = unix_connect(&other);
        if other.as_raw_fd() != fd {
            dup_to(&other, fd);
        }
        assert!(!queue.fires(), "a reused number gets nothing: {kernel:?}");
    }
}

#[test]
fn duplicating_onto_a_watched_number_removes_its_knote() {
    let _alone = alone();
    let (queue, listener, other) = (Queue::new(XNU), unix_listener(), unix_listener());
    queue.change(&listener, EVFILT_READ, EV_ADD).unwrap();
    let _clients = [unix_connect(&listener), unix_connect(&other)];
    dup_to(&other, listener.as_raw_fd());
    assert!(!queue.fires());
    let (reader, _writer) = pipe();
    queue.change(&reader, EVFILT_READ, EV_ADD).unwrap();
    // SAFETY: no pointer; the target belongs to the test.
    unsafe { libc::dup3(other.as_raw_fd(), reader.as_raw_fd(), libc::O_CLOEXEC) };
    assert!(!queue.fires());
    queue.change(&reader, EVFILT_READ, EV_ADD).unwrap();
    assert!(queue.fires());
    // It is the same file, but the number was closed.
    dup_to(&other, reader.as_raw_fd());
    assert!(!queue.fires());
}

#[test]
fn number_that_is_closed_behind_the_back_and_reused_gets_nothing() {
    let _alone = alone();
    for kernel in Kernel::ALL {
        let (queue, listener) = (Queue::new(kernel), unix_listener());
        queue.change(&listener, EVFILT_READ, EV_ADD).unwrap();
        let _client = unix_connect(&listener);
        assert!(queue.fires(), "{kernel:?}");
        let other = unix_listener();
        let _client = unix_connect(&other);
        // SAFETY: no pointer; the target belongs to the test. The bare system call is what the emulation cannot see.
        unsafe { libc::syscall(libc::SYS_dup3, other.as_raw_fd(), listener.as_raw_fd(), libc::O_CLOEXEC) };
        assert!(!queue.fires(), "{kernel:?}");
        queue.change(&listener, EVFILT_READ, EV_ADD | EV_ONESHOT).unwrap();
        assert_eq!(queue.events().len(), 1, "it can be watched anew: {kernel:?}");
    }
}

#[test]
fn range_of_closed_numbers_loses_its_knotes() {
    let _alone = alone();
    let (queue, listener) = (Queue::new(XNU), unix_listener());
    let _client = unix_connect(&listener);
    let high = listener.as_raw_fd() + 20;
    dup_to(&listener, high);
    queue.exchange(&[Kevent::new(high as usize, EVFILT_READ, EV_ADD)], 0, NOW).unwrap();
    assert!(queue.fires());
    // SAFETY: no pointer; the number belongs to the test.
    unsafe { libc::close_range(high as u32, high as u32, 0) };
    dup_to(&listener, high);
    assert!(!queue.fires());
    // SAFETY: no pointer; the number belongs to the test.
    unsafe { libc::close(high) };
}

#[test]
fn closed_queue_frees_its_number_and_leaves_no_knote() {
    let _alone = alone();
    for kernel in Kernel::ALL {
        let (outer, inner, listener) = (Queue::new(kernel), Queue::new(kernel), unix_listener());
        outer.change(&inner, EVFILT_READ, EV_ADD).unwrap();
        inner.change(&listener, EVFILT_READ, EV_ADD).unwrap();
        let _client = unix_connect(&listener);
        assert!(outer.fires(), "{kernel:?}");
        let fd = inner.as_raw_fd();
        drop(inner);
        assert!(!outer.fires(), "{kernel:?}");
        dup_to(&listener, fd);
        assert_eq!(kevent(fd, &[], 1, NOW), Err(Errno(EBADF)), "{kernel:?}");
        // SAFETY: the number belongs to the test again.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
    }
}

#[test]
fn waiting_in_a_queue_that_is_closed_ends_with_an_error() {
    let _alone = alone();
    let queue = Queue::new(XNU);
    let fd = queue.as_raw_fd();
    let result = while_waiting(|| kevent(fd, &[], 1, WAIT).map(|events| events.len()), || drop(queue));
    assert_eq!(result, Err(Errno(EBADF)));
}

#[test]
fn queue_does_not_survive_fork_nor_exec() {
    let _alone = alone();
    let (queue, listener) = (Queue::new(XNU), unix_listener());
    queue.change(&listener, EVFILT_READ, EV_ADD).unwrap();
    let fd = queue.as_raw_fd();
    assert_eq!(fcntl(fd, libc::F_GETFD), Some(libc::FD_CLOEXEC));
    // SAFETY: the child calls nothing that another thread's lock could stop, and ends with _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        set_kernel(Some(XNU));
        let closed = fcntl(fd, libc::F_GETFD).is_none();
        let time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: no changes; one event; a timespec that lives through the call.
        let works = |kq| unsafe {
            let mut event = Kevent::default();
            kqueue_emu::kevent(kq, std::ptr::null(), 0, &mut event, 1, &time) == 0
        };
        let refused = !works(fd);
        let fresh = kqueue_emu::kqueue();
        let status = i32::from(!(closed && refused && fresh >= 0 && works(fresh)));
        // SAFETY: ends the child.
        unsafe { libc::_exit(status) };
    }
    let mut status = -1;
    // SAFETY: `status` is an int to write to.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
    let _client = unix_connect(&listener);
    assert!(queue.fires(), "the parent's is as before");
}

/// Runs `action` in a forked child, and fails unless it returns true there.
fn in_child(action: impl FnOnce() -> bool) {
    // SAFETY: the action calls nothing that another thread's lock could stop, and the child ends with _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        set_kernel(Some(XNU));
        let status = i32::from(!action());
        // SAFETY: ends the child.
        unsafe { libc::_exit(status) };
    }
    let mut status = -1;
    // SAFETY: `status` is an int to write to.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
}

/// Calls kevent() without allocating memory. Returns the number of events.
fn count_events(kq: RawFd, change: Option<Kevent>) -> Result<i32, Errno> {
    let mut events = [Kevent::default(); 8];
    let time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let changes = change.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: one change or none; eight events; a timespec that lives through the call.
    let count = unsafe { kqueue_emu::kevent(kq, changes, i32::from(change.is_some()), events.as_mut_ptr(), 8, &time) };
    if count < 0 { Err(last_error()) } else { Ok(count) }
}

#[test]
fn nothing_that_a_forked_child_does_changes_the_parents_queues() {
    let _alone = alone();
    for kernel in Kernel::ALL {
        let (outer, inner, listener) = (Queue::new(kernel), Queue::new(kernel), unix_listener());
        let (reader, writer) = pipe();
        outer.change(&inner, EVFILT_READ, EV_ADD | EV_CLEAR).unwrap();
        inner.change(&listener, EVFILT_READ, EV_ADD | EV_DISPATCH).unwrap();
        inner.change(&writer, EVFILT_WRITE, EV_ADD | EV_CLEAR).unwrap();
        inner.exchange(&[Kevent::new(1, EVFILT_TIMER, EV_ADD).with_data(1)], 0, NOW).unwrap();
        let (number, watched) = (inner.as_raw_fd(), listener.as_raw_fd());
        let on = |flags| Some(Kevent::new(watched as usize, EVFILT_READ, flags));
        let dead = || {
            [outer.as_raw_fd(), number].into_iter().all(|kq| {
                let calls = [None, on(EV_ADD), on(EV_DELETE), on(EV_DISABLE)];
                calls.into_iter().all(|change| count_events(kq, change) == Err(Errno(EBADF)))
            })
        };
        in_child(dead);
        in_child(|| {
            // SAFETY: no pointer; in the child nothing of all this is used again.
            unsafe {
                for fd in [watched, number, writer.as_raw_fd()] {
                    libc::close(fd);
                }
                // The numbers are free for other files, which are no queues.
                libc::dup2(reader.as_raw_fd(), number) == number
                    && dead()
                    && libc::close(number) == 0
                    && libc::close_range(3, u32::MAX, 0) == 0
                    && dead()
            }
        });
        in_child(|| {
            // A queue of its own, most likely under the number of the parent's, on the same files.
            let own = kqueue_emu::kqueue();
            let added = count_events(own, on(EV_ADD)) == Ok(0) && count_events(own, on(EV_DELETE)) == Ok(0);
            // SAFETY: no pointer; the descriptors are the child's.
            added && unsafe { libc::close(own) == 0 && libc::close(watched) == 0 }
        });
        let _client = unix_connect(&listener);
        let mut found = Vec::new();
        while found.len() < 3 {
            assert!(!outer.wait().is_empty(), "{kernel:?}");
            found.extend(inner.events().iter().map(|event| event.filter));
            found.sort_unstable();
            found.dedup();
        }
        assert_eq!(found, [EVFILT_TIMER, EVFILT_WRITE, EVFILT_READ], "{kernel:?}");
        inner.change(&listener, EVFILT_READ, EV_DELETE).unwrap();
        inner.change(&writer, EVFILT_WRITE, EV_DELETE).unwrap();
    }
}

#[test]
fn forked_child_accepts_as_its_parent_does() {
    let _alone = alone();
    let (_queue, listener) = (Queue::new(XNU), unix_listener());
    let _client = unix_connect(&listener);
    in_child(|| {
        // SAFETY: no address is asked for.
        let conn = unsafe { libc::accept(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut()) };
        conn >= 0 && fcntl(conn, libc::F_GETFL).is_some_and(|flags| flags & libc::O_NONBLOCK != 0)
    });
}

#[test]
fn numbers_of_the_emulation_itself_are_out_of_the_way_and_not_to_be_closed() {
    let _alone = alone();
    let queue = Queue::new(XNU);
    let (reader, mut writer) = pipe();
    queue.change(&writer, EVFILT_WRITE, EV_ADD | EV_CLEAR).unwrap();
    queue.change(&reader, EVFILT_READ, EV_ADD | EV_CLEAR).unwrap();
    assert!(queue.fires());
    let mut hidden = 0;
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let path = entry.unwrap().path();
        let fd: RawFd = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
        let is_event = std::fs::read_link(&path).is_ok_and(|file| file.to_string_lossy().contains("[event"));
        if is_event && fd > writer.as_raw_fd() {
            // SAFETY: no pointer; the test has opened no such descriptor.
            assert_eq!(unsafe { libc::close(fd) }, -1);
            hidden += 1;
        }
    }
    assert_eq!(hidden, 3, "one that is readable, one in reserve, and the queue's second epoll");
    writer.write_all(b"x").unwrap();
    assert!(queue.fires());
}

#[test]
fn accept_without_a_descriptor_closes_the_connection_on_xnu_only() {
    let _alone = alone();
    for kernel in Kernel::ALL {
        let (queue, listener) = (Queue::new(kernel), unix_listener());
        queue.change(&listener, EVFILT_READ, EV_ADD).unwrap();
        let clients = [unix_connect(&listener), unix_connect(&listener)];
        let error = || Errno(listener.accept().unwrap_err().raw_os_error().unwrap());
        let (with_backlog, left) = without_descriptors(|| (error(), queue.events().len()));
        assert_eq!(with_backlog, Errno(EMFILE), "{kernel:?}");
        assert_eq!(left, 1, "the second connection is still there: {kernel:?}");
        clients[0].set_nonblocking(true).unwrap();
        let closed = matches!(std::io::Read::read(&mut &clients[0], &mut [0; 1]), Ok(0));
        assert_eq!(closed, kernel == XNU, "{kernel:?}");
        while listener.accept().is_ok() {}
        let empty = without_descriptors(error);
        assert_eq!(empty, Errno(if kernel == XNU { EWOULDBLOCK } else { EMFILE }), "{kernel:?}");
        let _client = unix_connect(&listener);
        assert!(listener.accept().is_ok(), "and all is well when there are descriptors again: {kernel:?}");
    }
}

#[test]
fn watching_needs_no_descriptor_number() {
    let _alone = alone();
    for kernel in Kernel::ALL {
        let queue = Queue::new(kernel);
        let (reader, writer) = pipe();
        without_descriptors(|| {
            queue.change(&reader, EVFILT_READ, EV_ADD).unwrap();
            queue.change(&writer, EVFILT_WRITE, EV_ADD).unwrap();
            queue.exchange(&[Kevent::new(1, EVFILT_TIMER, EV_ADD).with_data(10_000)], 0, NOW).unwrap();
        });
        assert_eq!(queue.events()[0].filter, EVFILT_WRITE, "{kernel:?}");
    }
}

/// What poll(2) finds for a descriptor.
fn polled(fd: RawFd, events: i16) -> i16 {
    let mut entry = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one pollfd.
    let count = unsafe { libc::poll(&mut entry, 1, 0) };
    assert_eq!(count, i32::from(entry.revents != 0));
    entry.revents
}

#[test]
fn poll_finds_closed_numbers_but_on_xnu_only_where_an_event_is_asked_for() {
    let _alone = alone();
    for kernel in Kernel::ALL {
        let queue = Queue::new(kernel);
        let (reader, writer) = pipe();
        let closed = writer.as_raw_fd();
        drop(writer);
        let expected = if kernel == XNU { 0 } else { libc::POLLNVAL };
        assert_eq!(polled(closed, 0), expected, "{kernel:?}");
        assert_eq!(polled(closed, libc::POLLIN), libc::POLLNVAL, "{kernel:?}");
        let expected = if kernel == XNU { 0 } else { libc::POLLHUP };
        assert_eq!(polled(reader.as_raw_fd(), 0), expected, "{kernel:?}");
        assert_eq!(polled(queue.as_raw_fd(), libc::POLLIN), 0, "{kernel:?}");
    }
}

#[test]
fn poll_calls_what_has_no_filter_closed_on_xnu_only() {
    let _alone = alone();
    for kernel in Kernel::ALL {
        let _queue = Queue::new(kernel);
        for path in ["/dev/null", "/"] {
            let found = polled(std::fs::File::open(path).unwrap().as_raw_fd(), libc::POLLIN);
            assert_eq!(found == libc::POLLNVAL, kernel == XNU, "{path} {kernel:?}");
        }
        let regular = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(polled(regular.as_raw_fd(), libc::POLLIN), libc::POLLIN, "{kernel:?}");
    }
}

/// proc_pidinfo(3) about this process.
fn process_info(flavor: i32, buffer: &mut [i32]) -> i32 {
    let address = if buffer.is_empty() { std::ptr::null_mut() } else { buffer.as_mut_ptr().cast() };
    // SAFETY: null, or a buffer of that size.
    unsafe { kqueue_emu::proc_pidinfo(std::process::id() as i32, flavor, 0, address, (buffer.len() * 4) as i32) }
}

#[test]
fn process_lists_its_descriptors_even_when_it_can_open_no_more() {
    const LIST: i32 = 1;
    let _alone = alone();
    let queue = Queue::new(XNU);
    let mut pairs = vec![0; 2 * 10_240];
    let mut list = || {
        let count = process_info(LIST, &mut pairs) as usize / 8;
        pairs[..2 * count].iter().step_by(2).copied().collect::<Vec<RawFd>>()
    };
    let listed = list();
    let open: Vec<RawFd> = (0..10_240).filter(|fd| fcntl(*fd, libc::F_GETFD).is_some()).collect();
    assert_eq!(listed, open);
    let free = (0..).find(|fd| !open.contains(fd)).unwrap();
    assert_eq!(without_descriptors(list), (0..free).collect::<Vec<RawFd>>());
    assert!(listed.contains(&queue.as_raw_fd()));
    // The table has room for the highest number, and for more.
    assert!(process_info(LIST, &mut []) / 8 > *open.last().unwrap());
    assert_eq!(process_info(LIST, &mut pairs[..8]), 32, "what fits");
}

#[test]
fn process_knows_how_many_threads_it_has() {
    let _alone = alone();
    let threads = || {
        let mut info = [0; 24];
        assert_eq!(process_info(4, &mut info), 96);
        info[21]
    };
    let before = threads();
    assert!(before >= 1);
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || receiver.recv().is_err());
    // Other threads of this program may end in the meantime, but this one waits.
    assert!(threads() >= 2);
    drop(sender);
    assert!(thread.join().unwrap());
}

/// Runs `action` with no descriptor number left to open.
fn without_descriptors<T>(action: impl FnOnce() -> T) -> T {
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: an rlimit to write to.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut old) };
    let free = (0..).find(|fd| fcntl(*fd, libc::F_GETFD).is_none()).unwrap();
    let none = libc::rlimit { rlim_cur: free as libc::rlim_t, ..old };
    // SAFETY: an rlimit that lives through the call.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &none) };
    let value = action();
    // SAFETY: an rlimit that lives through the call.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &old) };
    value
}
