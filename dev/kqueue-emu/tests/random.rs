//! Accept loops under random arrivals, resets, closes and pauses, on the simulated kernel with each kernel's semantics.
//! A loop that follows the rules loses nothing on any kernel, and each broken rule loses something where it must.

use kqueue_emu::kevent::*;
use kqueue_emu::sim::{Conn, Fd, Sim, State};
use kqueue_emu::{Kernel, Profile};
use libc::{ECONNABORTED, EMFILE, EWOULDBLOCK};
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestError, TestRunner};

use Kernel::{FreeBsd, NetBsd, NetBsd7, OpenBsd, Xnu};

#[derive(Clone, Copy, Debug)]
enum Step {
    Connect(usize),
    BeginConnect(usize),
    FinishConnect,
    Reset(usize),
    Turn,
    Pause(usize),
    Resume(usize),
    Reopen(usize),
    CloseConnections,
    Limit(usize),
}

/// What an accept loop does.
#[derive(Clone, Copy, Debug)]
struct Policy {
    mode: u16,
    batch: usize,
    until_nothing: bool,
    /// How a listener that was paused is armed again.
    resume_deletes: bool,
    /// Whether it looks for room before it accepts.
    minds_room: bool,
}

const GOOD: Policy =
    Policy { mode: EV_DISPATCH, batch: 4, until_nothing: true, resume_deletes: true, minds_room: true };

struct Loop {
    sim: Sim,
    policy: Policy,
    outer: Fd,
    inner: Fd,
    listeners: [Listener; 2],
    half_open: Vec<Conn>,
    accepted: Vec<Fd>,
}

#[derive(Clone, Copy)]
struct Listener {
    fd: Fd,
    paused: bool,
    short: bool,
}

impl Loop {
    fn new(profile: Profile, policy: Policy) -> Self {
        let mut sim = Sim::new(profile);
        let (outer, inner) = (sim.kqueue().unwrap(), sim.kqueue().unwrap());
        // This is how Janet registers a stream.
        let change = Kevent::new(inner as usize, EVFILT_READ, EV_ADD | EV_ENABLE | EV_CLEAR);
        sim.kevent(outer, &[change], &mut []).unwrap();
        let none = Listener { fd: -1, paused: false, short: false };
        let mut this =
            Self { sim, policy, outer, inner, listeners: [none; 2], half_open: Vec::new(), accepted: Vec::new() };
        for index in 0..2 {
            this.open(index);
        }
        this
    }

    fn open(&mut self, index: usize) {
        let Ok(fd) = self.sim.listen(50) else { return };
        self.listeners[index] = Listener { fd, paused: false, short: false };
        self.change(fd, EV_ADD | self.policy.mode);
    }

    fn change(&mut self, fd: Fd, flags: u16) {
        // Deleting a knote that does not exist is an error, which does not matter here.
        let _ = self.sim.kevent(self.inner, &[Kevent::new(fd as usize, EVFILT_READ, flags)], &mut []);
    }

    fn resume(&mut self, index: usize) {
        let fd = self.listeners[index].fd;
        if self.policy.resume_deletes {
            self.change(fd, EV_DELETE);
            self.change(fd, EV_ADD | self.policy.mode);
        } else {
            self.change(fd, EV_ENABLE);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Connect(index) => drop(self.sim.connect(self.listeners[index].fd)),
            Step::BeginConnect(index) => self.half_open.extend(self.sim.connect_half(self.listeners[index].fd)),
            Step::FinishConnect => {
                if let Some(conn) = self.half_open.pop() {
                    self.sim.complete(conn);
                }
            }
            Step::Reset(nth) => {
                let count = self.sim.conns().count();
                if count > 0 {
                    self.sim.reset(Conn((nth % count) as u32));
                }
            }
            Step::Turn => drop(self.turn()),
            Step::Pause(index) => self.listeners[index].paused = true,
            Step::Resume(index) => {
                if std::mem::take(&mut self.listeners[index].paused) {
                    self.resume(index);
                }
            }
            Step::Reopen(index) => {
                let fd = self.listeners[index].fd;
                if fd >= 0 {
                    self.change(fd, EV_DELETE);
                    self.sim.close(fd).unwrap();
                    self.listeners[index].fd = -1;
                }
                self.open(index);
            }
            Step::CloseConnections => {
                for fd in self.accepted.drain(..) {
                    self.sim.close(fd).unwrap();
                }
                for index in 0..2 {
                    if std::mem::take(&mut self.listeners[index].short) && !self.listeners[index].paused {
                        self.resume(index);
                    }
                }
            }
            Step::Limit(limit) => self.sim.set_limit(limit),
        }
    }

    /// Runs one turn of the outer loop. Returns whether anything woke it.
    fn turn(&mut self) -> bool {
        let mut events = [Kevent::default(); 2];
        if self.sim.kevent(self.outer, &[], &mut events).unwrap() == 0 {
            return false;
        }
        loop {
            let count = self.sim.kevent(self.inner, &[], &mut events).unwrap();
            for event in &events[..count] {
                let found = self.listeners.iter().position(|listener| listener.fd == event.ident as Fd);
                self.accept_batch(found.expect("an event of a listener that is open"));
            }
            if count == 0 || !self.policy.until_nothing {
                return true;
            }
        }
    }

    fn accept_batch(&mut self, index: usize) {
        let Listener { fd, paused, .. } = self.listeners[index];
        if paused {
            return;
        }
        for _ in 0..self.policy.batch {
            if self.policy.minds_room && self.sim.room() == 0 {
                self.listeners[index].short = true;
                return;
            }
            match self.sim.accept(fd) {
                Ok(accepted) => self.accepted.push(accepted.fd),
                Err(Errno(EWOULDBLOCK)) => break,
                Err(Errno(ECONNABORTED)) => {}
                Err(Errno(EMFILE)) => {
                    self.listeners[index].short = true;
                    return;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        if self.policy.mode & EV_DISPATCH != 0 {
            self.change(fd, EV_ADD | EV_ENABLE | EV_DISPATCH);
        }
    }

    /// Resumes everything, and runs the loop until nothing wakes it. Returns how many connections are lost.
    fn lost(mut self) -> usize {
        self.sim.set_limit(1024);
        self.step(Step::CloseConnections);
        for index in 0..2 {
            self.step(Step::Resume(index));
        }
        let mut turns = 0;
        while self.turn() {
            turns += 1;
            assert!(turns < 1000, "it never stops");
        }
        let lost = |state| matches!(state, State::Waiting | State::Killed);
        self.sim.conns().filter(|(_, state)| lost(*state)).count()
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let one = 0..2usize;
    let step = prop_oneof![
        6 => one.clone().prop_map(Step::Connect),
        1 => one.clone().prop_map(Step::BeginConnect),
        1 => Just(Step::FinishConnect),
        1 => (0..20usize).prop_map(Step::Reset),
        4 => Just(Step::Turn),
        1 => one.clone().prop_map(Step::Pause),
        1 => one.clone().prop_map(Step::Resume),
        1 => one.prop_map(Step::Reopen),
        1 => Just(Step::CloseConnections),
        1 => (7..12usize).prop_map(Step::Limit),
    ];
    prop::collection::vec(step, 1..30)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() }
}

/// The shortest history that loses a connection, if one of `cases` does.
fn find_loss(kernel: Kernel, policy: Policy, cases: u32) -> Option<Vec<Step>> {
    let result = TestRunner::new(config(cases)).run(&steps(), |steps| {
        let mut this = Loop::new(kernel.profile(), policy);
        steps.iter().for_each(|step| this.step(*step));
        prop_assert_eq!(this.lost(), 0);
        Ok(())
    });
    match result {
        Ok(()) => None,
        Err(TestError::Fail(_, steps)) => Some(steps),
        Err(error) => panic!("{error}"),
    }
}

fn kernels_that_lose(policy: Policy) -> Vec<Kernel> {
    Kernel::ALL.into_iter().filter(|kernel| find_loss(*kernel, policy, 2_000).is_some()).collect()
}

#[test]
fn loop_that_follows_the_rules_loses_nothing_on_any_kernel() {
    for kernel in Kernel::ALL {
        for batch in [1, 4] {
            let loss = find_loss(kernel, Policy { batch, ..GOOD }, 10_000);
            assert!(loss.is_none(), "{kernel:?} with batches of {batch}: {loss:?}");
        }
    }
}

#[test]
fn one_connection_for_each_edge_loses_on_xnu() {
    let naive = Policy { mode: EV_CLEAR, batch: 1, ..GOOD };
    let trace = find_loss(Xnu, naive, 2_000).expect("a loss");
    assert!(matches!(trace[..], [Step::Connect(_), Step::Connect(_)]), "{trace:?}");
}

#[test]
fn one_connection_for_each_edge_loses_nowhere_else_while_nothing_pauses() {
    let naive = Policy { mode: EV_CLEAR, batch: 1, ..GOOD };
    for kernel in [FreeBsd, NetBsd, NetBsd7, OpenBsd] {
        TestRunner::new(config(2_000))
            .run(&steps(), |steps| {
                let mut this = Loop::new(kernel.profile(), naive);
                for step in steps {
                    if !matches!(step, Step::Pause(_) | Step::Limit(_)) {
                        this.step(step);
                    }
                }
                prop_assert_eq!(this.lost(), 0);
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn bare_enable_after_a_pause_loses_on_netbsd_7_only() {
    assert_eq!(kernels_that_lose(Policy { resume_deletes: false, ..GOOD }), [NetBsd7]);
}

#[test]
fn level_triggered_inner_queue_read_once_loses_on_freebsd_and_netbsd() {
    let once = Policy { mode: 0, until_nothing: false, batch: 4, ..GOOD };
    let losing: Vec<Kernel> = Kernel::ALL
        .into_iter()
        .filter(|kernel| {
            let mut this = Loop::new(kernel.profile(), once);
            for _ in 0..6 {
                this.step(Step::Connect(0));
            }
            this.lost() > 0
        })
        .collect();
    assert_eq!(losing, [FreeBsd, NetBsd, NetBsd7]);
}

#[test]
fn accepting_without_minding_the_room_loses_on_xnu_only() {
    assert_eq!(kernels_that_lose(Policy { minds_room: false, ..GOOD }), [Xnu]);
}
