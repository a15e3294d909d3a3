//! How workers that accept from one listener share its connections: a model with a backlog that all of them see.

#[cfg(feature = "emulated-kqueue")]
use kqueue_emu as _;

use std::cell::RefCell;
use std::os::fd::{AsFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use kqnet_accept::shared::Page;
use kqnet_accept::{Arm, Engine, Errno, Kernel, Limits, Next, Sink, Token};
use proptest::prelude::*;

const LISTENER: RawFd = 3;

/// What all workers see.
#[derive(Default)]
struct World {
    backlog: u32,
    accepts: u32,
    now: Duration,
}

/// The kernel of one worker.
struct Model {
    world: Rc<RefCell<World>>,
    armed: Option<Token>,
    timer: Option<Duration>,
}

impl Kernel for Model {
    type Conn = ();

    fn poll(&mut self, ready: &mut Vec<Token>) -> Result<bool, Errno> {
        let world = self.world.borrow();
        if world.backlog > 0 {
            ready.extend(self.armed.take());
        }
        Ok(self.timer.take_if(|at| *at <= world.now).is_some())
    }

    fn arm(&mut self, arms: &mut [Arm]) {
        self.armed = arms.last().map(|arm| arm.token);
    }

    fn disarm(&mut self, _fd: RawFd) {
        self.armed = None;
    }

    fn timer(&mut self, delay: Duration) {
        self.timer = Some(self.world.borrow().now + delay);
    }

    fn accept(&mut self, _fd: RawFd) -> Result<(), Errno> {
        let mut world = self.world.borrow_mut();
        world.accepts += 1;
        world.backlog = world.backlog.checked_sub(1).ok_or(Errno(libc::EAGAIN))?;
        Ok(())
    }

    fn now(&self) -> Duration {
        self.world.borrow().now
    }
}

/// Counts the connections of one worker.
#[derive(Default)]
struct Taker(u32);

impl Sink<(), ()> for Taker {
    fn wants(&mut self, (): &()) -> bool {
        true
    }

    fn accepted(&mut self, (): &(), (): ()) -> Next {
        self.0 += 1;
        Next::More
    }

    fn failed(&mut self, (): &(), errno: Errno) {
        panic!("{errno}");
    }

    fn shortage(&mut self, (): &(), errno: Errno) {
        panic!("{errno}");
    }
}

struct Worker {
    engine: Engine<Model, ()>,
    token: Token,
    taker: Taker,
}

impl Worker {
    fn run(&mut self) {
        self.engine.run(&mut self.taker).expect("the queue works");
    }
}

/// Two mappings of one page. They are never unmapped, so the cases of a test use the same.
fn pages() -> (Page, Page) {
    thread_local! {
        static PAGES: (Page, Page) = {
            let (page, fd) = Page::create().expect("memory");
            (page, Page::open(fd.as_fd()).expect("the same layout"))
        };
    }
    PAGES.with(|(page, theirs)| {
        (0..page.used()).for_each(|slot| page.take_back(slot));
        (*page, *theirs)
    })
}

fn workers(count: usize) -> (Rc<RefCell<World>>, Page, Vec<Worker>) {
    let world = Rc::new(RefCell::new(World::default()));
    // A worker maps it for itself.
    let (page, theirs) = pages();
    let workers = (0..count).map(|slot| {
        let kernel = Model { world: world.clone(), armed: None, timer: None };
        let mut engine = Engine::new(kernel);
        let token = engine.add(LISTENER, Limits::default(), ());
        page.give(slot);
        engine.share(token, theirs.seat(slot, 0).expect("a seat"));
        engine.start(token).expect("it is armed");
        Worker { engine, token, taker: Taker::default() }
    });
    let workers = workers.collect();
    (world, page, workers)
}

fn advance(world: &Rc<RefCell<World>>, millis: u64) {
    world.borrow_mut().now += Duration::from_millis(millis);
}

fn cases() -> ProptestConfig {
    let cases = std::env::var("CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300);
    ProptestConfig { cases, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    /// Workers that run in any order, each at least once in 2 ms, get about the same number of connections.
    #[test]
    fn connections_are_spread(
        count in 2usize..17,
        bursts in prop::collection::vec(0u32..65, 1..6),
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..200),
    ) {
        let (world, _page, mut workers) = workers(count);
        let mut order = order.iter().cycle();
        for burst in &bursts {
            world.borrow_mut().backlog += burst;
            let mut rounds = 0;
            while world.borrow().backlog > 0 {
                for _ in 0..count {
                    workers[order.next().expect("endless").index(count)].run();
                }
                workers.iter_mut().for_each(Worker::run);
                advance(&world, 1);
                rounds += 1;
                prop_assert!(rounds <= 200, "{} wait", world.borrow().backlog);
            }
        }
        let total: u32 = bursts.iter().sum();
        prop_assert_eq!(workers.iter().map(|worker| worker.taker.0).sum::<u32>(), total);
        let most = workers.iter().map(|worker| worker.taker.0).max().unwrap_or(0);
        prop_assert!(most <= 2 * (total / count as u32) + 5, "{most} of {total} on {count}");
    }

    /// Workers that do not run, or have ended, hold the others back for some milliseconds only.
    #[test]
    fn absent_workers_hold_nobody_back(
        count in 2usize..9,
        absent in prop::collection::vec(any::<bool>(), 8),
        ended in any::<bool>(),
    ) {
        let (world, page, mut workers) = workers(count);
        let runs: Vec<usize> = (0..count).filter(|slot| *slot == 0 || !absent[*slot]).collect();
        if ended {
            (0..count).filter(|slot| !runs.contains(slot)).for_each(|slot| page.take_back(slot));
        }
        for wave in 0..3 {
            world.borrow_mut().backlog += 500;
            let mut millis = 0;
            while world.borrow().backlog > 0 {
                runs.iter().for_each(|slot| workers[*slot].run());
                advance(&world, 1);
                millis += 1;
                prop_assert!(millis <= 1000, "{} wait in wave {wave}", world.borrow().backlog);
            }
            prop_assert!(ended || wave == 0 || millis <= 400, "{millis} ms in wave {wave}");
        }
        let accepted: u32 = runs.iter().map(|slot| workers[*slot].taker.0).sum();
        prop_assert_eq!(accepted, 1500);
    }
}

/// A worker that leaves connections to a stopped one takes one of them after each pause, and all of them soon.
#[test]
fn nobody_waits_long_for_a_stopped_worker() {
    let (world, _page, mut workers) = workers(2);
    world.borrow_mut().backlog = 100;
    workers[0].run();
    let at_once = workers[0].taker.0;
    assert!((1..=5).contains(&at_once), "{at_once}");
    workers[0].run();
    assert_eq!(workers[0].taker.0, at_once, "the rest is left to the other one");
    advance(&world, 2);
    workers[0].run();
    assert_eq!(workers[0].taker.0, at_once + 1, "which has not come");
    for _ in 0..30 {
        advance(&world, 1);
        workers[0].run();
    }
    assert_eq!(world.borrow().backlog, 0, "which is known to be away");
    // It has come back, so it gets what comes now.
    world.borrow_mut().backlog = 20;
    workers[1].run();
    workers[0].run();
    for _ in 0..20 {
        workers[1].run();
    }
    assert_eq!(workers[1].taker.0, 20);
}

#[test]
fn leaving_connections_to_others_costs_no_accept() {
    let (world, _page, mut workers) = workers(2);
    world.borrow_mut().backlog = 8;
    workers[0].run();
    let before = world.borrow().accepts;
    for _ in 0..10 {
        workers[0].run();
    }
    assert_eq!(world.borrow().accepts, before);
    let Worker { engine, token, taker } = &mut workers[0];
    let stats = engine.stats(*token).expect("a listener");
    assert_eq!((stats.accepted, stats.active), (taker.0.into(), taker.0));
    let pauses = stats.paused_error.count + stats.paused_full.count + stats.paused_rate.count;
    assert_eq!(pauses, 0, "it is no pause that anybody has to know of");
}

#[test]
fn a_slot_goes_on_with_its_counters_and_without_its_gauges() {
    let (page, fd) = Page::create().expect("memory");
    let theirs = Page::open(fd.as_fd()).expect("the same layout");
    page.give(4);
    let name = "unix:/tmp/a socket";
    let claim = theirs.claim(4, name).expect("an area");
    let counters = claim.counters().expect("counters");
    let mut engine = Engine::new(Model { world: Rc::default(), armed: None, timer: None });
    let token = engine.add(LISTENER, Limits::default(), ());
    engine.count_in(token, kqnet_accept::shared::Words::Shared(counters));
    engine.start(token).expect("it is armed");
    assert!(engine.accept_now(token, &mut Taker::default()).expect("an open listener").is_none());
    // Killed: nothing is dropped.
    std::mem::forget(claim);
    page.take_back(4);
    let stats = || -> Vec<_> {
        page.areas(4).filter_map(|area| Some((area.name(), kqnet_accept::Stats::read(area.counters()?)))).collect()
    };
    assert_eq!(stats().len(), 1);
    assert_eq!((stats()[0].0.as_str(), stats()[0].1.active), (name, 0));
    // Two listeners of one name have an area each, and the next one takes one of them over.
    let (one, _other) = (theirs.claim(4, name), theirs.claim(4, name));
    drop(one);
    let _next = theirs.claim(4, name);
    assert_eq!(stats().len(), 2);
    assert!(theirs.claim(4, &"x".repeat(1000)).is_some_and(|claim| claim.name().len() == 128));
    assert!(
        (0..20).any(|index| theirs.claim(4, &index.to_string()).map(std::mem::forget).is_none()),
        "there is an end"
    );
}

#[test]
fn memory_of_another_size_is_refused() {
    let file = std::fs::File::open("/dev/null").expect("it exists");
    assert!(Page::open(file.as_fd()).is_err());
}
