//! Real descriptors and the simulated kernel behave alike, whatever is done to them.

mod common;

use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};

use common::{NOW, Queue, unix_connect, unix_listener};
use kqueue_emu::Kernel;
use kqueue_emu::kevent::*;
use kqueue_emu::sim::{Fd, Sim};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

const LISTENERS: usize = 2;
/// Idents that no descriptor has, which replace those of descriptors in events.
const NAMES: usize = 10_000;
const INNER: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    Connect(usize),
    Accept(usize),
    Change(usize, u16),
    ChangeAndFetch(usize, u16),
    Fetch(usize),
    ChangeOuter(u16),
    FetchOuter,
    Reopen(usize),
    Trigger,
}

fn flags() -> impl Strategy<Value = u16> {
    let modes = prop::sample::select(vec![0, EV_CLEAR, EV_DISPATCH, EV_ONESHOT, EV_CLEAR | EV_DISPATCH]);
    let adds = prop::sample::select(vec![EV_ADD, EV_ADD | EV_ENABLE, EV_ADD | EV_DISABLE, EV_ADD | EV_RECEIPT]);
    prop_oneof![
        6 => (adds, modes).prop_map(|(add, mode)| add | mode),
        3 => prop::sample::select(vec![EV_DELETE, EV_ENABLE, EV_DISABLE]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let listener = 0..LISTENERS;
    prop_oneof![
        5 => listener.clone().prop_map(Step::Connect),
        4 => listener.clone().prop_map(Step::Accept),
        4 => (listener.clone(), flags()).prop_map(|(listener, flags)| Step::Change(listener, flags)),
        4 => (listener.clone(), flags()).prop_map(|(listener, flags)| Step::ChangeAndFetch(listener, flags)),
        5 => (0..4usize).prop_map(Step::Fetch),
        1 => flags().prop_map(Step::ChangeOuter),
        4 => Just(Step::FetchOuter),
        1 => listener.prop_map(Step::Reopen),
        1 => Just(Step::Trigger),
    ]
}

/// What can be done with both.
trait Side {
    fn kevent(&mut self, outer: bool, changes: &[Kevent], room: usize) -> Result<Vec<Kevent>, Errno>;
    fn ident(&self, listener: usize) -> usize;
    fn inner(&self) -> usize;
    fn connect(&mut self, listener: usize);
    fn accept(&mut self, listener: usize) -> Option<Errno>;
    fn reopen(&mut self, listener: usize);
    fn is_readable(&self) -> bool;

    /// Does a step. In the events that it returns, names replace descriptors.
    fn run(&mut self, step: &Step) -> Result<Vec<Kevent>, Errno> {
        let on = |ident: usize, flags: u16| Kevent::new(ident, EVFILT_READ, flags);
        let mut events = match *step {
            Step::Connect(listener) => {
                self.connect(listener);
                Vec::new()
            }
            Step::Accept(listener) => match self.accept(listener) {
                Some(error) => return Err(error),
                None => Vec::new(),
            },
            Step::Change(listener, flags) => self.kevent(false, &[on(self.ident(listener), flags)], 0)?,
            Step::ChangeAndFetch(listener, flags) => self.kevent(false, &[on(self.ident(listener), flags)], 4)?,
            Step::Fetch(room) => self.kevent(false, &[], room)?,
            Step::ChangeOuter(flags) => self.kevent(true, &[on(self.inner(), flags)], 0)?,
            Step::FetchOuter => self.kevent(true, &[], 2)?,
            Step::Reopen(listener) => {
                self.reopen(listener);
                Vec::new()
            }
            Step::Trigger => {
                let event = Kevent::new(NAMES - 1, EVFILT_USER, EV_ADD | EV_CLEAR).with_fflags(NOTE_TRIGGER);
                self.kevent(false, &[event], 0)?
            }
        };
        for event in &mut events {
            // Linux does not say how many connections wait at a Unix listener.
            if event.flags & EV_ERROR == 0 && event.ident != self.inner() {
                event.data = event.data.min(1);
            }
            let listener = (0..LISTENERS).find(|listener| self.ident(*listener) == event.ident);
            event.ident = match listener {
                Some(listener) => NAMES + 10 + listener,
                None if event.ident == self.inner() => NAMES + INNER,
                None => event.ident,
            };
        }
        Ok(events)
    }
}

struct Simulated {
    sim: Sim,
    queues: [Fd; 2],
    listeners: Vec<Fd>,
}

impl Simulated {
    fn new(kernel: Kernel) -> Self {
        let mut sim = Sim::new(kernel.profile());
        let queues = [sim.kqueue().unwrap(), sim.kqueue().unwrap()];
        let listeners = (0..LISTENERS).map(|_| sim.listen(100).unwrap()).collect();
        Self { sim, queues, listeners }
    }
}

impl Side for Simulated {
    fn kevent(&mut self, outer: bool, changes: &[Kevent], room: usize) -> Result<Vec<Kevent>, Errno> {
        let mut events = vec![Kevent::default(); room];
        let queue = self.queues[usize::from(!outer)];
        let count = self.sim.kevent(queue, changes, &mut events)?;
        events.truncate(count);
        Ok(events)
    }
    fn ident(&self, listener: usize) -> usize {
        self.listeners[listener] as usize
    }
    fn inner(&self) -> usize {
        self.queues[1] as usize
    }
    fn connect(&mut self, listener: usize) {
        self.sim.connect(self.listeners[listener]).unwrap();
    }
    fn accept(&mut self, listener: usize) -> Option<Errno> {
        self.sim.accept(self.listeners[listener]).err()
    }
    fn reopen(&mut self, listener: usize) {
        self.sim.close(self.listeners[listener]).unwrap();
        self.listeners[listener] = self.sim.listen(100).unwrap();
    }
    fn is_readable(&self) -> bool {
        self.sim.ready(self.queues[1])
    }
}

struct Real {
    queues: [Queue; 2],
    listeners: Vec<UnixListener>,
    clients: Vec<UnixStream>,
}

impl Real {
    fn new(kernel: Kernel) -> Self {
        let listeners = (0..LISTENERS).map(|_| unix_listener()).collect();
        Self { queues: [Queue::new(kernel), Queue::new(kernel)], listeners, clients: Vec::new() }
    }
}

impl Side for Real {
    fn kevent(&mut self, outer: bool, changes: &[Kevent], room: usize) -> Result<Vec<Kevent>, Errno> {
        self.queues[usize::from(!outer)].exchange(changes, room, NOW)
    }
    fn ident(&self, listener: usize) -> usize {
        self.listeners[listener].as_raw_fd() as usize
    }
    fn inner(&self) -> usize {
        self.queues[1].as_raw_fd() as usize
    }
    fn connect(&mut self, listener: usize) {
        self.clients.push(unix_connect(&self.listeners[listener]));
    }
    fn accept(&mut self, listener: usize) -> Option<Errno> {
        let result = self.listeners[listener].accept();
        result.err().map(|error| Errno(error.raw_os_error().unwrap()))
    }
    fn reopen(&mut self, listener: usize) {
        self.listeners[listener] = unix_listener();
    }
    fn is_readable(&self) -> bool {
        let mut entry = libc::pollfd { fd: self.queues[1].as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd.
        unsafe { libc::poll(&mut entry, 1, 0) == 1 }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]

    #[test]
    fn real_descriptors_and_the_simulation_agree(
        kernel in prop::sample::select(Kernel::ALL.to_vec()),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let (mut simulated, mut real) = (Simulated::new(kernel), Real::new(kernel));
        for (number, step) in steps.iter().enumerate() {
            prop_assert_eq!(simulated.run(step), real.run(step), "step {}: {:?}", number, step);
            // The queue may be readable without an event, but never unreadable with one.
            prop_assert!(real.is_readable() || !simulated.is_readable(), "step {}: {:?}", number, step);
        }
    }
}
