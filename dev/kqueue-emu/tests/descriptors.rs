//! Queues on real descriptors: what they report of sockets, pipes, files, timers and other queues.

mod common;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::{NOW, Queue, WAIT, kevent, last_error, pipe, unix_connect, unix_listener, while_waiting};
use kqueue_emu::Kernel;
use kqueue_emu::kevent::*;
use libc::{EBADF, EINTR, EINVAL};

const XNU: Kernel = Kernel::Xnu;

#[test]
fn accept_posts_the_listener_again_but_not_on_xnu() {
    for kernel in Kernel::ALL {
        let (queue, listener) = (Queue::new(kernel), unix_listener());
        queue.change(&listener, EVFILT_READ, EV_ADD | EV_CLEAR).unwrap();
        let _clients = [unix_connect(&listener), unix_connect(&listener)];
        assert_eq!(queue.events().len(), 1, "{kernel:?}");
        listener.accept().unwrap();
        assert_eq!(queue.fires(), kernel != XNU, "{kernel:?}");
        let _third = unix_connect(&listener);
        assert!(queue.fires(), "an arrival always does: {kernel:?}");
    }
}

#[test]
fn accept_in_another_thread_wakes_a_waiting_queue() {
    let (queue, listener) = (Queue::new(Kernel::NetBsd), unix_listener());
    queue.change(&listener, EVFILT_READ, EV_ADD | EV_CLEAR).unwrap();
    let _clients = [unix_connect(&listener), unix_connect(&listener)];
    assert!(queue.fires());
    let woken_by = while_waiting(|| queue.wait()[0].ident, || drop(listener.accept().unwrap()));
    assert_eq!(woken_by, listener.as_raw_fd() as usize);
}

#[test]
fn unix_socket_that_connects_at_once_is_posted() {
    for kernel in Kernel::ALL {
        let (queue, listener) = (Queue::new(kernel), unix_listener());
        // SAFETY: the kernel has just made it.
        let client = unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)) };
        queue.change(&client, EVFILT_WRITE, EV_ADD | EV_CLEAR).unwrap();
        assert!(!queue.fires(), "not connected: {kernel:?}");
        // SAFETY: a sockaddr_un is integers and bytes; both calls get room for one.
        unsafe {
            let mut address: libc::sockaddr_un = std::mem::zeroed();
            let mut length = size_of_val(&address) as libc::socklen_t;
            assert_eq!(libc::getsockname(listener.as_raw_fd(), (&raw mut address).cast(), &mut length), 0);
            assert_eq!(libc::connect(client.as_raw_fd(), (&raw const address).cast(), length), 0);
        }
        assert!(queue.fires(), "{kernel:?}");
    }
}

#[test]
fn listener_reports_how_many_connections_wait() {
    let (queue, listener) = (Queue::new(XNU), TcpListener::bind("127.0.0.1:0").unwrap());
    queue.change(&listener, EVFILT_READ, EV_ADD).unwrap();
    let address = listener.local_addr().unwrap();
    let _clients: Vec<TcpStream> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut most = 0;
    while most < 5 {
        let data = queue.wait()[0].data;
        assert!((most..=5).contains(&data));
        most = data;
    }
    for left in (0..5).rev() {
        listener.accept().unwrap();
        assert_eq!(queue.events().first().map_or(0, |event| event.data), left);
    }
}

#[test]
fn edge_that_is_there_when_a_descriptor_is_added_is_one_event() {
    for kernel in Kernel::ALL {
        let (queue, listener) = (Queue::new(kernel), unix_listener());
        let _client = unix_connect(&listener);
        let change = Kevent::new(listener.as_raw_fd() as usize, EVFILT_READ, EV_ADD | EV_CLEAR);
        assert_eq!(queue.exchange(&[change], 8, NOW).unwrap().len(), 1, "{kernel:?}");
        assert!(!queue.fires(), "{kernel:?}");
    }
}

#[test]
fn pipe_reports_bytes_and_then_the_end() {
    let queue = Queue::new(XNU);
    let (mut reader, mut writer) = pipe();
    queue.change(&reader, EVFILT_READ, EV_ADD | EV_CLEAR).unwrap();
    assert!(!queue.fires());
    writer.write_all(b"abc").unwrap();
    assert_eq!(queue.events()[0].data, 3);
    assert!(!queue.fires());
    reader.read_exact(&mut [0; 1]).unwrap();
    assert!(!queue.fires());
    writer.write_all(b"d").unwrap();
    assert_eq!(queue.events()[0].data, 3);
    drop(writer);
    let events = queue.events();
    assert_eq!((events[0].data, events[0].flags & EV_EOF), (3, EV_EOF));
}

#[test]
fn pipe_is_writable_while_it_has_room_and_until_its_reader_is_gone() {
    let queue = Queue::new(XNU);
    let (mut reader, mut writer) = pipe();
    queue.change(&writer, EVFILT_WRITE, EV_ADD | EV_CLEAR).unwrap();
    let room = queue.events()[0].data as usize;
    assert!(!queue.fires());
    writer.write_all(&vec![0; room]).unwrap();
    assert!(!queue.fires());
    reader.read_exact(&mut vec![0; room]).unwrap();
    assert!(queue.fires());
    drop(reader);
    assert_eq!(queue.events()[0].flags & EV_EOF, EV_EOF);
}

#[test]
fn bytes_to_read_are_no_event_of_the_other_direction() {
    let queue = Queue::new(XNU);
    let (left, mut right) = UnixStream::pair().unwrap();
    queue.change(&left, EVFILT_READ, EV_ADD | EV_CLEAR).unwrap();
    queue.change(&left, EVFILT_WRITE, EV_ADD | EV_CLEAR).unwrap();
    assert_eq!(queue.events()[0].filter, EVFILT_WRITE);
    right.write_all(b"x").unwrap();
    let events = queue.events();
    assert_eq!((events.len(), events[0].filter, events[0].data), (1, EVFILT_READ, 1));
}

#[test]
fn socket_is_neither_readable_nor_writable_before_it_is_connected() {
    let queue = Queue::new(XNU);
    // SAFETY: no pointer; the descriptor is new.
    let socket = unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)) };
    queue.change(&socket, EVFILT_READ, EV_ADD | EV_CLEAR).unwrap();
    queue.change(&socket, EVFILT_WRITE, EV_ADD | EV_CLEAR).unwrap();
    assert!(!queue.fires());
}

#[test]
fn connecting_is_over_when_the_socket_becomes_writable() {
    let (queue, listener) = (Queue::new(XNU), TcpListener::bind("127.0.0.1:0").unwrap());
    let client = {
        let flags = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: no pointer; the descriptor is new.
        unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, flags, 0)) }
    };
    queue.change(&client, EVFILT_READ, EV_ADD | EV_CLEAR).unwrap();
    queue.change(&client, EVFILT_WRITE, EV_ADD | EV_CLEAR).unwrap();
    assert!(!queue.fires());
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: listener.local_addr().unwrap().port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: the address is a sockaddr_in of that length.
    unsafe { libc::connect(client.as_raw_fd(), (&raw const address).cast(), length) };
    assert_eq!(queue.wait()[0].filter, EVFILT_WRITE);
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b"hello").unwrap();
    let event = queue.wait()[0];
    assert_eq!((event.filter, event.data), (EVFILT_READ, 5));
    drop(server);
    // Linux may wake the other direction too. The kernels do not, but a program must accept that.
    while !queue.wait().iter().any(|event| event.filter == EVFILT_READ && event.flags & EV_EOF != 0) {}
}

#[test]
fn datagram_with_no_bytes_is_something_to_read() {
    let (queue, receiver) = (Queue::new(XNU), UdpSocket::bind("127.0.0.1:0").unwrap());
    queue.change(&receiver, EVFILT_READ, EV_ADD | EV_CLEAR).unwrap();
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"", receiver.local_addr().unwrap()).unwrap();
    let event = queue.wait()[0];
    assert_eq!((event.data, event.flags & EV_EOF), (0, 0));
}

#[test]
fn regular_file_reports_what_is_left_of_it() {
    let queue = Queue::new(XNU);
    let mut file = File::open(std::env::current_exe().unwrap()).unwrap();
    queue.change(&file, EVFILT_READ, EV_ADD).unwrap();
    file.seek(SeekFrom::End(-7)).unwrap();
    assert_eq!(queue.events()[0].data, 7);
    file.seek(SeekFrom::End(0)).unwrap();
    assert!(!queue.fires());
}

#[test]
fn delete_and_add_with_a_number_in_use_by_two_queues() {
    let (left, right, listener) = (Queue::new(XNU), Queue::new(XNU), unix_listener());
    left.change(&listener, EVFILT_READ, EV_ADD | EV_CLEAR).unwrap();
    right.change(&listener, EVFILT_READ, EV_ADD | EV_CLEAR).unwrap();
    let _client = unix_connect(&listener);
    left.change(&listener, EVFILT_READ, EV_DELETE).unwrap();
    assert!(!left.fires() && right.fires());
    left.change(&listener, EVFILT_READ, EV_ADD).unwrap();
    assert!(left.fires() && left.fires());
    right.change(&listener, EVFILT_READ, EV_ADD).unwrap();
    assert!(right.fires() && !right.fires(), "EV_CLEAR is kept");
}

#[test]
fn queue_is_readable_for_poll_when_it_has_something() {
    let readable = |queue: &Queue| {
        let mut entry = libc::pollfd { fd: queue.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd.
        unsafe { libc::poll(&mut entry, 1, 0) == 1 }
    };
    for kernel in Kernel::ALL {
        let (queue, listener) = (Queue::new(kernel), unix_listener());
        queue.change(&listener, EVFILT_READ, EV_ADD).unwrap();
        assert!(!readable(&queue), "{kernel:?}");
        let _client = unix_connect(&listener);
        assert!(readable(&queue), "{kernel:?}");
        assert!(queue.fires() && readable(&queue), "level-triggered: {kernel:?}");
        listener.accept().unwrap();
        assert!(!queue.fires() && !readable(&queue), "{kernel:?}");
        if kernel.profile().user_events {
            queue.exchange(&[Kevent::new(1, EVFILT_USER, EV_ADD).with_fflags(NOTE_TRIGGER)], 0, NOW).unwrap();
            assert!(readable(&queue), "{kernel:?}");
        }
    }
}

#[test]
fn outer_queue_wakes_for_a_listener_of_the_inner() {
    for kernel in Kernel::ALL {
        let (outer, inner, listener) = (Queue::new(kernel), Queue::new(kernel), unix_listener());
        outer.change(&inner, EVFILT_READ, EV_ADD | EV_CLEAR).unwrap();
        inner.change(&listener, EVFILT_READ, EV_ADD | EV_DISPATCH).unwrap();
        assert!(!outer.fires(), "{kernel:?}");
        for _ in 0..3 {
            let _clients = [unix_connect(&listener), unix_connect(&listener)];
            let events = outer.events();
            assert_eq!((events.len(), events[0].data), (1, 1), "{kernel:?}");
            assert!(!outer.fires(), "{kernel:?}");
            assert!(inner.fires(), "{kernel:?}");
            while listener.accept().is_ok() {}
            inner.change(&listener, EVFILT_READ, EV_ADD | EV_ENABLE | EV_DISPATCH).unwrap();
            assert!(!inner.fires(), "{kernel:?}");
            assert!(!outer.fires(), "{kernel:?}");
        }
    }
}

#[test]
fn waiting_outer_queue_wakes_for_whatever_happens_to_the_inner() {
    for kernel in Kernel::ALL {
        let (outer, inner, listener) = (Queue::new(kernel), Queue::new(kernel), unix_listener());
        outer.change(&inner, EVFILT_READ, EV_ADD | EV_CLEAR).unwrap();
        let after = |action: &dyn Fn()| {
            let woken_by = while_waiting(|| outer.wait()[0].ident, action);
            assert_eq!(woken_by, inner.as_raw_fd() as usize, "{kernel:?}");
            assert!(inner.fires(), "{kernel:?}");
        };
        inner.change(&listener, EVFILT_READ, EV_ADD | EV_CLEAR).unwrap();
        after(&|| drop(unix_connect(&listener)));
        after(&|| inner.change(&listener, EVFILT_READ, EV_ADD).unwrap());
        if kernel.profile().user_events {
            let user = Kevent::new(1, EVFILT_USER, EV_ADD | EV_CLEAR).with_fflags(NOTE_TRIGGER);
            after(&|| drop(inner.exchange(&[user], 0, NOW).unwrap()));
        }
        let timer = Kevent::new(1, EVFILT_TIMER, EV_ADD | EV_ONESHOT).with_data(1);
        after(&|| drop(inner.exchange(&[timer], 0, NOW).unwrap()));
    }
}

#[test]
fn queue_cannot_be_watched_for_writing() {
    for kernel in Kernel::ALL {
        let (outer, inner) = (Queue::new(kernel), Queue::new(kernel));
        assert_eq!(outer.change(&inner, EVFILT_WRITE, EV_ADD), Err(Errno(EINVAL)), "{kernel:?}");
        assert_eq!(outer.change(&outer, EVFILT_READ, EV_ADD), Err(Errno(EINVAL)), "{kernel:?}");
        outer.change(&inner, EVFILT_READ, EV_ADD).unwrap();
        assert_eq!(inner.change(&outer, EVFILT_READ, EV_ADD), Err(Errno(EINVAL)), "{kernel:?}");
    }
}

#[test]
fn timers_are_waited_for_and_fire_in_their_order() {
    let queue = Queue::new(XNU);
    let timer = |ident, milliseconds| Kevent::new(ident, EVFILT_TIMER, EV_ADD | EV_ONESHOT).with_data(milliseconds);
    let mut order = queue.exchange(&[timer(1, 30), timer(2, 10), timer(3, 20)], 8, WAIT).unwrap();
    while order.len() < 3 {
        order.extend(queue.wait());
    }
    assert_eq!(order.iter().map(|event| event.ident).collect::<Vec<_>>(), [2, 3, 1]);
    queue.exchange(&[Kevent::new(4, EVFILT_TIMER, EV_ADD).with_fflags(NOTE_USECONDS).with_data(100)], 0, NOW).unwrap();
    for _ in 0..3 {
        assert!(queue.wait()[0].data >= 1);
    }
}

#[test]
fn waiting_ends_with_the_timeout() {
    let queue = Queue::new(XNU);
    assert_eq!(queue.exchange(&[], 1, Some(Duration::from_millis(1))), Ok(Vec::new()));
    assert_eq!(queue.exchange(&[], 0, WAIT), Ok(Vec::new()), "no room for events: no wait");
}

#[test]
fn signal_ends_the_waiting_after_the_changes_were_applied() {
    extern "C" fn nothing(_: i32) {}
    // SAFETY: the handler does nothing, and the mask is empty.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut());
    }
    let (queue, (sender, receiver)) = (Queue::new(XNU), mpsc::channel());
    let waiting = thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            // SAFETY: no argument.
            sender.send(unsafe { libc::pthread_self() }).unwrap();
            queue.exchange(&[Kevent::new(1, EVFILT_USER, EV_ADD)], 1, WAIT).map(|events| events.len())
        });
        let thread = receiver.recv().unwrap();
        while !waiting.is_finished() {
            // SAFETY: the thread is not joined yet, so its id is valid.
            unsafe { libc::pthread_kill(thread, libc::SIGUSR1) };
            thread::yield_now();
        }
        waiting.join().unwrap()
    });
    assert_eq!(waiting, Err(Errno(EINTR)));
    queue.exchange(&[Kevent::new(1, EVFILT_USER, EV_DELETE)], 0, NOW).unwrap();
}

#[test]
fn bad_arguments_are_errors() {
    let queue = Queue::new(XNU);
    let listener = unix_listener();
    assert_eq!(kevent(listener.as_raw_fd(), &[], 1, NOW), Err(Errno(EBADF)));
    assert_eq!(kevent(-1, &[], 1, NOW), Err(Errno(EBADF)));
    let time = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000_000 };
    let (null, none) = (std::ptr::null(), std::ptr::null_mut());
    // SAFETY: empty lists, and a timespec that lives through the call.
    unsafe {
        assert_eq!(kqueue_emu::kevent(queue.as_raw_fd(), null, 0, none, 0, &time), -1);
        assert_eq!(last_error(), Errno(EINVAL));
        assert_eq!(kqueue_emu::kevent(queue.as_raw_fd(), null, 1, none, 0, null.cast()), -1);
        assert_eq!(last_error(), Errno(libc::EFAULT));
    }
}

#[test]
fn each_thread_has_its_queue() {
    let listener = unix_listener();
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let mut threads = Vec::new();
        for _ in 0..4 {
            let (sender, listener) = (sender.clone(), &listener);
            threads.push(scope.spawn(move || {
                let queue = Queue::new(XNU);
                queue.change(listener, EVFILT_READ, EV_ADD | EV_CLEAR).unwrap();
                sender.send(()).unwrap();
                queue.wait().len()
            }));
        }
        for _ in 0..4 {
            receiver.recv().unwrap();
        }
        let _client = unix_connect(&listener);
        for thread in threads {
            assert_eq!(thread.join().unwrap(), 1, "every queue wakes for each arrival");
        }
    });
}

#[test]
fn many_descriptors_are_all_reported() {
    let queue = Queue::new(XNU);
    let pipes: Vec<_> = (0..150).map(|_| pipe()).collect();
    for (reader, writer) in &pipes {
        queue.change(reader, EVFILT_READ, EV_ADD | EV_CLEAR).unwrap();
        (&*writer).write_all(b"x").unwrap();
    }
    let events = queue.exchange(&[], 1000, NOW).unwrap();
    let expected: Vec<usize> = pipes.iter().map(|(reader, _)| reader.as_raw_fd() as usize).collect();
    assert_eq!(events.iter().map(|event| event.ident).collect::<Vec<_>>(), expected);
}
