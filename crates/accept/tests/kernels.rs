//! The accept policy and the kqueue code on simulated kernels: no connection is lost and no wake-up is missed on any of
//! them, whatever happens in whatever order. A naive policy shows that the tests can fail.
#![cfg(feature = "emulated-kqueue")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

use kqnet_accept::Arm;
use kqnet_accept::queue::kqueue::{Event, Kevent as Call, Queue};
use kqnet_accept::{Engine, Errno, Kernel, Limits, Next, Sink, Token};
use kqueue_emu::kevent::{EV_ADD, EV_CLEAR, EVFILT_READ, Kevent};
use kqueue_emu::sim::{Conn, Fd, Sim, State};
use kqueue_emu::{Kernel as System, Profile};
use proptest::prelude::*;

type Shared = Rc<RefCell<Sim>>;

/// kevent(2) of the simulated kernel.
struct SimCall {
    sim: Shared,
    queue: Fd,
}

impl Call for SimCall {
    fn kevent(&mut self, changes: &[Event], events: &mut [MaybeUninit<Event>]) -> Result<usize, Errno> {
        let changes: Vec<Kevent> = changes
            .iter()
            .map(|change| Kevent {
                ident: change.ident,
                filter: change.filter,
                flags: change.flags,
                fflags: change.fflags,
                data: change.data,
                udata: change.udata,
            })
            .collect();
        let mut found = vec![Kevent::default(); events.len()];
        let count = self.sim.borrow_mut().kevent(self.queue, &changes, &mut found).map_err(|errno| Errno(errno.0))?;
        for (to, from) in events.iter_mut().zip(&found[..count]) {
            to.write(Event {
                ident: from.ident,
                filter: from.filter,
                flags: from.flags,
                fflags: from.fflags,
                data: from.data,
                udata: from.udata,
            });
        }
        Ok(count)
    }
}

/// The module's kqueue code on a simulated kernel.
struct SimKernel {
    sim: Shared,
    queue: Queue<SimCall>,
}

impl Kernel for SimKernel {
    type Conn = (Fd, Conn);

    fn poll(&mut self, ready: &mut Vec<Token>) -> Result<bool, Errno> {
        self.queue.poll(ready)
    }

    fn arm(&mut self, arms: &mut [Arm]) {
        self.queue.arm(arms);
    }

    fn disarm(&mut self, fd: RawFd) {
        self.queue.disarm(fd);
    }

    fn timer(&mut self, delay: Duration) {
        self.queue.timer(delay);
    }

    fn accept(&mut self, listener: RawFd) -> Result<(Fd, Conn), Errno> {
        let mut sim = self.sim.borrow_mut();
        // `System` finds this out before it accepts.
        if sim.headroom() == 0 {
            return Err(Errno(libc::EMFILE));
        }
        sim.accept(listener).map(|accepted| (accepted.fd, accepted.conn)).map_err(|errno| Errno(errno.0))
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.sim.borrow().now())
    }
}

/// What somebody waits for: one connection of a listener, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiter {
    Once,
    Loop,
}

/// A listening stream. It is not equal to an older one whose descriptor had the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stream(u32);

#[derive(Default)]
struct Taker {
    waiters: BTreeMap<Stream, Waiter>,
    taken: Vec<(Fd, Conn)>,
    failed: Vec<Errno>,
}

impl Sink<(Fd, Conn), Stream> for Taker {
    fn wants(&mut self, listener: &Stream) -> bool {
        self.waiters.contains_key(listener)
    }

    fn accepted(&mut self, listener: &Stream, conn: (Fd, Conn)) -> Next {
        self.taken.push(conn);
        match self.waiters.get(listener) {
            Some(Waiter::Loop) => Next::More,
            Some(Waiter::Once) => {
                self.waiters.remove(listener);
                Next::Enough
            }
            None => panic!("a connection for nobody"),
        }
    }

    fn failed(&mut self, _listener: &Stream, errno: Errno) {
        self.failed.push(errno);
    }

    fn shortage(&mut self, _listener: &Stream, _errno: Errno) {}
}

/// A small Janet VM: an outer queue that watches the inner one edge-triggered, and the engine.
struct Vm {
    sim: Shared,
    outer: Fd,
    engine: Engine<SimKernel, Stream>,
    taker: Taker,
    listeners: BTreeMap<Fd, (Token, Stream)>,
    /// The listeners that core has closed without telling the engine.
    left: Vec<Token>,
    streams: u32,
}

impl Vm {
    fn new(profile: Profile) -> Self {
        let sim = Rc::new(RefCell::new(Sim::new(profile)));
        let (outer, inner) = {
            let mut sim = sim.borrow_mut();
            let outer = sim.kqueue().expect("a queue");
            let inner = sim.kqueue().expect("a queue");
            let watch = Kevent::new(inner as usize, EVFILT_READ, EV_ADD | EV_CLEAR);
            sim.kevent(outer, &[watch], &mut []).expect("queues can be nested");
            (outer, inner)
        };
        let queue = Queue::with(SimCall { sim: sim.clone(), queue: inner });
        let engine = Engine::new(SimKernel { sim: sim.clone(), queue });
        Self { sim, outer, engine, taker: Taker::default(), listeners: BTreeMap::new(), left: Vec::new(), streams: 0 }
    }

    fn listen(&mut self, limits: Limits) {
        if let Ok(fd) = self.sim.borrow_mut().listen(64) {
            let stream = Stream(self.streams);
            self.streams += 1;
            let token = self.engine.add(fd, limits, stream);
            self.listeners.insert(fd, (token, stream));
        }
    }

    fn nth(&self, index: usize) -> Option<(Fd, Token, Stream)> {
        let index = index.checked_rem(self.listeners.len())?;
        self.listeners.iter().nth(index).map(|(&fd, &(token, stream))| (fd, token, stream))
    }

    fn wait(&mut self, token: Token, stream: Stream, waiter: Waiter) {
        if self.taker.waiters.contains_key(&stream) {
            return;
        }
        if waiter == Waiter::Once {
            let conn = self.engine.accept_now(token, &mut self.taker).expect("the listener is open");
            if let Some(conn) = conn {
                self.taker.taken.push(conn);
                return;
            }
        }
        self.engine.start(token).expect("the listener is open");
        self.taker.waiters.insert(stream, waiter);
    }

    /// Runs a turn if the outer queue has an event. Returns whether it has.
    fn turn(&mut self) -> bool {
        let mut event = [Kevent::default()];
        let woken = self.sim.borrow_mut().kevent(self.outer, &[], &mut event).expect("the outer queue works") > 0;
        if woken {
            self.engine.run(&mut self.taker).expect("the inner queue works");
        }
        woken
    }

    fn turns(&mut self) {
        while self.turn() {}
    }

    fn advance(&mut self, millis: u64) {
        self.sim.borrow_mut().advance(millis * 1_000_000);
    }

    fn close(&mut self, fd: Fd) {
        if let Some((token, stream)) = self.listeners.remove(&fd) {
            self.engine.close(token);
            self.engine.forget(token);
            self.taker.waiters.remove(&stream);
            self.sim.borrow_mut().close(fd).expect("it was open");
        }
    }

    /// Closes a listener without telling the engine. Its number may soon belong to another.
    fn close_by_core(&mut self, fd: Fd) {
        if let Some((token, stream)) = self.listeners.remove(&fd) {
            self.left.push(token);
            self.taker.waiters.remove(&stream);
            self.sim.borrow_mut().close(fd).expect("it was open");
        }
    }

    /// The collector finds what core has closed.
    fn collect(&mut self) {
        for token in self.left.drain(..) {
            self.engine.forget(token);
        }
    }

    /// A handler ends.
    fn end_one(&mut self) {
        let open = self.taker.taken.iter().position(|&(fd, conn)| self.sim.borrow().conn(fd) == Some(conn));
        if let Some(index) = open {
            let (fd, _) = self.taker.taken[index];
            self.sim.borrow_mut().close(fd).expect("it was open");
        }
        let open = self.listeners.values().map(|&(token, _)| token);
        for token in open.chain(self.left.iter().copied()).collect::<Vec<_>>() {
            if self.engine.stats(token).is_some_and(|stats| stats.active > 0) {
                self.engine.release(token, &mut self.taker).expect("the listener is open");
                break;
            }
        }
    }
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Happening {
    Arrive { listener: usize, count: usize },
    HalfOpen { listener: usize },
    Complete { conn: usize },
    Reset { conn: usize },
    Fail { listener: usize, errno: i32 },
    Wait { listener: usize, waiter: Waiter },
    Leave { listener: usize },
    Close { listener: usize },
    CloseByCore { listener: usize },
    Collect,
    Shutdown { listener: usize },
    Listen,
    Room(usize),
    End,
    Advance(u64),
    Turn,
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    let index = 0..4usize;
    let errno = prop::sample::select(vec![libc::EINTR, libc::EPROTO, libc::ENOBUFS, libc::ENOMEM]);
    let waiter = prop::sample::select(vec![Waiter::Once, Waiter::Loop]);
    prop_oneof![
        6 => (index.clone(), 1..8usize).prop_map(|(listener, count)| Arrive { listener, count }),
        1 => index.clone().prop_map(|listener| HalfOpen { listener }),
        1 => any::<usize>().prop_map(|conn| Complete { conn }),
        2 => any::<usize>().prop_map(|conn| Reset { conn }),
        1 => (index.clone(), errno).prop_map(|(listener, errno)| Fail { listener, errno }),
        3 => (index.clone(), waiter).prop_map(|(listener, waiter)| Wait { listener, waiter }),
        1 => index.clone().prop_map(|listener| Leave { listener }),
        1 => index.clone().prop_map(|listener| Close { listener }),
        1 => index.clone().prop_map(|listener| CloseByCore { listener }),
        1 => Just(Collect),
        1 => index.prop_map(|listener| Shutdown { listener }),
        1 => Just(Listen),
        1 => (0..12usize).prop_map(Room),
        3 => Just(End),
        1 => (0..80u64).prop_map(Advance),
        6 => Just(Turn),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    (1..5u32, prop::option::of(1..4u32), prop::option::of(50.0..2000.0))
        .prop_map(|(batch, max_connections, max_rate)| Limits { batch, max_connections, max_rate, counted: true })
}

fn happen(vm: &mut Vm, limits: Limits, happening: &Happening) {
    match *happening {
        Happening::Arrive { listener, count } => {
            if let Some((fd, ..)) = vm.nth(listener) {
                for _ in 0..count {
                    vm.sim.borrow_mut().connect(fd);
                }
            }
        }
        Happening::HalfOpen { listener } => {
            if let Some((fd, ..)) = vm.nth(listener) {
                vm.sim.borrow_mut().connect_half(fd);
            }
        }
        Happening::Complete { conn } | Happening::Reset { conn } => {
            let mut sim = vm.sim.borrow_mut();
            let count = sim.conns().count();
            if let Some(index) = conn.checked_rem(count) {
                let conn = Conn(index as u32);
                if matches!(happening, Happening::Complete { .. }) { sim.complete(conn) } else { sim.reset(conn) }
            }
        }
        Happening::Fail { listener, errno } => {
            if let Some((fd, ..)) = vm.nth(listener) {
                vm.sim.borrow_mut().fail_accept(fd, kqueue_emu::kevent::Errno(errno));
            }
        }
        Happening::Wait { listener, waiter } => {
            if let Some((_, token, stream)) = vm.nth(listener) {
                vm.wait(token, stream, waiter);
            }
        }
        Happening::Leave { listener } => {
            if let Some((_, _, stream)) = vm.nth(listener) {
                vm.taker.waiters.remove(&stream);
            }
        }
        Happening::Close { listener } => {
            if let Some((fd, ..)) = vm.nth(listener) {
                vm.close(fd);
            }
        }
        Happening::CloseByCore { listener } => {
            if let Some((fd, ..)) = vm.nth(listener) {
                vm.close_by_core(fd);
            }
        }
        Happening::Collect => vm.collect(),
        Happening::Shutdown { listener } => {
            if let Some((fd, ..)) = vm.nth(listener) {
                // XNU refuses this.
                let _ = vm.sim.borrow_mut().shutdown_read(fd);
            }
        }
        Happening::Listen => vm.listen(limits),
        Happening::Room(room) => {
            let mut sim = vm.sim.borrow_mut();
            let open = 1024 - sim.headroom().min(1024);
            sim.set_limit(open + room);
        }
        Happening::End => vm.end_one(),
        Happening::Advance(millis) => vm.advance(millis),
        Happening::Turn => _ = vm.turn(),
    }
}

/// Runs one case, lets the system settle, and checks that every connection was accepted once.
fn check(profile: Profile, limits: Limits, happenings: &[Happening]) -> Result<(), TestCaseError> {
    let mut vm = Vm::new(profile);
    vm.listen(limits);
    vm.listen(limits);
    for one in happenings {
        happen(&mut vm, limits, one);
    }
    // From here on there are enough descriptors, somebody waits for every listener, and handlers end.
    vm.sim.borrow_mut().set_limit(100_000);
    for (token, stream) in vm.listeners.values().copied().collect::<Vec<_>>() {
        if vm.taker.waiters.get(&stream) == Some(&Waiter::Once) {
            vm.taker.waiters.remove(&stream);
        }
        vm.wait(token, stream, Waiter::Loop);
    }
    for _ in 0..2000 {
        vm.turns();
        for _ in 0..8 {
            vm.end_one();
        }
        let sim = vm.sim.borrow();
        let waiting = vm.listeners.keys().map(|&fd| sim.backlog(fd)).sum::<usize>();
        drop(sim);
        if waiting == 0 {
            break;
        }
        vm.advance(60);
    }
    prop_assert!(vm.taker.failed.is_empty(), "a listener failed: {:?}", vm.taker.failed);
    let sim = vm.sim.borrow();
    for (conn, state) in sim.conns() {
        prop_assert_ne!(state, State::Waiting, "{:?} waits for ever", conn);
        prop_assert_ne!(state, State::Killed, "{:?} was closed because there was no descriptor", conn);
    }
    let mut taken: Vec<u32> = vm.taker.taken.iter().map(|&(_, conn)| conn.0).collect();
    let all = taken.len();
    taken.sort_unstable();
    taken.dedup();
    prop_assert_eq!(taken.len(), all, "a connection was taken twice");
    Ok(())
}

macro_rules! on_every_kernel {
    ($($name:ident => $kernel:expr),* $(,)?) => {
        proptest! {
            #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 20_000, ..ProptestConfig::default() })]
            $(
                #[test]
                fn $name(limits in limits(), happenings in prop::collection::vec(happening(), 1..60)) {
                    check($kernel.profile(), limits, &happenings)?;
                }
            )*
        }
    };
}

on_every_kernel! {
    no_connection_is_lost_on_xnu => System::Xnu,
    no_connection_is_lost_on_freebsd => System::FreeBsd,
    no_connection_is_lost_on_netbsd => System::NetBsd,
    no_connection_is_lost_on_netbsd_7 => System::NetBsd7,
    no_connection_is_lost_on_openbsd => System::OpenBsd,
}

/// How many cases to try on each kernel: CASES, or 20,000, which makes 100,000 in all.
fn cases() -> u32 {
    std::env::var("CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(20_000)
}

/// EV_CLEAR, and one accept for each event, as Janet 1.36 and 1.37 do. Returns how many connections of two bursts of 20 are left.
fn naive(kernel: System) -> usize {
    let mut sim = Sim::new(kernel.profile());
    let listener = sim.listen(128).expect("a listener");
    let queue = sim.kqueue().expect("a queue");
    let add = Kevent::new(listener as usize, EVFILT_READ, EV_ADD | EV_CLEAR);
    sim.kevent(queue, &[add], &mut []).expect("an event can be added");
    for _ in 0..2 {
        for _ in 0..20 {
            sim.connect(listener).expect("the backlog has room");
        }
        let mut event = [Kevent::default()];
        while sim.kevent(queue, &[], &mut event).expect("the queue works") > 0 {
            let _ = sim.accept(listener);
        }
    }
    sim.backlog(listener)
}

#[test]
fn a_naive_policy_stalls_on_xnu_and_nowhere_else() {
    for kernel in System::ALL {
        let expected = if kernel == System::Xnu { 38 } else { 0 };
        assert_eq!(naive(kernel), expected, "{}", kernel.name());
    }
}

#[test]
fn a_shortage_of_files_in_the_system_is_counted_and_costs_a_connection_on_xnu_only() {
    for kernel in System::ALL {
        let mut vm = Vm::new(kernel.profile());
        vm.listen(Limits::default());
        let (fd, token, stream) = vm.nth(0).expect("a listener");
        vm.wait(token, stream, Waiter::Loop);
        for _ in 0..3 {
            vm.sim.borrow_mut().connect(fd).expect("the backlog has room");
        }
        vm.sim.borrow_mut().fail_accept(fd, kqueue_emu::kevent::Errno(libc::ENFILE));
        vm.turns();
        let stats = vm.engine.stats(token).expect("known");
        assert_eq!(stats.errors, [(Errno(libc::ENFILE), 1)], "{kernel:?}");
        assert_eq!(stats.paused_error.count, 1, "{kernel:?}");
        vm.advance(60);
        vm.turns();
        let sim = vm.sim.borrow();
        let killed = sim.conns().filter(|(_, state)| *state == State::Killed).count();
        assert_eq!(killed, usize::from(kernel == System::Xnu), "{kernel:?}");
        assert_eq!(vm.taker.taken.len(), 3 - killed, "{kernel:?}");
    }
}
