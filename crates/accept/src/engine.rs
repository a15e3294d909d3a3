//! The accept policy: which listener to accept from, how often, and when to pause and resume it.
//!
//! One turn ([`Engine::run`]) reads the queue until it is empty, accepts a batch from each ready listener, and re-arms in
//! one call the listeners for which somebody still waits. A listener is armed for one event at a time, so that nothing
//! depends on a kernel's implicit trigger mode (janet#1560 came from one).

use std::os::fd::RawFd;
use std::time::Duration;

use crate::errno::Errno;
use crate::kernel::{Arm, Kernel};
use crate::shared::{Seat, Words};
use crate::token::Token;

mod batch;
mod guess;
mod limits;
mod listener;
mod pause;
mod rate;
mod recovery;
mod share;
mod shortage;
mod sink;
mod statistics;
mod table;
mod timer;

pub use limits::Limits;
pub use sink::{Next, Sink};
pub(crate) use statistics::zero_gauges;
pub use statistics::{COUNTERS, PauseStats, Stats};

use batch::{End, accept_batch};
use guess::Guess;
use listener::{Listener, State};
use pause::Pause;
use share::Share;
use sink::TakeOne;
use table::Table;
use timer::Timer;

/// The most connections that [`Engine::accept_backlog`] accepts: as many as Linux lets wait by default. Without a bound,
/// clients that come as fast as they are accepted would keep it from ever returning.
const MOST_BEFORE_CLOSING: u32 = 4096;

/// The listeners of one event queue, and the policy by which they accept. `D` is what the caller attaches to a listener.
pub struct Engine<K: Kernel, D> {
    kernel: K,
    listeners: Table<D>,
    timer: Timer,
    /// Kept between turns for their memory, and empty between them.
    ready: Vec<Token>,
    arms: Vec<Arm>,
}

impl<K: Kernel, D> Engine<K, D> {
    /// An engine without listeners.
    pub fn new(kernel: K) -> Self {
        Self { kernel, listeners: Table::new(), timer: Timer::default(), ready: Vec::new(), arms: Vec::new() }
    }

    /// Adds a listening, non-blocking descriptor. The caller keeps it, and calls [`Engine::close`] before closing it.
    pub fn add(&mut self, fd: RawFd, limits: Limits, data: D) -> Token {
        self.listeners.insert(Listener::new(fd, limits, data))
    }

    /// Counts what a listener does in these words from now on.
    pub fn count_in(&mut self, token: Token, words: Words<COUNTERS>) {
        if let Some(listener) = self.listeners.get(token) {
            listener.counters.count_in(words);
        }
    }

    /// Other workers accept from a listener too, and its connections should be spread over all.
    pub fn share(&mut self, token: Token, seat: Seat) {
        if let Some(listener) = self.listeners.get(token) {
            listener.share = Some(Share::new(seat));
        }
    }

    /// Changes the limits of a listener for which nobody waits.
    pub fn set_limits(&mut self, token: Token, limits: Limits) {
        let now = self.kernel.now();
        if let Some(listener) = self.listeners.get(token) {
            listener.set_limits(limits, now);
        }
    }

    /// Somebody waits for connections of this listener: from now on [`Engine::run`] passes them to the sink.
    ///
    /// # Errors
    /// Returns an error if the kernel does not take the registration, or if the descriptor is not a listening socket any
    /// more.
    pub fn start(&mut self, token: Token) -> Result<(), Errno> {
        let now = self.kernel.now();
        let Some(listener) = self.listeners.get(token) else { return Err(Errno(libc::EBADF)) };
        match listener.state {
            State::Idle => {}
            State::Armed | State::Paused { .. } => return Ok(()),
            State::Closed => return Err(Errno(libc::EBADF)),
            State::Broken(errno) => return Err(errno),
        }
        if let Some(why) = listener.reached_limit(now) {
            listener.pause(why, now);
            self.timer.pause_began();
            self.set_timer(now);
            return Ok(());
        }
        let mut arm = [listener.to_arm(token)];
        self.kernel.arm(&mut arm);
        self.armed(&arm[0])
    }

    /// Takes one connection at once, if one is waiting and the limits allow it.
    ///
    /// # Errors
    /// Returns an error if the descriptor is not a listening socket any more.
    pub fn accept_now<S: Sink<K::Conn, D>>(&mut self, token: Token, sink: &mut S) -> Result<Option<K::Conn>, Errno> {
        let now = self.kernel.now();
        let Some(listener) = self.listeners.get(token) else { return Err(Errno(libc::EBADF)) };
        match listener.state {
            State::Idle | State::Armed if listener.reached_limit(now).is_none() => {}
            State::Closed => return Err(Errno(libc::EBADF)),
            State::Broken(errno) => return Err(errno),
            _ => return Ok(None),
        }
        let attempts = listener.limits.batch;
        let mut one = TakeOne { sink, conn: None };
        let batch = accept_batch(&mut self.kernel, listener, attempts, now, &mut one);
        let conn = one.conn;
        match batch.end {
            End::Broken(errno) => {
                listener.state = State::Broken(errno);
                return Err(errno);
            }
            End::Paused(why) => {
                self.pause(token, why, now, sink);
                self.set_timer(now);
            }
            End::Enough | End::Empty | End::UsedUp => {}
        }
        Ok(conn)
    }

    /// Runs one turn: reads the queue until it is empty, accepts from each listener that is ready or whose pause is over,
    /// and re-arms the listeners for which somebody still waits.
    ///
    /// # Errors
    /// Returns an error if the queue itself is unusable.
    pub fn run<S: Sink<K::Conn, D>>(&mut self, sink: &mut S) -> Result<(), Errno> {
        let mut ready = std::mem::take(&mut self.ready);
        let polled = self.kernel.poll(&mut ready);
        let now = self.kernel.now();
        for token in ready.drain(..) {
            let Some(listener) = self.listeners.get(token) else { continue };
            if listener.state == State::Armed {
                listener.state = State::Idle;
                self.accept_from(token, now, false, sink);
            }
        }
        self.ready = ready;
        if polled == Ok(true) {
            self.timer.fired(now);
            self.end_pauses(now, sink);
        }
        self.arm_all(sink);
        self.set_timer(now);
        polled.map(drop)
    }

    /// A connection of this listener has ended. Called once for each that the sink took.
    ///
    /// # Errors
    /// Returns an error if the listener was at its limit, somebody waits for it, and the kernel does not take it back.
    pub fn release<S: Sink<K::Conn, D>>(&mut self, token: Token, sink: &mut S) -> Result<(), Errno> {
        let Some(listener) = self.listeners.get(token) else { return Ok(()) };
        listener.count_ended(1);
        listener.publish();
        if !matches!(listener.state, State::Paused { why: Pause::Full, .. }) {
            return Ok(());
        }
        let now = self.kernel.now();
        if listener.reached_limit(now) == Some(Pause::Full) {
            return Ok(());
        }
        listener.resume(now);
        // If nobody waits, the listener is not armed now; the next `start` does that. The descriptor may be closed, and its
        // number in use again.
        if sink.wants(&listener.data) { self.start(token) } else { Ok(()) }
    }

    /// Accepts what is already in the backlog, as far as the limits allow. For a listener that is about to be closed:
    /// closing it makes the kernel reset the connections that it has made and nobody has accepted.
    pub fn accept_backlog<S: Sink<K::Conn, D>>(&mut self, token: Token, sink: &mut S) {
        let now = self.kernel.now();
        let mut left = MOST_BEFORE_CLOSING;
        while left > 0 && self.is_open(token) {
            let Some(listener) = self.listeners.get(token) else { return };
            if !sink.wants(&listener.data) {
                return;
            }
            let attempts = listener.limits.batch.min(left);
            left -= attempts;
            if accept_batch(&mut self.kernel, listener, attempts, now, sink).end != End::UsedUp {
                return;
            }
        }
    }

    /// Stops accepting from a listener, before its descriptor is closed. Its statistics stay.
    pub fn close(&mut self, token: Token) {
        let now = self.kernel.now();
        let Some(listener) = self.listeners.get(token) else { return };
        listener.resume(now);
        let was = std::mem::replace(&mut listener.state, State::Closed);
        listener.publish();
        if was != State::Closed && !listener.delete_first {
            // Closing the descriptor would do this too, unless it was duplicated.
            self.kernel.disarm(listener.fd);
        }
    }

    /// Drops what is left of a listener whose descriptor was closed. Its number may belong to another file by now.
    pub fn forget(&mut self, token: Token) {
        self.listeners.remove(token);
    }

    /// Whether a listener can still be accepted from.
    pub fn is_open(&mut self, token: Token) -> bool {
        self.listeners.get(token).is_some_and(|listener| !matches!(listener.state, State::Closed | State::Broken(_)))
    }

    /// The error of accept(2) that showed that the descriptor is not a listening socket, if there was one.
    pub fn error(&mut self, token: Token) -> Option<Errno> {
        match self.listeners.get(token)?.state {
            State::Broken(errno) => Some(errno),
            _ => None,
        }
    }

    /// The statistics of a listener, or `None` if it was forgotten.
    pub fn stats(&mut self, token: Token) -> Option<Stats> {
        let now = self.kernel.now();
        Some(self.listeners.get(token)?.stats(now))
    }

    /// The kernel's time.
    pub fn now(&self) -> Duration {
        self.kernel.now()
    }

    /// Makes the queue readable at `at`, for timers of the caller. Each call replaces the previous time.
    pub fn set_wake_time(&mut self, at: Option<Duration>) {
        self.timer.set_wake_time(at);
        let now = self.kernel.now();
        self.set_timer(now);
    }

    /// Continues with another kernel, as after a fork, when the old one belongs to another process. Every listener counts
    /// as closed, and no call is made to the old kernel.
    pub fn replace_kernel(&mut self, kernel: K) {
        self.kernel = kernel;
        for listener in self.listeners.iter_mut() {
            listener.state = State::Closed;
            // It is for the parent process.
            listener.share = None;
        }
        self.timer = Timer::default();
        self.ready.clear();
        self.arms.clear();
    }
}

/// The steps of a turn.
impl<K: Kernel, D> Engine<K, D> {
    /// Accepts one batch of an idle listener and decides what comes next. `has_waited` says that it has left its connections to
    /// other workers until now.
    fn accept_from<S: Sink<K::Conn, D>>(&mut self, token: Token, now: Duration, has_waited: bool, sink: &mut S) {
        let Some(listener) = self.listeners.get(token) else { return };
        if !sink.wants(&listener.data) {
            listener.publish();
            return;
        }
        listener.count_ended(sink.ended(&listener.data, false));
        let room = listener.room(now, has_waited);
        if room == 0 {
            self.pause(token, Pause::Others, now, sink);
            return;
        }
        let guessed = listener.guess.most.min(listener.limits.batch);
        let attempts = guessed.min(room);
        let batch = accept_batch(&mut self.kernel, listener, attempts, now, sink);
        match batch.end {
            End::Enough => listener.publish(),
            End::Empty => {
                listener.guess.fell_short(batch.accepted);
                self.arms.push(listener.to_arm(token));
            }
            End::UsedUp => {
                if attempts == guessed {
                    listener.guess.came_true(listener.limits.batch);
                }
                self.arms.push(listener.to_arm(token));
            }
            End::Paused(why) => {
                // Many connections may wait by the end of the pause.
                listener.guess = Guess::UNKNOWN;
                self.pause(token, why, now, sink);
            }
            End::Broken(errno) => self.fail(token, State::Broken(errno), errno, sink),
        }
    }

    /// Accepts from each listener whose pause is over.
    fn end_pauses<S: Sink<K::Conn, D>>(&mut self, now: Duration, sink: &mut S) {
        for index in 0..self.listeners.len() {
            let Some((token, listener)) = self.listeners.at(index) else { continue };
            let State::Paused { why, until, .. } = listener.state else { continue };
            if until > now {
                continue;
            }
            if why == Pause::Full {
                listener.stay_paused(now);
                listener.count_ended(sink.ended(&listener.data, true));
                if listener.reached_limit(now) == Some(Pause::Full) {
                    continue;
                }
            }
            listener.resume(now);
            self.accept_from(token, now, why == Pause::Others, sink);
        }
    }

    fn pause<S: Sink<K::Conn, D>>(&mut self, token: Token, why: Pause, now: Duration, sink: &mut S) {
        let Some(listener) = self.listeners.get(token) else { return };
        listener.pause(why, now);
        self.timer.pause_began();
        let Pause::Error(errno) = why else { return };
        if listener.shortage.note(now) {
            sink.shortage(&listener.data, errno);
        }
    }

    /// A listener will accept nothing more.
    fn fail<S: Sink<K::Conn, D>>(&mut self, token: Token, state: State, errno: Errno, sink: &mut S) {
        if let Some(listener) = self.listeners.get(token) {
            listener.state = state;
            listener.publish();
            sink.failed(&listener.data, errno);
        }
    }

    fn arm_all<S: Sink<K::Conn, D>>(&mut self, sink: &mut S) {
        if self.arms.is_empty() {
            return;
        }
        let mut arms = std::mem::take(&mut self.arms);
        self.kernel.arm(&mut arms);
        for arm in arms.drain(..) {
            if let Err(errno) = self.armed(&arm) {
                self.fail(arm.token, State::Closed, errno, sink);
            }
        }
        self.arms = arms;
    }

    /// Records a listener as armed, or returns the error for which the kernel did not arm it.
    fn armed(&mut self, arm: &Arm) -> Result<(), Errno> {
        arm.result?;
        if let Some(listener) = self.listeners.get(arm.token) {
            listener.state = State::Armed;
            listener.delete_first = false;
            listener.publish();
        }
        Ok(())
    }

    fn set_timer(&mut self, now: Duration) {
        self.timer.set(&mut self.kernel, &self.listeners, now);
    }
}
