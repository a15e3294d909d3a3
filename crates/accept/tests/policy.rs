//! The accept policy on a kernel in memory: case by case, and with anything happening in any order.

mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::RawFd;
use std::time::Duration;

use kqnet_accept::{Engine, Errno, Limits, Stats, Token};
use model::{ConnId, Model, Taker, Waiter};
use proptest::prelude::*;

/// An engine on a model, and what a Janet VM does with it.
struct Vm {
    model: Model,
    engine: Engine<Model, RawFd>,
    taker: Taker,
    tokens: BTreeMap<RawFd, Token>,
}

impl Vm {
    fn new() -> Self {
        let model = Model::default();
        model.0.borrow_mut().free_descriptors = u32::MAX;
        Self { engine: Engine::new(model.clone()), model, taker: Taker::default(), tokens: BTreeMap::new() }
    }

    /// A listener for which somebody waits.
    fn with(fd: RawFd, limits: Limits, waiter: Waiter) -> Self {
        let mut vm = Self::new();
        vm.listen(fd, limits);
        vm.wait(fd, waiter);
        vm
    }

    fn listen(&mut self, fd: RawFd, limits: Limits) {
        self.model.0.borrow_mut().listeners.insert(fd, model::Listener::default());
        let token = self.engine.add(fd, limits, fd);
        self.tokens.insert(fd, token);
    }

    /// What kqnet/accept and kqnet/accept-loop do.
    fn wait(&mut self, fd: RawFd, waiter: Waiter) {
        let Some(&token) = self.tokens.get(&fd) else { return };
        let conn = if waiter == Waiter::Once { self.engine.accept_now(token, &mut self.taker) } else { Ok(None) };
        if let Ok(Some(conn)) = conn {
            self.taker.taken.push((fd, conn));
            return;
        }
        self.taker.waiters.insert(fd, Some(waiter));
        self.engine.start(token).expect("the listener is open");
    }

    fn arrive(&mut self, fd: RawFd, count: usize) -> Vec<ConnId> {
        (0..count).filter_map(|_| self.model.0.borrow_mut().arrive(fd)).collect()
    }

    /// A turn of Janet's loop. Returns true if the queue has woken it.
    fn turn(&mut self) -> bool {
        let woken = self.model.0.borrow_mut().take_edge();
        if woken {
            self.engine.run(&mut self.taker).expect("the queue works");
        }
        woken
    }

    fn turns(&mut self) {
        while self.turn() {}
    }

    fn advance(&mut self, millis: u64) {
        self.model.0.borrow_mut().advance(Duration::from_millis(millis));
    }

    fn close(&mut self, fd: RawFd) -> Vec<ConnId> {
        if let Some(token) = self.tokens.remove(&fd) {
            self.engine.close(token);
            self.engine.forget(token);
        }
        self.taker.waiters.remove(&fd);
        let closed = self.model.0.borrow_mut().listeners.remove(&fd);
        closed.map_or_else(Vec::new, |listener| listener.backlog.into_iter().flatten().collect())
    }

    fn stats(&mut self, fd: RawFd) -> Stats {
        self.engine.stats(self.tokens[&fd]).expect("the listener is known")
    }

    fn taken(&self) -> Vec<ConnId> {
        self.taker.taken.iter().map(|&(_, conn)| conn).collect()
    }
}

#[test]
fn a_burst_is_accepted_in_batches_in_order() {
    let mut vm = Vm::with(3, Limits { batch: 4, ..Limits::default() }, Waiter::Loop);
    let conns = vm.arrive(3, 10);
    assert!(vm.turn());
    assert_eq!(vm.taken(), conns[..4]);
    vm.turns();
    assert_eq!(vm.taken(), conns);
    let stats = vm.stats(3);
    assert_eq!((stats.accepted, stats.batches, stats.largest_batch), (10, 3, 4));
}

#[test]
fn an_empty_queue_wakes_nobody() {
    let mut vm = Vm::with(3, Limits::default(), Waiter::Loop);
    vm.turns();
    assert!(!vm.turn());
    vm.arrive(3, 1);
    assert!(vm.turn());
    assert!(!vm.turn());
}

#[test]
fn one_waiter_gets_one_connection_and_the_rest_stays() {
    let mut vm = Vm::with(3, Limits::default(), Waiter::Once);
    let conns = vm.arrive(3, 3);
    vm.turns();
    assert_eq!(vm.taken(), conns[..1]);
    vm.wait(3, Waiter::Once);
    assert_eq!(vm.taken(), conns[..2]);
}

#[test]
fn an_event_that_nobody_waits_for_is_not_lost_for_the_next_waiter() {
    let mut vm = Vm::with(3, Limits::default(), Waiter::Loop);
    vm.taker.waiters.insert(3, Some(Waiter::Nobody));
    vm.arrive(3, 2);
    vm.turns();
    assert!(vm.taken().is_empty());
    vm.wait(3, Waiter::Loop);
    vm.turns();
    assert_eq!(vm.taken().len(), 2);
}

#[test]
fn interruptions_and_aborted_connections_do_not_end_a_batch() {
    let mut vm = Vm::with(3, Limits::default(), Waiter::Loop);
    let conns = vm.arrive(3, 2);
    for errno in [libc::EINTR, libc::ECONNABORTED, libc::EPROTO] {
        vm.model.0.borrow_mut().fail_next(3, errno);
    }
    assert!(vm.turn());
    assert_eq!(vm.taken(), conns);
    let stats = vm.stats(3);
    assert_eq!(stats.aborted, 1);
    assert_eq!(stats.errors.len(), 3);
}

#[test]
fn errors_count_against_the_batch() {
    let mut vm = Vm::with(3, Limits { batch: 2, ..Limits::default() }, Waiter::Loop);
    vm.arrive(3, 1);
    for _ in 0..5 {
        vm.model.0.borrow_mut().fail_next(3, libc::ECONNABORTED);
    }
    assert!(vm.turn());
    assert_eq!(vm.model.0.borrow().accepts, 2);
    vm.turns();
    assert_eq!(vm.taken().len(), 1);
}

#[test]
fn few_attempts_find_nothing_when_clients_come_one_by_one_or_by_the_dozen() {
    for at_once in [1, 12] {
        let mut vm = Vm::with(3, Limits::default(), Waiter::Loop);
        for _ in 0..160 {
            vm.arrive(3, at_once);
            vm.turns();
        }
        let accepted = vm.stats(3).accepted;
        assert_eq!(accepted, 160 * at_once as u64);
        let vain = vm.model.0.borrow().accepts - accepted;
        assert!(vain <= 20, "{vain} attempts in 160 turns found nothing, with {at_once} clients at a time");
    }
}

#[test]
fn a_burst_after_single_clients_is_soon_accepted_by_whole_batches() {
    let mut vm = Vm::with(3, Limits::default(), Waiter::Loop);
    for _ in 0..160 {
        vm.arrive(3, 1);
        vm.turns();
    }
    let before = vm.stats(3).batches;
    vm.arrive(3, 1000);
    vm.turns();
    let stats = vm.stats(3);
    assert_eq!(stats.accepted, 1160);
    assert_eq!(stats.largest_batch, 64);
    assert!(stats.batches - before < 40, "{} turns", stats.batches - before);
}

#[test]
fn without_descriptors_it_pauses_says_so_once_and_goes_on_by_itself() {
    let mut vm = Vm::with(3, Limits::default(), Waiter::Loop);
    vm.model.0.borrow_mut().free_descriptors = 1;
    let conns = vm.arrive(3, 3);
    vm.turns();
    for _ in 0..20 {
        vm.advance(50);
        vm.turns();
    }
    assert_eq!(vm.taken(), conns[..1]);
    assert_eq!(vm.taker.shortages, [(3, Errno(libc::EMFILE))]);
    // One attempt for each time the timer fired.
    assert!(vm.model.0.borrow().accepts <= 2 + 20);
    vm.model.0.borrow_mut().free_descriptors = 2;
    vm.advance(50);
    vm.turns();
    assert_eq!(vm.taken(), conns);
    assert!(vm.stats(3).paused_error.time >= Duration::from_millis(1000));
}

#[test]
fn a_shortage_of_one_listener_leaves_the_others_alone() {
    let mut vm = Vm::with(3, Limits::default(), Waiter::Loop);
    vm.listen(4, Limits::default());
    vm.wait(4, Waiter::Loop);
    vm.model.0.borrow_mut().fail_next(3, libc::ENOBUFS);
    vm.arrive(4, 2);
    vm.turns();
    assert_eq!(vm.taker.taken.len(), 2);
    assert_eq!(vm.taker.shortages, [(3, Errno(libc::ENOBUFS))]);
}

#[test]
fn at_the_limit_clients_wait_and_a_release_lets_the_next_in() {
    let limits = Limits { max_connections: Some(2), ..Limits::default() };
    let mut vm = Vm::with(3, limits, Waiter::Loop);
    let conns = vm.arrive(3, 5);
    vm.turns();
    assert_eq!(vm.taken(), conns[..2]);
    let token = vm.tokens[&3];
    vm.engine.release(token, &mut vm.taker).expect("the listener is open");
    vm.turns();
    assert_eq!(vm.taken(), conns[..3]);
    let stats = vm.stats(3);
    assert_eq!((stats.active, stats.peak), (2, 2));
}

#[test]
fn the_rate_limit_spreads_connections_evenly() {
    let limits = Limits { max_rate: Some(100.0), ..Limits::default() };
    let mut vm = Vm::with(3, limits, Waiter::Loop);
    vm.arrive(3, 1000);
    vm.turns();
    let mut each_100_millis = Vec::new();
    for _ in 0..10 {
        let before = vm.taken().len();
        for _ in 0..100 {
            vm.advance(1);
            vm.turns();
        }
        each_100_millis.push(vm.taken().len() - before);
    }
    assert!(each_100_millis.iter().all(|count| (9..=11).contains(count)), "{each_100_millis:?}");
}

#[test]
fn a_long_pause_of_one_listener_does_not_delay_a_short_one_of_another() {
    let mut vm = Vm::with(3, Limits { max_rate: Some(0.5), ..Limits::default() }, Waiter::Loop);
    vm.arrive(3, 2);
    vm.turns();
    vm.listen(4, Limits::default());
    vm.wait(4, Waiter::Loop);
    vm.model.0.borrow_mut().fail_next(4, libc::EMFILE);
    vm.arrive(4, 1);
    vm.turns();
    vm.advance(50);
    vm.turns();
    assert_eq!(vm.taker.taken.last().map(|(fd, _)| *fd), Some(4));
}

#[test]
fn a_waiter_ends_when_its_descriptor_is_not_a_listener_any_more() {
    for errno in [libc::EBADF, libc::EINVAL, libc::ENOTSOCK] {
        let mut vm = Vm::with(3, Limits::default(), Waiter::Loop);
        vm.model.0.borrow_mut().fail_next(3, errno);
        vm.turns();
        assert_eq!(vm.taker.failed, [(3, Errno(errno))]);
        assert!(!vm.engine.is_open(vm.tokens[&3]));
    }
}

#[test]
fn nobody_can_wait_for_a_descriptor_that_is_not_a_listener_any_more() {
    // Whether it is an event or the first look that shows this.
    for errno in [libc::EBADF, libc::EINVAL, libc::ENOTSOCK] {
        for first in [Waiter::Loop, Waiter::Once] {
            let mut vm = Vm::new();
            vm.listen(3, Limits::default());
            let token = vm.tokens[&3];
            if first == Waiter::Loop {
                vm.wait(3, first);
                vm.model.0.borrow_mut().fail_next(3, errno);
                vm.turns();
            } else {
                vm.model.0.borrow_mut().fail_next(3, errno);
                assert_eq!(vm.engine.accept_now(token, &mut vm.taker), Err(Errno(errno)));
            }
            let arms = vm.model.0.borrow().arms;
            assert_eq!(vm.engine.error(token), Some(Errno(errno)));
            assert_eq!(vm.engine.start(token), Err(Errno(errno)));
            assert_eq!(vm.engine.accept_now(token, &mut vm.taker), Err(Errno(errno)));
            assert!(!vm.engine.is_open(token));
            assert_eq!(vm.model.0.borrow().arms, arms, "nothing was armed");
            vm.engine.close(token);
            assert_eq!(vm.engine.start(token), Err(Errno(libc::EBADF)));
        }
    }
}

#[test]
fn the_statistics_of_a_closed_listener_stay_until_it_is_forgotten() {
    let mut vm = Vm::with(3, Limits::default(), Waiter::Loop);
    vm.arrive(3, 2);
    vm.turns();
    let token = vm.tokens[&3];
    vm.engine.close(token);
    vm.engine.release(token, &mut vm.taker).expect("nothing to resume");
    let stats = vm.stats(3);
    assert_eq!((stats.accepted, stats.active), (2, 1));
    assert_eq!(vm.engine.start(token), Err(Errno(libc::EBADF)));
    vm.engine.forget(token);
    assert_eq!(vm.engine.stats(token), None);
}

#[test]
fn a_late_event_of_a_closed_listener_finds_nothing() {
    let mut vm = Vm::with(3, Limits::default(), Waiter::Loop);
    let old = vm.tokens[&3];
    vm.arrive(3, 1);
    vm.close(3);
    vm.listen(3, Limits::default());
    vm.wait(3, Waiter::Loop);
    assert!(vm.engine.stats(old).is_none());
    vm.turns();
    assert!(vm.taken().is_empty());
    vm.arrive(3, 1);
    vm.turns();
    assert_eq!(vm.taken().len(), 1);
}

/// Something that happens.
#[derive(Clone, Debug)]
enum Happening {
    Arrive { fd: RawFd, count: usize },
    Reset { fd: RawFd, at: usize, vanish: bool },
    Fail { fd: RawFd, errno: i32 },
    Wait { fd: RawFd, waiter: Waiter },
    Leave { fd: RawFd },
    Close { fd: RawFd },
    Reopen { fd: RawFd },
    Descriptors(u32),
    Release { fd: RawFd },
    Advance(u64),
    Turn,
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    let fd = 3..6i32;
    let errno = prop::sample::select(vec![
        libc::EINTR,
        libc::ECONNABORTED,
        libc::EPROTO,
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOBUFS,
        libc::ENOMEM,
        libc::ENETDOWN,
    ]);
    let waiter = prop::sample::select(vec![Waiter::Once, Waiter::Loop]);
    prop_oneof![
        6 => (fd.clone(), 1..12usize).prop_map(|(fd, count)| Arrive { fd, count }),
        2 => (fd.clone(), any::<usize>(), any::<bool>()).prop_map(|(fd, at, vanish)| Reset { fd, at, vanish }),
        2 => (fd.clone(), errno).prop_map(|(fd, errno)| Fail { fd, errno }),
        3 => (fd.clone(), waiter).prop_map(|(fd, waiter)| Wait { fd, waiter }),
        1 => fd.clone().prop_map(|fd| Leave { fd }),
        1 => fd.clone().prop_map(|fd| Close { fd }),
        1 => fd.clone().prop_map(|fd| Reopen { fd }),
        1 => (0..8u32).prop_map(Descriptors),
        3 => fd.prop_map(|fd| Release { fd }),
        2 => (0..80u64).prop_map(Advance),
        6 => Just(Turn),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    (1..6u32, prop::option::of(1..4u32), prop::option::of(20.0..2000.0))
        .prop_map(|(batch, max_connections, max_rate)| Limits { batch, max_connections, max_rate, counted: true })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    /// Every connection that arrived, and was neither reset nor on a listener that was closed, is accepted exactly
    /// once, whatever else happens; and then nothing is left to do.
    #[test]
    fn no_connection_is_lost_or_taken_twice(
        limits in limits(),
        happenings in prop::collection::vec(happening(), 1..80),
    ) {
        let mut vm = Vm::new();
        for fd in 3..6 {
            vm.listen(fd, limits);
        }
        let mut due = BTreeSet::new();
        for happening in happenings {
            match happening {
                Happening::Arrive { fd, count } => due.extend(vm.arrive(fd, count)),
                Happening::Reset { fd, at, vanish } => {
                    if let Some(gone) = vm.model.0.borrow_mut().reset(fd, at, vanish) {
                        due.remove(&gone);
                    }
                }
                Happening::Fail { fd, errno } => vm.model.0.borrow_mut().fail_next(fd, errno),
                Happening::Wait { fd, waiter } => {
                    if vm.taker.waiter(fd) == Waiter::Nobody {
                        vm.wait(fd, waiter);
                    }
                }
                Happening::Leave { fd } => _ = vm.taker.waiters.insert(fd, Some(Waiter::Nobody)),
                Happening::Close { fd } => {
                    for lost in vm.close(fd) {
                        due.remove(&lost);
                    }
                }
                Happening::Reopen { fd } => {
                    if !vm.tokens.contains_key(&fd) {
                        vm.listen(fd, limits);
                    }
                }
                Happening::Descriptors(count) => vm.model.0.borrow_mut().free_descriptors = count,
                Happening::Release { fd } => release(&mut vm, fd),
                Happening::Advance(millis) => vm.advance(millis),
                Happening::Turn => _ = vm.turn(),
            }
        }
        // From here on there are enough descriptors, and handlers end, so every connection must be accepted.
        vm.model.0.borrow_mut().free_descriptors = u32::MAX;
        for fd in vm.tokens.keys().copied().collect::<Vec<_>>() {
            if vm.taker.waiter(fd) != Waiter::Loop {
                vm.taker.waiters.insert(fd, Some(Waiter::Nobody));
                vm.wait(fd, Waiter::Loop);
            }
        }
        for _ in 0..2000 {
            vm.turns();
            for fd in 3..6 {
                release(&mut vm, fd);
            }
            if vm.model.0.borrow().listeners.values().all(|listener| listener.backlog.is_empty()) {
                break;
            }
            vm.advance(60);
        }
        vm.advance(60);
        vm.turns();
        prop_assert!(vm.taker.failed.is_empty());
        let taken = vm.taken();
        let once: BTreeSet<_> = taken.iter().copied().collect();
        prop_assert_eq!(once.len(), taken.len(), "a connection was taken twice");
        let lost: Vec<_> = due.difference(&once).collect();
        prop_assert!(lost.is_empty(), "lost: {:?}", lost);
        for fd in vm.tokens.keys().copied().collect::<Vec<_>>() {
            let stats = vm.stats(fd);
            let counted = vm.taker.taken.iter().filter(|(of, _)| *of == fd).count() as u64;
            prop_assert!(stats.accepted <= counted);
            prop_assert!(stats.peak <= limits.max_connections.unwrap_or(u32::MAX));
        }
        // A quiet system makes no calls.
        let before = vm.model.0.borrow().accepts;
        vm.advance(1000);
        vm.turns();
        prop_assert_eq!(vm.model.0.borrow().accepts, before);
    }
}

fn release(vm: &mut Vm, fd: RawFd) {
    let Some(&token) = vm.tokens.get(&fd) else { return };
    if vm.stats(fd).active > 0 {
        vm.engine.release(token, &mut vm.taker).expect("the listener is open");
        let mut world = vm.model.0.borrow_mut();
        world.free_descriptors = world.free_descriptors.saturating_add(1);
    }
}

/// How many cases to try: CASES, or a number that takes some seconds.
fn cases() -> u32 {
    std::env::var("CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(20_000)
}
