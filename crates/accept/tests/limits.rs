//! The limits and shortages of one listener, on a kernel in memory: when a shortage is reported, and how the places of
//! connections become free again.

mod model;

use std::time::Duration;

use kqnet_accept::{Engine, Errno, Limits, Next, Sink, Stats, Token};
use model::{ConnId, Model};

const FD: i32 = 3;

/// A sink that takes every connection except those that it must lose, and knows how many handlers have ended by themselves.
#[derive(Default)]
struct Handlers {
    taken: Vec<ConnId>,
    lose: usize,
    ended: u32,
    asked_for_all: u32,
    nobody_waits: bool,
    shortages: u32,
}

impl Sink<ConnId, ()> for Handlers {
    fn wants(&mut self, (): &()) -> bool {
        !self.nobody_waits
    }

    fn ended(&mut self, (): &(), all: bool) -> u32 {
        if !all {
            return 0;
        }
        self.asked_for_all += 1;
        std::mem::take(&mut self.ended)
    }

    fn accepted(&mut self, (): &(), conn: ConnId) -> Next {
        if self.lose > 0 {
            self.lose -= 1;
            return Next::Dropped;
        }
        self.taken.push(conn);
        Next::More
    }

    fn failed(&mut self, (): &(), errno: Errno) {
        panic!("the listener failed: {errno}");
    }

    fn shortage(&mut self, (): &(), _errno: Errno) {
        self.shortages += 1;
    }
}

struct Server {
    model: Model,
    engine: Engine<Model, ()>,
    handlers: Handlers,
    token: Token,
}

impl Server {
    fn new(limits: Limits) -> Self {
        let model = Model::default();
        model.0.borrow_mut().free_descriptors = u32::MAX;
        model.0.borrow_mut().listeners.insert(FD, model::Listener::default());
        let mut engine = Engine::new(model.clone());
        let token = engine.add(FD, limits, ());
        engine.start(token).expect("the listener is open");
        Self { model, engine, handlers: Handlers::default(), token }
    }

    fn descriptors(&self, count: u32) {
        self.model.0.borrow_mut().free_descriptors = count;
    }

    fn arrive(&self, count: usize) {
        for _ in 0..count {
            self.model.0.borrow_mut().arrive(FD);
        }
    }

    fn turns(&mut self) {
        loop {
            let woken = self.model.0.borrow_mut().take_edge();
            if !woken {
                break;
            }
            self.engine.run(&mut self.handlers).expect("the queue works");
        }
    }

    fn pass(&mut self, millis: u64) {
        for _ in 0..millis.div_ceil(10) {
            self.model.0.borrow_mut().advance(Duration::from_millis(10));
            self.turns();
        }
    }

    fn taken(&self) -> usize {
        self.handlers.taken.len()
    }

    fn stats(&mut self) -> Stats {
        self.engine.stats(self.token).expect("the listener is known")
    }
}

fn at_most(connections: u32) -> Limits {
    Limits { max_connections: Some(connections), ..Limits::default() }
}

fn at_rate(rate: f64) -> Limits {
    Limits { max_rate: Some(rate), ..Limits::default() }
}

#[test]
fn a_server_at_the_edge_reports_one_shortage() {
    let mut server = Server::new(Limits::default());
    server.descriptors(2);
    server.arrive(100);
    // One connection ends and one is accepted, again and again, while clients wait.
    for _ in 0..90 {
        server.pass(50);
        server.descriptors(1);
    }
    assert!(server.taken() > 80);
    assert!(server.stats().paused_error.count > 80);
    assert_eq!(server.handlers.shortages, 1);
}

#[test]
fn an_episode_is_over_a_second_after_all_were_accepted() {
    let mut server = Server::new(Limits::default());
    let shortage = |server: &mut Server, expected| {
        server.descriptors(0);
        server.arrive(1);
        server.pass(50);
        server.descriptors(1);
        server.pass(50);
        assert_eq!(server.handlers.shortages, expected);
    };
    shortage(&mut server, 1);
    // Everybody was accepted, but less than a second ago: this is the same episode.
    server.pass(500);
    shortage(&mut server, 1);
    server.pass(500);
    shortage(&mut server, 1);
    server.pass(1100);
    shortage(&mut server, 2);
}

#[test]
fn an_episode_lasts_for_as_long_as_somebody_waits() {
    let mut server = Server::new(Limits::default());
    server.descriptors(0);
    server.arrive(1);
    server.pass(20_000);
    assert_eq!(server.handlers.shortages, 1);
    server.descriptors(1);
    server.pass(50);
    assert_eq!(server.taken(), 1);
}

#[test]
fn it_goes_on_within_50_milliseconds_of_a_descriptor_becoming_free() {
    for wait in 0..100 {
        let mut server = Server::new(Limits::default());
        server.descriptors(0);
        server.arrive(1);
        server.turns();
        for _ in 0..wait {
            server.model.0.borrow_mut().advance(Duration::from_millis(1));
            server.turns();
        }
        server.descriptors(1);
        server.pass(50);
        assert_eq!(server.taken(), 1, "free after {wait} ms");
    }
}

#[test]
fn a_connection_that_is_lost_takes_no_place() {
    let mut server = Server::new(at_most(2));
    server.handlers.lose = 3;
    server.arrive(6);
    server.turns();
    assert_eq!(server.taken(), 2);
    let stats = server.stats();
    assert_eq!((stats.accepted, stats.active), (5, 2));
}

#[test]
fn connections_that_ended_by_themselves_are_found_when_the_listener_is_full() {
    let mut server = Server::new(at_most(2));
    server.arrive(5);
    server.turns();
    assert_eq!(server.taken(), 2);
    // Nobody releases them, however long it takes.
    server.pass(3000);
    assert_eq!(server.taken(), 2);
    server.handlers.ended = 1;
    server.pass(50);
    assert_eq!(server.taken(), 3);
    server.handlers.ended = 2;
    server.pass(50);
    assert_eq!(server.taken(), 5);
    assert_eq!(server.stats().peak, 2);
}

#[test]
fn a_full_listener_only_asks_now_and_then() {
    let mut server = Server::new(at_most(1));
    server.arrive(2);
    server.pass(10_000);
    assert!((300..=510).contains(&server.handlers.asked_for_all), "{}", server.handlers.asked_for_all);
    assert_eq!(server.model.0.borrow().accepts, 1);
}

#[test]
fn a_place_is_given_back_once() {
    let mut server = Server::new(at_most(2));
    server.arrive(10);
    server.turns();
    server.engine.release(server.token, &mut server.handlers).expect("the listener is open");
    server.handlers.ended = 1;
    server.pass(100);
    assert_eq!(server.taken(), 4);
    assert_eq!(server.stats().active, 2);
    // Releasing more than there are does no harm.
    for _ in 0..5 {
        server.engine.release(server.token, &mut server.handlers).expect("the listener is open");
    }
    server.turns();
    assert_eq!(server.stats().active, 2);
}

#[test]
fn a_new_limit_ends_a_pause_at_the_old_one() {
    let mut server = Server::new(at_most(1));
    server.arrive(3);
    server.turns();
    assert_eq!(server.taken(), 1);
    server.engine.set_limits(server.token, at_most(3));
    server.engine.start(server.token).expect("the listener is open");
    server.turns();
    assert_eq!(server.taken(), 3);
}

#[test]
fn a_new_rate_ends_a_pause_for_the_old_one() {
    let mut server = Server::new(at_rate(0.001));
    server.arrive(5);
    server.turns();
    assert_eq!(server.taken(), 1);
    server.engine.set_limits(server.token, at_rate(100.0));
    server.engine.start(server.token).expect("the listener is open");
    server.pass(100);
    assert_eq!(server.taken(), 5);
}

#[test]
fn a_pause_for_a_shortage_is_not_ended_by_a_new_limit() {
    let mut server = Server::new(Limits::default());
    server.descriptors(0);
    server.arrive(1);
    server.turns();
    let before = server.model.0.borrow().accepts;
    server.engine.set_limits(server.token, at_most(5));
    server.engine.start(server.token).expect("the listener is open");
    server.turns();
    assert_eq!(server.model.0.borrow().accepts, before);
    assert_eq!(server.stats().paused_error.count, 1);
}

#[test]
fn the_lowest_and_highest_rates_work() {
    for rate in [f64::MIN_POSITIVE, 1e-300, 1e-9, 1e300, f64::MAX] {
        let mut server = Server::new(at_rate(rate));
        server.arrive(3);
        server.pass(1000);
        assert_eq!(server.taken(), if rate < 1.0 { 1 } else { 3 }, "{rate}");
    }
}

#[test]
fn the_backlog_is_accepted_before_the_end() {
    let mut server = Server::new(Limits { batch: 2, ..Limits::default() });
    server.arrive(20);
    server.engine.accept_backlog(server.token, &mut server.handlers);
    assert_eq!(server.taken(), 20);
    server.engine.close(server.token);
    assert_eq!(server.stats().accepted, 20);
}

#[test]
fn the_backlog_is_accepted_as_far_as_limits_and_descriptors_allow() {
    let mut server = Server::new(at_most(3));
    server.arrive(5);
    server.engine.accept_backlog(server.token, &mut server.handlers);
    assert_eq!(server.taken(), 3);

    let mut server = Server::new(at_rate(0.1));
    server.arrive(5);
    server.engine.accept_backlog(server.token, &mut server.handlers);
    assert_eq!(server.taken(), 1);

    let mut server = Server::new(Limits::default());
    server.descriptors(2);
    server.arrive(5);
    server.engine.accept_backlog(server.token, &mut server.handlers);
    assert_eq!(server.taken(), 2);
}

#[test]
fn what_is_accepted_of_the_backlog_is_bounded_and_needs_a_waiter() {
    let mut server = Server::new(Limits::default());
    server.arrive(5000);
    server.engine.accept_backlog(server.token, &mut server.handlers);
    assert_eq!(server.taken(), 4096);

    let mut server = Server::new(Limits::default());
    server.handlers.nobody_waits = true;
    server.arrive(5);
    server.engine.accept_backlog(server.token, &mut server.handlers);
    assert_eq!(server.taken(), 0);

    let mut server = Server::new(Limits::default());
    server.engine.close(server.token);
    server.arrive(5);
    server.engine.accept_backlog(server.token, &mut server.handlers);
    assert_eq!(server.taken(), 0);
}
