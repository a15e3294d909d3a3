//! A kernel in memory: listeners with backlogs, a queue of one-shot events in an edge-triggered outer queue, a
//! timer, a limit of descriptors, and errors on demand.
#![allow(dead_code)]

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

use kqnet_accept::Arm;
use kqnet_accept::{Errno, Kernel, Next, Sink, Token};

/// The number of a connection that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u32);

#[derive(Debug, Default)]
pub struct Listener {
    pub backlog: VecDeque<Result<ConnId, Errno>>,
    armed: Option<Token>,
    posted: bool,
}

/// The state of the kernel, shared by the engine and the test that drives it.
#[derive(Debug, Default)]
pub struct World {
    pub listeners: BTreeMap<RawFd, Listener>,
    pub now: Duration,
    timer: Option<Duration>,
    timer_posted: bool,
    /// The outer queue has an event that was not delivered yet.
    edge: bool,
    pub free_descriptors: u32,
    /// Calls of accept and of arm, to see that nothing spins.
    pub accepts: u64,
    pub arms: u64,
    next_conn: u32,
}

impl World {
    fn post(&mut self, fd: RawFd) {
        let Some(listener) = self.listeners.get_mut(&fd) else { return };
        if listener.armed.is_some() && !listener.posted && !listener.backlog.is_empty() {
            listener.posted = true;
            // Whether the inner queue was empty makes no difference here: the engine must have emptied it.
            self.edge = true;
        }
    }

    pub fn arrive(&mut self, fd: RawFd) -> Option<ConnId> {
        let conn = ConnId(self.next_conn);
        self.listeners.get_mut(&fd)?.backlog.push_back(Ok(conn));
        self.next_conn += 1;
        self.post(fd);
        Some(conn)
    }

    /// A client goes away before it was accepted: its connection vanishes, or `accept` returns an error for it.
    pub fn reset(&mut self, fd: RawFd, at: usize, vanish: bool) -> Option<ConnId> {
        let backlog = &mut self.listeners.get_mut(&fd)?.backlog;
        let index = at.checked_rem(backlog.len())?;
        let gone = backlog[index].ok()?;
        if vanish {
            backlog.remove(index);
        } else {
            backlog[index] = Err(Errno(libc::ECONNABORTED));
        }
        Some(gone)
    }

    pub fn fail_next(&mut self, fd: RawFd, errno: i32) {
        if let Some(listener) = self.listeners.get_mut(&fd) {
            listener.backlog.push_front(Err(Errno(errno)));
        }
        self.post(fd);
    }

    pub fn advance(&mut self, by: Duration) {
        self.now += by;
        if self.timer.is_some_and(|at| at <= self.now) {
            self.timer = None;
            self.timer_posted = true;
            self.edge = true;
        }
    }

    /// Delivers the outer queue's event, if there is one.
    pub fn take_edge(&mut self) -> bool {
        std::mem::take(&mut self.edge)
    }
}

/// The kernel that an engine drives.
#[derive(Clone, Debug, Default)]
pub struct Model(pub Rc<RefCell<World>>);

impl Kernel for Model {
    type Conn = ConnId;

    fn poll(&mut self, ready: &mut Vec<Token>) -> Result<bool, Errno> {
        let mut world = self.0.borrow_mut();
        let timer = std::mem::take(&mut world.timer_posted);
        for listener in world.listeners.values_mut() {
            if std::mem::take(&mut listener.posted) {
                ready.extend(listener.armed.take());
            }
        }
        Ok(timer)
    }

    fn arm(&mut self, arms: &mut [Arm]) {
        let mut world = self.0.borrow_mut();
        for arm in arms {
            world.arms += 1;
            match world.listeners.get_mut(&arm.fd) {
                Some(listener) => listener.armed = Some(arm.token),
                None => arm.result = Err(Errno(libc::EBADF)),
            }
            world.post(arm.fd);
        }
    }

    fn disarm(&mut self, fd: RawFd) {
        if let Some(listener) = self.0.borrow_mut().listeners.get_mut(&fd) {
            listener.armed = None;
            listener.posted = false;
        }
    }

    fn timer(&mut self, delay: Duration) {
        let mut world = self.0.borrow_mut();
        // Some kernels count in milliseconds, and may be early by a part of one.
        let early = Duration::from_micros(900).min(delay);
        world.timer = Some(world.now + delay - early);
    }

    fn accept(&mut self, fd: RawFd) -> Result<ConnId, Errno> {
        let mut world = self.0.borrow_mut();
        world.accepts += 1;
        let none_free = world.free_descriptors == 0;
        let listener = world.listeners.get_mut(&fd).ok_or(Errno(libc::EBADF))?;
        match listener.backlog.front().copied() {
            None => Err(Errno(libc::EAGAIN)),
            Some(Ok(_)) if none_free => Err(Errno(libc::EMFILE)),
            Some(front) => {
                listener.backlog.pop_front();
                if front.is_ok() {
                    world.free_descriptors -= 1;
                }
                front
            }
        }
    }

    fn now(&self) -> Duration {
        self.0.borrow().now
    }
}

/// Who waits for a listener's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiter {
    Nobody,
    /// One connection.
    Once,
    /// All of them.
    Loop,
}

/// A sink that remembers what it was given. The data of a listener is its descriptor.
#[derive(Debug, Default)]
pub struct Taker {
    pub waiters: BTreeMap<RawFd, Option<Waiter>>,
    pub taken: Vec<(RawFd, ConnId)>,
    pub failed: Vec<(RawFd, Errno)>,
    pub shortages: Vec<(RawFd, Errno)>,
}

impl Taker {
    pub fn waiter(&self, fd: RawFd) -> Waiter {
        self.waiters.get(&fd).copied().flatten().unwrap_or(Waiter::Nobody)
    }
}

impl Sink<ConnId, RawFd> for Taker {
    fn wants(&mut self, fd: &RawFd) -> bool {
        self.waiter(*fd) != Waiter::Nobody
    }

    fn accepted(&mut self, fd: &RawFd, conn: ConnId) -> Next {
        self.taken.push((*fd, conn));
        match self.waiter(*fd) {
            Waiter::Loop => Next::More,
            Waiter::Once => {
                self.waiters.insert(*fd, Some(Waiter::Nobody));
                Next::Enough
            }
            Waiter::Nobody => panic!("a connection for nobody"),
        }
    }

    fn failed(&mut self, fd: &RawFd, errno: Errno) {
        self.failed.push((*fd, errno));
    }

    fn shortage(&mut self, fd: &RawFd, errno: Errno) {
        self.shortages.push((*fd, errno));
    }
}
