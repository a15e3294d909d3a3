//! Near the limit of descriptors on XNU, which closes a connection if there is no descriptor for it: none is lost.
//!
//! The tests lower the limit of their process, so they run one at a time.
#![cfg(feature = "emulated-kqueue")]

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use kqnet_accept::socket::{Address, Kind, Options, listen, local_name};
use kqnet_accept::{Engine, Errno, Limits, Next, Sink, Stats, System, Token};
use kqueue_emu::{Kernel, set_kernel};

const PATIENCE: Duration = Duration::from_secs(60);

/// Above every limit that is set here, so that clients take no descriptors from the servers.
const CLIENTS_FROM: RawFd = 1100;

/// Greets each client and keeps its connection.
#[derive(Default)]
struct Greeter {
    held: Vec<TcpStream>,
}

impl Sink<OwnedFd, ()> for Greeter {
    fn wants(&mut self, (): &()) -> bool {
        true
    }

    fn accepted(&mut self, (): &(), conn: OwnedFd) -> Next {
        let mut conn = TcpStream::from(conn);
        conn.write_all(b"x").expect("a connection");
        self.held.push(conn);
        Next::More
    }

    fn failed(&mut self, (): &(), errno: Errno) {
        panic!("the listener failed: {errno}");
    }

    fn shortage(&mut self, (): &(), _errno: Errno) {}
}

struct Server {
    engine: Engine<System, ()>,
    queue: OwnedFd,
    listener: OwnedFd,
    token: Token,
    greeter: Greeter,
}

impl Server {
    fn new() -> Self {
        set_kernel(Some(Kernel::Xnu));
        let (system, queue) = System::new().expect("a queue");
        let mut engine = Engine::new(system);
        let address = Address::Inet { host: c"127.0.0.1".into(), port: c"0".into() };
        let options = Options {
            kind: Kind::Stream,
            reuse_address: true,
            reuse_port: false,
            backlog: None,
            nodelay: false,
            mode: None,
        };
        let listener = listen(&address, &options).expect("a listener").socket;
        let token = engine.add(listener.as_raw_fd(), Limits::default(), ());
        engine.start(token).expect("the queue takes it");
        Self { engine, queue, listener, token, greeter: Greeter::default() }
    }

    /// Waits a little for something to do, and then does it.
    fn turn(&mut self) {
        let mut poll = libc::pollfd { fd: self.queue.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd, which outlives the call.
        if unsafe { libc::poll(&mut poll, 1, 10) } == 1 {
            self.engine.run(&mut self.greeter).expect("the queue works");
        }
    }

    fn stats(&mut self) -> Stats {
        self.engine.stats(self.token).expect("known")
    }

    /// Clients that wait to be greeted.
    fn clients(&self, count: usize) -> Vec<TcpStream> {
        let name = local_name(self.listener.as_raw_fd());
        let connect = || {
            let client = TcpStream::connect(&name).expect("the backlog has room");
            // SAFETY: no pointer; the descriptor is new and nobody else's.
            let high = unsafe {
                let fd = libc::fcntl(client.as_raw_fd(), libc::F_DUPFD_CLOEXEC, CLIENTS_FROM);
                assert!(fd >= CLIENTS_FROM, "room for clients");
                TcpStream::from_raw_fd(fd)
            };
            high.set_nonblocking(true).expect("an option");
            high
        };
        (0..count).map(|_| connect()).collect()
    }

    /// Serves until every client was greeted or closed. Greeted clients leave. Returns how many were closed.
    fn lost(&mut self, mut clients: Vec<TcpStream>) -> usize {
        let deadline = Instant::now() + PATIENCE;
        let mut lost = 0;
        while !clients.is_empty() {
            assert!(Instant::now() < deadline, "{} clients still wait; {:?}", clients.len(), self.stats());
            self.turn();
            clients.retain_mut(|client| match client.read(&mut [0]) {
                Ok(1) => false,
                Err(error) if error.kind() == ErrorKind::WouldBlock => true,
                Ok(_) | Err(_) => {
                    lost += 1;
                    false
                }
            });
            self.greeter.held.retain(|conn| !matches!(conn.peek(&mut [0]), Ok(0)));
        }
        lost
    }
}

/// Changes the soft limit of descriptors, and restores it when dropped. Holds off the other tests meanwhile.
struct Limit {
    old: libc::rlimit,
    _alone: MutexGuard<'static, ()>,
}

impl Limit {
    fn alone() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: an rlimit to write to.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut old) };
        Self { old, _alone }
    }

    fn set(&self, soft: libc::rlim_t) {
        let limit = libc::rlimit { rlim_cur: soft, ..self.old };
        // SAFETY: an rlimit that outlives the call.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        self.set(self.old.rlim_cur);
    }
}

/// Runs `action` while another thread opens up to `most` files and closes them, again and again.
fn while_files_come_and_go<T>(most: usize, action: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                count = (count + 7) % (most + 1);
                let files: Vec<_> = (0..count).filter_map(|_| File::open("/dev/null").ok()).collect();
                drop(files);
                thread::yield_now();
            }
        });
        let value = action();
        over.store(true, Ordering::Relaxed);
        value
    })
}

#[test]
fn more_clients_than_descriptors_are_all_accepted() {
    let limit = Limit::alone();
    let mut server = Server::new();
    for soft in [40, 64, 200] {
        let clients = server.clients(300);
        limit.set(soft);
        assert_eq!(server.lost(clients), 0, "limit {soft}");
        limit.set(limit.old.rlim_cur);
        assert!(server.stats().errors.iter().all(|(errno, _)| errno.0 == libc::EMFILE), "{:?}", server.stats());
    }
}

#[test]
fn nobody_is_lost_while_another_thread_opens_and_closes_files() {
    let limit = Limit::alone();
    let mut server = Server::new();
    for soft in [40, 64, 200] {
        for most in [1, 10] {
            let clients = server.clients(300);
            limit.set(soft);
            let lost = while_files_come_and_go(most, || server.lost(clients));
            limit.set(limit.old.rlim_cur);
            assert_eq!(lost, 0, "limit {soft}, up to {most} files");
        }
    }
}

#[test]
fn servers_on_several_threads_do_not_take_each_others_room() {
    let limit = Limit::alone();
    let mut servers: Vec<_> = (0..4).map(|_| Server::new()).collect();
    let clients: Vec<_> = servers.iter().map(|server| server.clients(150)).collect();
    limit.set(100);
    let lost: usize = thread::scope(|scope| {
        let runs: Vec<_> = servers
            .iter_mut()
            .zip(clients)
            .map(|(server, clients)| {
                scope.spawn(|| {
                    set_kernel(Some(Kernel::Xnu));
                    server.lost(clients)
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().expect("a server")).sum()
    });
    assert_eq!(lost, 0);
}

#[test]
fn few_free_numbers_below_many_that_are_taken_are_no_room() {
    let limit = Limit::alone();
    let mut server = Server::new();
    let clients = server.clients(60);
    limit.set(200);
    let mut files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    // One number near the top of the table becomes free, and one near its bottom.
    for index in [files.len() - 64, 3] {
        files.swap_remove(index);
    }
    let deadline = Instant::now() + PATIENCE;
    while server.stats().paused_error.count < 3 {
        assert!(Instant::now() < deadline, "it goes on as if there were room: {:?}", server.stats());
        server.turn();
    }
    drop(files);
    assert_eq!(server.lost(clients), 0);
}
