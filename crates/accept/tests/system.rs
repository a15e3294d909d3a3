//! The real queue and sockets of the system that this runs on, without Janet.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use kqnet_accept::socket::{
    Address, Kind, ListenError, NotListener, Options, check_listener, listen, local_name, nodelay,
};
use kqnet_accept::{Engine, Errno, Limits, Next, Sink, System, Token};

#[cfg(feature = "emulated-kqueue")]
use kqueue_emu as _;

const OPTIONS: Options =
    Options { kind: Kind::Stream, reuse_address: true, reuse_port: false, backlog: None, nodelay: true, mode: None };

#[derive(Default)]
struct Taker(Vec<OwnedFd>);

impl Sink<OwnedFd, ()> for Taker {
    fn wants(&mut self, (): &()) -> bool {
        true
    }

    fn accepted(&mut self, (): &(), conn: OwnedFd) -> Next {
        self.0.push(conn);
        Next::More
    }

    fn failed(&mut self, (): &(), errno: Errno) {
        panic!("the listener failed: {errno}");
    }

    fn shortage(&mut self, (): &(), errno: Errno) {
        panic!("accepting pauses: {errno}");
    }
}

struct Vm {
    engine: Engine<System, ()>,
    queue: OwnedFd,
    taker: Taker,
}

impl Vm {
    fn new() -> Self {
        let (system, queue) = System::new().expect("a queue");
        Self { engine: Engine::new(system), queue, taker: Taker::default() }
    }

    fn listen(&mut self, limits: Limits) -> (OwnedFd, Token, String) {
        let fd = listen(&inet("127.0.0.1", "0"), &OPTIONS).expect("a listener").socket;
        let name = local_name(fd.as_raw_fd());
        let token = self.engine.add(fd.as_raw_fd(), limits, ());
        self.engine.start(token).expect("the queue takes it");
        (fd, token, name)
    }

    fn run(&mut self) {
        self.engine.run(&mut self.taker).expect("the queue works");
    }

    fn is_readable(&self) -> bool {
        readable(self.queue.as_raw_fd(), 0)
    }

    /// Runs turns until there are `count` connections in all.
    fn run_until(&mut self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.taker.0.len() < count {
            assert!(Instant::now() < deadline, "{} of {count} connections", self.taker.0.len());
            if readable(self.queue.as_raw_fd(), 100) {
                self.run();
            }
        }
    }
}

fn inet(host: &str, port: &str) -> Address {
    Address::Inet {
        host: std::ffi::CString::new(host).expect("no NUL"),
        port: std::ffi::CString::new(port).expect("no NUL"),
    }
}

fn readable(fd: RawFd, millis: i32) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd, which outlives the call.
    unsafe { libc::poll(&mut poll, 1, millis) == 1 }
}

fn connect(name: &str, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| TcpStream::connect(name).expect("the backlog has room")).collect()
}

fn flags(fd: RawFd, command: i32) -> i32 {
    // SAFETY: these commands take no argument.
    unsafe { libc::fcntl(fd, command) }
}

#[test]
fn a_burst_is_accepted_and_served() {
    let mut vm = Vm::new();
    let (_listener, _, name) = vm.listen(Limits { batch: 3, ..Limits::default() });
    let mut clients = connect(&name, 20);
    vm.run_until(20);
    for conn in vm.taker.0.drain(..) {
        TcpStream::from(conn).write_all(b"x").expect("a connection");
    }
    for client in &mut clients {
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("an option");
        client.read_exact(&mut [0]).expect("an answer");
    }
}

#[test]
fn accepted_descriptors_neither_block_nor_reach_children() {
    let mut vm = Vm::new();
    let (listener, _, name) = vm.listen(Limits::default());
    let _client = connect(&name, 1);
    vm.run_until(1);
    for fd in [listener.as_raw_fd(), vm.taker.0[0].as_raw_fd(), vm.queue.as_raw_fd()] {
        assert_ne!(flags(fd, libc::F_GETFD) & libc::FD_CLOEXEC, 0, "FD_CLOEXEC");
    }
    assert_ne!(flags(vm.taker.0[0].as_raw_fd(), libc::F_GETFL) & libc::O_NONBLOCK, 0, "O_NONBLOCK");
}

#[test]
fn a_quiet_queue_is_not_readable_and_an_arrival_makes_it_so() {
    let mut vm = Vm::new();
    let (_listener, _, name) = vm.listen(Limits::default());
    assert!(!vm.is_readable());
    let _first = connect(&name, 1);
    assert!(readable(vm.queue.as_raw_fd(), 20_000));
    vm.run();
    // NetBSD wakes once more, for the connection that was taken.
    vm.run();
    assert!(!vm.is_readable());
    let _second = connect(&name, 1);
    vm.run_until(2);
}

#[test]
fn what_a_batch_leaves_makes_the_queue_readable_again() {
    let mut vm = Vm::new();
    let (_listener, _, name) = vm.listen(Limits { batch: 1, ..Limits::default() });
    let _clients = connect(&name, 3);
    for taken in 1..=3 {
        assert!(readable(vm.queue.as_raw_fd(), 20_000));
        vm.run();
        assert_eq!(vm.taker.0.len(), taken);
    }
    vm.run();
    assert!(!vm.is_readable());
}

/// Janet's own queue watches ours edge-triggered.
#[cfg(not(feature = "emulated-kqueue"))]
#[cfg(target_os = "linux")]
#[test]
fn an_edge_triggered_outer_queue_misses_no_wake_up() {
    let mut vm = Vm::new();
    let (_listener, _, name) = vm.listen(Limits { batch: 2, ..Limits::default() });
    // SAFETY: system calls on descriptors and an event that outlive the calls.
    let outer = unsafe {
        use std::os::fd::FromRawFd;
        let outer = OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC));
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 0 };
        assert_eq!(libc::epoll_ctl(outer.as_raw_fd(), libc::EPOLL_CTL_ADD, vm.queue.as_raw_fd(), &mut event), 0);
        outer
    };
    let mut clients = Vec::new();
    for round in 1..=200 {
        clients.extend(connect(&name, round % 5));
        let expected = clients.len();
        while vm.taker.0.len() < expected {
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            // SAFETY: there is space for one event.
            let count = unsafe { libc::epoll_wait(outer.as_raw_fd(), &mut event, 1, 20_000) };
            assert_eq!(count, 1, "a wake-up is missing at {} of {expected}", vm.taker.0.len());
            vm.run();
        }
        if clients.len() > 200 {
            clients.clear();
            vm.taker.0.clear();
        }
    }
}

#[test]
fn a_removed_listener_gives_no_event_and_its_number_can_be_used_again() {
    let mut vm = Vm::new();
    let (listener, token, name) = vm.listen(Limits::default());
    vm.engine.close(token);
    let _client = connect(&name, 1);
    assert!(!vm.is_readable());
    drop(listener);
    // This mostly has the same number, since the lowest free one is handed out.
    let (_listener, _, name) = vm.listen(Limits::default());
    let _client = connect(&name, 1);
    vm.run_until(1);
}

#[test]
fn a_duplicate_keeps_no_stale_listener_alive() {
    let mut vm = Vm::new();
    let (listener, token, name) = vm.listen(Limits::default());
    let duplicate = listener.try_clone().expect("a duplicate");
    vm.engine.forget(token);
    drop(listener);
    let _client = connect(&name, 1);
    // On epoll the registration lives on with the duplicate, and may give one event, which is for no listener.
    vm.run();
    vm.run();
    assert!(vm.taker.0.is_empty());
    assert!(!vm.is_readable());
    drop(duplicate);
}

#[test]
fn the_timer_ends_a_pause_for_the_rate_limit() {
    let mut vm = Vm::new();
    let (_listener, token, name) = vm.listen(Limits { max_rate: Some(50.0), ..Limits::default() });
    let _clients = connect(&name, 5);
    vm.run_until(5);
    assert!(vm.engine.stats(token).expect("known").paused_rate.count > 0);
}

#[test]
fn a_taken_port_is_an_error_unless_sharing_is_asked_for() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let error = listen(&inet("127.0.0.1", &port), &OPTIONS).expect_err("taken");
    assert_eq!(error.to_string(), "address already in use");
    let shared = Options { reuse_port: true, ..OPTIONS };
    let first = listen(&inet("127.0.0.1", "0"), &shared).expect("a port");
    let port = local_name(first.socket.as_raw_fd()).rsplit_once(':').expect("a port").1.to_owned();
    listen(&inet("127.0.0.1", &port), &shared).expect("a shared port");
}

#[test]
fn a_listener_can_get_nodelay_later_for_the_connections_that_follow() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let accepted = || {
        let _client = TcpStream::connect(listener.local_addr().expect("an address")).expect("a client");
        listener.accept().expect("a connection").0.nodelay().expect("an option")
    };
    assert!(!accepted());
    nodelay(listener.as_raw_fd()).expect("a TCP socket");
    assert!(accepted());
}

#[test]
fn errors_say_what_is_wrong_with_the_address() {
    let long = Address::Unix(std::ffi::CString::new("x".repeat(200)).expect("no NUL"));
    let unix = Options { nodelay: false, ..OPTIONS };
    assert!(matches!(listen(&long, &unix), Err(ListenError::PathTooLong { length: 200, .. })));
    let missing = Address::Unix(c"no/such/folder/socket".into());
    assert_eq!(listen(&missing, &unix).expect_err("missing").to_string(), "no such file or directory");
    assert!(matches!(listen(&inet("no such host", "1"), &OPTIONS), Err(ListenError::Lookup(_))));
    assert_eq!(inet("::1", "80").to_string(), "[::1]:80");
    assert_eq!(missing.to_string(), "unix:no/such/folder/socket");
}

#[test]
fn what_cannot_be_accepted_from_is_told_apart() {
    let stream = listen(&inet("127.0.0.1", "0"), &OPTIONS).expect("a listener").socket;
    assert_eq!(check_listener(stream.as_raw_fd()), Ok(()));
    let datagram = Options { kind: Kind::Datagram, nodelay: false, ..OPTIONS };
    let datagram = listen(&inet("127.0.0.1", "0"), &datagram).expect("a socket");
    assert_eq!(check_listener(datagram.socket.as_raw_fd()), Err(NotListener::NotStream));
    let (end, _other) = UnixStream::pair().expect("a pair");
    assert_eq!(check_listener(end.as_raw_fd()), Err(NotListener::NotListening));
    assert_eq!(check_listener(-1), Err(NotListener::NotSocket));
}
