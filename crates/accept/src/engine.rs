//! The accept policy: which listener to accept from, how often, and when to pause and resume it.
//!
//! One turn ([`Engine::run`]) reads the queue until it is empty, accepts a batch from each ready listener, and
//! re-arms in one call those that still want connections. A listener is armed for one event at a time, so that
//! nothing depends on a kernel's implicit trigger mode (janet#1560 came from one).

use std::os::fd::RawFd;
use std::time::Duration;

use crate::errno::{Errno, Verdict};

/// How long a listener rests when the system ran out of descriptors or memory. Short enough to resume within
/// 50 ms of one becoming free, long enough to leave the process idle.
const BACK_OFF: Duration = Duration::from_millis(30);

/// How long no shortage must be met before the next one is told of: a server that is at the edge meets one at each
/// connection.
const EPISODE: Duration = Duration::from_secs(1);

/// How often a listener at its limit asks whether connections have ended that nobody released.
const FULL_CHECK: Duration = Duration::from_millis(20);

/// The longest time between two connections under a rate limit: some 30 years, which can still be added to a time.
const SLOWEST: f64 = 1e9;

/// The most that [`Engine::accept_rest`] takes: what Linux lets wait by default. Clients may come as fast as they are
/// accepted.
const REST: u32 = 4096;

/// How far a rate limit may run ahead, so that one timer serves several connections at high rates.
const RATE_SLACK: Duration = Duration::from_millis(10);

/// A listener of an [`Engine`]. Never reused, so that a late event of a closed listener finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub usize);

impl Token {
    /// A token must fit in a kevent's `udata`, so each half gets half a word.
    const HALF: u32 = usize::BITS / 2;
    const MASK: usize = (1 << Self::HALF) - 1;

    fn new(index: usize, generation: usize) -> Self {
        Self((generation & Self::MASK) << Self::HALF | index)
    }

    fn index(self) -> usize {
        self.0 & Self::MASK
    }

    fn generation(self) -> usize {
        self.0 >> Self::HALF
    }
}

/// A listener to arm, and how that went.
#[derive(Clone, Debug)]
pub struct Arm {
    /// The listening descriptor.
    pub fd: RawFd,
    /// What the queue gives back when it is ready.
    pub token: Token,
    /// Delete an older registration first: for the first time, and after a pause in which nothing was
    /// accepted, since older NetBSD evaluates nothing on a bare enable.
    pub fresh: bool,
    /// Whether the kernel took it.
    pub result: Result<(), Errno>,
}

/// What the engine needs of a system: a queue of one-shot readiness events, one timer, and `accept`.
pub trait Kernel {
    /// An accepted connection. Dropped where nobody takes it, which must close it.
    type Conn;

    /// Appends all listeners that have become ready, each of which is thereby disarmed, and gives true where the
    /// timer has fired. Does not block.
    ///
    /// # Errors
    /// Where the queue itself is unusable.
    fn poll(&mut self, ready: &mut Vec<Token>) -> Result<bool, Errno>;

    /// Arms each listener for one event, which comes at once where a connection is waiting already.
    fn arm(&mut self, arms: &mut [Arm]);

    /// Forgets a listener that is about to be closed.
    fn disarm(&mut self, fd: RawFd);

    /// Makes the queue readable after `delay`, in place of any earlier timer.
    fn timer(&mut self, delay: Duration);

    /// A batch begins: what was known for the one before may not hold any more.
    fn begin(&mut self) {}

    /// Takes one connection without blocking.
    ///
    /// # Errors
    /// Those of accept(2).
    fn accept(&mut self, listener: RawFd) -> Result<Self::Conn, Errno>;

    /// Monotonic time.
    fn now(&self) -> Duration;
}

/// What a listener may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The most connections to accept in one turn, so that one busy listener leaves time for others.
    pub batch: u32,
    /// The most connections that may be in flight; at the limit clients wait in the backlog.
    pub max_connections: Option<u32>,
    /// The most connections to accept in a second, evenly spread.
    pub max_rate: Option<f64>,
    /// Connections count as in flight until they are released. False where nobody releases them.
    pub counted: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { batch: 64, max_connections: None, max_rate: None, counted: true }
    }
}

/// Why a listener rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// `accept` failed for want of descriptors or memory, or for an unknown reason.
    Error(Errno),
    /// As many connections are in flight as are allowed.
    Full,
    /// The rate limit is used up for now.
    Rate,
}

/// Figures of one listener.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections in flight: accepted and not released.
    pub active: u32,
    /// The most that were ever in flight.
    pub peak: u32,
    /// Turns in which at least one connection was accepted.
    pub batches: u64,
    /// The most accepted in one turn.
    pub largest_batch: u32,
    /// Connections that were gone before they were accepted.
    pub aborted: u64,
    /// Pauses for errors, and the time spent in them.
    pub paused_error: PauseStats,
    /// Pauses at the limit of connections, and the time spent in them.
    pub paused_full: PauseStats,
    /// Pauses for the rate limit, and the time spent in them.
    pub paused_rate: PauseStats,
    /// Failures of `accept` by error number, but for an empty backlog.
    pub errors: Vec<(Errno, u64)>,
}

/// How often and how long a listener rested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PauseStats {
    /// Number of pauses.
    pub count: u64,
    /// Time spent in them, the present one included.
    pub time: Duration,
}

impl Stats {
    fn error(&mut self, errno: Errno) {
        match self.errors.iter_mut().find(|(known, _)| *known == errno) {
            Some((_, count)) => *count += 1,
            None => self.errors.push((errno, 1)),
        }
    }

    fn pause(&mut self, why: Pause) -> &mut PauseStats {
        match why {
            Pause::Error(_) => &mut self.paused_error,
            Pause::Full => &mut self.paused_full,
            Pause::Rate => &mut self.paused_rate,
        }
    }
}

/// Whether the one who was given a connection wants another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on with the batch.
    More,
    /// Go on, but this connection could not be taken, and is closed: it is not in flight.
    Lost,
    /// Leave the rest in the backlog.
    Enough,
}

/// The receiver of connections. `D` is what the caller attached to the listener.
pub trait Sink<C, D> {
    /// Whether anybody waits for a connection of this listener.
    fn wants(&mut self, data: &D) -> bool;
    /// How many connections have ended, since this was last told, without a call of [`Engine::release`]. It is asked often,
    /// and for all of them only where a listener is at its limit; otherwise it may wait until there are many.
    fn ended(&mut self, _data: &D, _all: bool) -> u32 {
        0
    }
    /// Takes a connection.
    fn accepted(&mut self, data: &D, conn: C) -> Next;
    /// The listener is unusable, and gone from the engine.
    fn failed(&mut self, data: &D, errno: Errno);
    /// Accepting failed for want of something; it goes on by itself. Called once for an episode, which lasts until all that
    /// waited was accepted and nothing was wanting for a second.
    fn starved(&mut self, data: &D, errno: Errno);
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Not armed: nobody waits, or a turn is under way.
    Idle,
    /// The kernel will say when it is ready.
    Armed,
    /// Closed, or unusable: only its figures are left.
    Closed,
    /// accept(2) said that it is not a listening socket. No kernel would ever post an event for it, so nobody may wait.
    Broken(Errno),
    /// At rest, until a time or, for [`Pause::Full`], until a connection is released.
    Paused { why: Pause, since: Duration, until: Duration },
}

/// How many connections to take in a turn, so that few attempts find none: Linux makes a socket and its file before it
/// looks for a connection, so such an attempt costs more than to arm the listener again. It is a guess from the turns
/// before, and if it is too low, the listener is ready again at once.
#[derive(Clone, Copy)]
struct Guess {
    most: u32,
    /// Twice as many as before.
    raised: bool,
    /// Turns since the guess changed in which there were as many, or more.
    reached: u32,
    /// How many of those it takes to raise the guess.
    patience: u32,
}

impl Guess {
    /// The most turns before more connections are looked for. A burst that meets a low guess takes that many turns more.
    const PATIENCE: u32 = 15;

    /// Nothing is known: as many as a batch may be.
    const OPEN: Self = Self { most: u32::MAX, raised: false, reached: 0, patience: 0 };

    /// There were this many, fewer than guessed.
    fn fell_short(&mut self, accepted: u32) {
        let patience = if self.raised && accepted <= self.most / 2 {
            (2 * self.patience + 1).min(Self::PATIENCE)
        } else {
            self.patience
        };
        *self = Self { most: accepted.max(1), patience, ..Self::OPEN };
    }

    /// There were as many, and perhaps more.
    fn came_true(&mut self, batch: u32) {
        if self.raised {
            (self.raised, self.patience) = (false, 0);
        }
        self.reached += 1;
        if self.reached > self.patience && self.most < batch {
            (self.most, self.raised, self.reached) = (self.most.saturating_mul(2).min(batch), true, 0);
        }
    }
}

/// A want of descriptors or memory that was reported.
#[derive(Clone, Copy)]
struct Shortage {
    last: Duration,
    /// Since then, everything that waited was accepted.
    over: bool,
}

struct Listener<D> {
    fd: RawFd,
    data: D,
    limits: Limits,
    state: State,
    /// The next arm must delete the older registration.
    fresh: bool,
    /// The last time that something was wanting.
    shortage: Option<Shortage>,
    /// When the rate limit allows the next connection.
    next_at: Duration,
    guess: Guess,
    stats: Stats,
}

impl<D> Listener<D> {
    fn pause(&mut self, why: Pause, now: Duration) {
        let until = match why {
            Pause::Error(_) => now + BACK_OFF,
            Pause::Full => now + FULL_CHECK,
            Pause::Rate => self.next_at.saturating_sub(RATE_SLACK / 2).max(now + Duration::from_millis(1)),
        };
        self.stats.pause(why).count += 1;
        self.state = State::Paused { why, since: now, until };
        self.fresh = true;
    }

    fn unpause(&mut self, now: Duration) {
        if let State::Paused { why, since, .. } = self.state {
            self.stats.pause(why).time += now.saturating_sub(since);
            self.state = State::Idle;
        }
    }

    /// The limit that forbids to accept now, if any.
    fn limit(&self, now: Duration) -> Option<Pause> {
        if self.limits.max_connections.is_some_and(|max| self.stats.active >= max) {
            Some(Pause::Full)
        } else if self.limits.max_rate.is_some() && self.next_at > now + RATE_SLACK {
            Some(Pause::Rate)
        } else {
            None
        }
    }

    fn count(&mut self, now: Duration) {
        self.stats.accepted += 1;
        if self.limits.counted {
            self.stats.active += 1;
            self.stats.peak = self.stats.peak.max(self.stats.active);
        }
        if let Some(rate) = self.limits.max_rate {
            self.next_at = self.next_at.max(now) + interval(rate);
        }
    }

    fn uncount(&mut self, connections: u32) {
        self.stats.active = self.stats.active.saturating_sub(connections);
    }

    /// Notes that something was wanting. True where that begins an episode.
    fn starves(&mut self, now: Duration) -> bool {
        let begins = self.shortage.is_none_or(|shortage| shortage.over && now >= shortage.last + EPISODE);
        self.shortage = Some(Shortage { last: now, over: false });
        begins
    }
}

/// The time from one connection to the next.
fn interval(rate: f64) -> Duration {
    Duration::from_secs_f64((1.0 / rate).min(SLOWEST))
}

/// How a batch ended.
enum End {
    /// Nobody wants more.
    Enough,
    /// The backlog is empty.
    Empty,
    /// The batch is used up.
    More,
    Paused(Pause),
    Broken(Errno),
}

struct Slot<D> {
    generation: usize,
    listener: Option<Listener<D>>,
}

/// The listeners of one event queue.
pub struct Engine<K: Kernel, D> {
    kernel: K,
    slots: Vec<Slot<D>>,
    free: Vec<usize>,
    /// When the kernel's timer will fire.
    timer_at: Option<Duration>,
    /// The listeners at rest, or the caller, may want an earlier timer.
    timer_stale: bool,
    /// When the caller wants the queue to wake.
    wake_at: Option<Duration>,
    ready: Vec<Token>,
    arms: Vec<Arm>,
}

impl<K: Kernel, D> Engine<K, D> {
    /// An engine with no listener.
    pub fn new(kernel: K) -> Self {
        Self {
            kernel,
            slots: Vec::new(),
            free: Vec::new(),
            timer_at: None,
            timer_stale: false,
            wake_at: None,
            ready: Vec::new(),
            arms: Vec::new(),
        }
    }

    /// Continues with another kernel, as after a fork, when the old one belongs to another process. Every listener counts
    /// as closed, and nothing is done with the old kernel.
    pub fn replace_kernel(&mut self, kernel: K) {
        self.kernel = kernel;
        for listener in self.slots.iter_mut().filter_map(|slot| slot.listener.as_mut()) {
            listener.state = State::Closed;
        }
        (self.timer_at, self.timer_stale, self.wake_at) = (None, false, None);
        self.ready.clear();
        self.arms.clear();
    }

    /// The kernel's time.
    pub fn now(&self) -> Duration {
        self.kernel.now()
    }

    /// Has the queue wake at a time, for a caller with timers of its own. Replaces an earlier such time.
    pub fn wake(&mut self, at: Option<Duration>) {
        self.wake_at = at;
        self.timer_stale = true;
        let now = self.kernel.now();
        self.set_timer(now);
    }

    /// Takes a listening, non-blocking descriptor in. It stays the caller's to close, after [`Engine::remove`].
    pub fn add(&mut self, fd: RawFd, limits: Limits, data: D) -> Token {
        let listener = Listener {
            fd,
            data,
            limits,
            state: State::Idle,
            fresh: true,
            shortage: None,
            next_at: Duration::ZERO,
            guess: Guess::OPEN,
            stats: Stats::default(),
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, listener: None });
            self.slots.len() - 1
        });
        let slot = &mut self.slots[index];
        slot.listener = Some(listener);
        Token::new(index, slot.generation)
    }

    fn get(&mut self, token: Token) -> Option<&mut Listener<D>> {
        let slot = self.slots.get_mut(token.index())?;
        if slot.generation == token.generation() { slot.listener.as_mut() } else { None }
    }

    /// Whether a listener can still be accepted from.
    pub fn is_open(&mut self, token: Token) -> bool {
        self.get(token).is_some_and(|listener| !matches!(listener.state, State::Closed | State::Broken(_)))
    }

    /// The error of accept(2) that showed that the descriptor is not a listening socket.
    pub fn broken(&mut self, token: Token) -> Option<Errno> {
        match self.get(token)?.state {
            State::Broken(errno) => Some(errno),
            _ => None,
        }
    }

    /// Replaces what the caller attached to a listener.
    pub fn attach(&mut self, token: Token, data: D) {
        if let Some(listener) = self.get(token) {
            listener.data = data;
        }
    }

    /// Changes what a listener for which nobody waits may do.
    pub fn limit(&mut self, token: Token, limits: Limits) {
        let now = self.kernel.now();
        let Some(listener) = self.get(token) else { return };
        listener.limits = limits;
        if let Some(rate) = limits.max_rate {
            listener.next_at = listener.next_at.min(now + interval(rate));
        }
        // The pause at an older limit need not last.
        if let State::Paused { why: why @ (Pause::Full | Pause::Rate), .. } = listener.state
            && listener.limit(now) != Some(why)
        {
            listener.unpause(now);
        }
    }

    /// The figures of a listener, or nothing where it was forgotten.
    pub fn stats(&mut self, token: Token) -> Option<Stats> {
        let now = self.kernel.now();
        let listener = self.get(token)?;
        let mut stats = listener.stats.clone();
        if let State::Paused { why, since, .. } = listener.state {
            stats.pause(why).time += now.saturating_sub(since);
        }
        Some(stats)
    }

    /// Somebody waits for connections of this listener: from now on [`Engine::run`] gives them.
    ///
    /// # Errors
    /// Where the kernel does not take the registration, or the descriptor is no listening socket any more.
    pub fn start(&mut self, token: Token) -> Result<(), Errno> {
        let now = self.kernel.now();
        let Some(listener) = self.get(token) else { return Err(Errno(libc::EBADF)) };
        match listener.state {
            State::Idle => {}
            State::Armed | State::Paused { .. } => return Ok(()),
            State::Closed => return Err(Errno(libc::EBADF)),
            State::Broken(errno) => return Err(errno),
        }
        if let Some(why) = listener.limit(now) {
            listener.pause(why, now);
            self.timer_stale = true;
            self.set_timer(now);
            return Ok(());
        }
        let mut arm = [Arm { fd: listener.fd, token, fresh: listener.fresh, result: Ok(()) }];
        self.kernel.arm(&mut arm);
        self.armed(&arm[0])
    }

    fn armed(&mut self, arm: &Arm) -> Result<(), Errno> {
        if let Some(listener) = self.get(arm.token)
            && arm.result.is_ok()
        {
            listener.state = State::Armed;
            listener.fresh = false;
        }
        arm.result
    }

    /// Takes one connection at once where one is waiting and the limits allow it.
    ///
    /// # Errors
    /// Where the descriptor is no listening socket any more.
    pub fn accept_now<S: Sink<K::Conn, D>>(&mut self, token: Token, sink: &mut S) -> Result<Option<K::Conn>, Errno> {
        let now = self.kernel.now();
        let Some(listener) = self.get(token) else { return Err(Errno(libc::EBADF)) };
        match listener.state {
            State::Idle | State::Armed if listener.limit(now).is_none() => {}
            State::Closed => return Err(Errno(libc::EBADF)),
            State::Broken(errno) => return Err(errno),
            _ => return Ok(None),
        }
        let batch = listener.limits.batch;
        let mut one = One { sink, conn: None };
        let (_, end) = self.accept_batch(token, batch, now, &mut one);
        let conn = one.conn;
        match end {
            End::Broken(errno) => {
                self.finish(token, State::Broken(errno));
                return Err(errno);
            }
            End::Paused(why) => {
                self.rest(token, why, now, sink);
                self.set_timer(now);
            }
            End::Enough | End::Empty | End::More => {}
        }
        Ok(conn)
    }

    /// Accepts what waits already, as far as the limits allow. For a listener that is about to be closed, by which a
    /// kernel resets the connections that it has made and nobody has accepted.
    pub fn accept_rest<S: Sink<K::Conn, D>>(&mut self, token: Token, sink: &mut S) {
        let now = self.kernel.now();
        let mut left = REST;
        while left > 0
            && self.is_open(token)
            && let Some(listener) = self.get(token)
            && sink.wants(&listener.data)
        {
            let batch = listener.limits.batch.min(left);
            left -= batch;
            if !matches!(self.accept_batch(token, batch, now, sink), (_, End::More)) {
                return;
            }
        }
    }

    /// One turn: reads the queue until it is empty, accepts from each listener that is ready or whose pause is
    /// over, and arms again those that want more.
    ///
    /// # Errors
    /// Where the queue itself is unusable.
    pub fn run<S: Sink<K::Conn, D>>(&mut self, sink: &mut S) -> Result<(), Errno> {
        let mut ready = std::mem::take(&mut self.ready);
        let polled = self.kernel.poll(&mut ready);
        let now = self.kernel.now();
        for &token in &ready {
            if let Some(listener) = self.get(token)
                && listener.state == State::Armed
            {
                listener.state = State::Idle;
                self.turn(token, now, sink);
            }
        }
        ready.clear();
        self.ready = ready;
        if polled == Ok(true) {
            // Perhaps a little early: then it is set again.
            self.timer_at = None;
            self.timer_stale = true;
            self.wake_at = self.wake_at.filter(|at| *at > now);
            for index in 0..self.slots.len() {
                let Slot { generation, listener: Some(listener) } = &mut self.slots[index] else { continue };
                let State::Paused { why, until, .. } = &mut listener.state else { continue };
                if *until > now {
                    continue;
                }
                if *why == Pause::Full {
                    *until = now + FULL_CHECK;
                    listener.uncount(sink.ended(&listener.data, true));
                    if listener.limit(now) == Some(Pause::Full) {
                        continue;
                    }
                }
                listener.unpause(now);
                let token = Token::new(index, *generation);
                self.turn(token, now, sink);
            }
        }
        self.arm_all(sink);
        self.set_timer(now);
        polled.map(drop)
    }

    /// Accepts one batch of an idle listener and decides what comes next.
    fn turn<S: Sink<K::Conn, D>>(&mut self, token: Token, now: Duration, sink: &mut S) {
        let Some(listener) = self.get(token) else { return };
        if !sink.wants(&listener.data) {
            return;
        }
        listener.uncount(sink.ended(&listener.data, false));
        let most = listener.guess.most.min(listener.limits.batch);
        let (accepted, end) = self.accept_batch(token, most, now, sink);
        let Some(listener) = self.get(token) else { return };
        let arm = Arm { fd: listener.fd, token, fresh: listener.fresh, result: Ok(()) };
        match end {
            End::Enough => {}
            End::Empty => {
                listener.guess.fell_short(accepted);
                self.arms.push(arm);
            }
            End::More => {
                listener.guess.came_true(listener.limits.batch);
                self.arms.push(arm);
            }
            End::Paused(why) => {
                // What waits then may be many.
                listener.guess = Guess::OPEN;
                self.rest(token, why, now, sink);
            }
            End::Broken(errno) => self.fail(token, State::Broken(errno), errno, sink),
        }
    }

    fn rest<S: Sink<K::Conn, D>>(&mut self, token: Token, why: Pause, now: Duration, sink: &mut S) {
        let Some(listener) = self.get(token) else { return };
        listener.pause(why, now);
        if let Pause::Error(errno) = why
            && listener.starves(now)
        {
            sink.starved(&listener.data, errno);
        }
        self.timer_stale = true;
    }

    /// Accepts until the backlog is empty, `most` attempts or a limit are used up, or the sink has enough. Never
    /// "as many as the kernel said": XNU counts half-open connections too, and DragonFly caps the figure. Returns how
    /// many it accepted, too.
    fn accept_batch<S: Sink<K::Conn, D>>(
        &mut self,
        token: Token,
        most: u32,
        now: Duration,
        sink: &mut S,
    ) -> (u32, End) {
        let Some(slot) = self.slots.get_mut(token.index()) else { return (0, End::Enough) };
        let Some(listener) = slot.listener.as_mut() else { return (0, End::Enough) };
        self.kernel.begin();
        let mut accepted = 0;
        let mut end = End::More;
        for _ in 0..most {
            if let Some(why) = listener.limit(now) {
                end = End::Paused(why);
                break;
            }
            match self.kernel.accept(listener.fd) {
                Ok(conn) => {
                    listener.count(now);
                    accepted += 1;
                    match sink.accepted(&listener.data, conn) {
                        Next::More => {}
                        Next::Lost if listener.limits.counted => listener.uncount(1),
                        Next::Lost => {}
                        Next::Enough => {
                            end = End::Enough;
                            break;
                        }
                    }
                }
                Err(errno) => match errno.verdict() {
                    Verdict::Empty => {
                        if let Some(shortage) = &mut listener.shortage {
                            shortage.over = true;
                        }
                        end = End::Empty;
                        break;
                    }
                    Verdict::Skip => {
                        if errno.0 == libc::ECONNABORTED {
                            listener.stats.aborted += 1;
                        }
                        listener.stats.error(errno);
                    }
                    Verdict::Pause => {
                        listener.stats.error(errno);
                        end = End::Paused(Pause::Error(errno));
                        break;
                    }
                    Verdict::Broken => {
                        end = End::Broken(errno);
                        break;
                    }
                },
            }
        }
        if accepted > 0 {
            listener.stats.batches += 1;
            listener.stats.largest_batch = listener.stats.largest_batch.max(accepted);
        }
        (accepted, end)
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

    fn fail<S: Sink<K::Conn, D>>(&mut self, token: Token, state: State, errno: Errno, sink: &mut S) {
        if let Some(listener) = self.finish(token, state) {
            sink.failed(&listener.data, errno);
        }
    }

    /// A listener will accept nothing more.
    fn finish(&mut self, token: Token, state: State) -> Option<&mut Listener<D>> {
        let listener = self.get(token)?;
        listener.state = state;
        Some(listener)
    }

    fn set_timer(&mut self, now: Duration) {
        if !std::mem::take(&mut self.timer_stale) {
            return;
        }
        let next = self
            .slots
            .iter()
            .filter_map(|slot| match slot.listener.as_ref()?.state {
                State::Paused { until, .. } => Some(until),
                _ => None,
            })
            .chain(self.wake_at)
            .min();
        if let Some(at) = next
            && self.timer_at.is_none_or(|set| at < set)
        {
            self.kernel.timer(at.saturating_sub(now));
            self.timer_at = Some(at);
        }
    }

    /// A connection of this listener has ended. Called once for each that the sink took.
    ///
    /// # Errors
    /// Fails when the listener was at its limit, somebody waits for it, and the kernel does not take it back.
    pub fn release<S: Sink<K::Conn, D>>(&mut self, token: Token, sink: &mut S) -> Result<(), Errno> {
        let Some(listener) = self.get(token) else { return Ok(()) };
        listener.uncount(1);
        if !matches!(listener.state, State::Paused { why: Pause::Full, .. }) {
            return Ok(());
        }
        let now = self.kernel.now();
        let Some(listener) = self.get(token) else { return Ok(()) };
        if listener.limit(now) == Some(Pause::Full) {
            return Ok(());
        }
        listener.unpause(now);
        // Without a waiter, it is left for the next one to arm: the descriptor may be closed, and its number in use again.
        if sink.wants(&listener.data) { self.start(token) } else { Ok(()) }
    }

    /// Takes a listener out before its descriptor is closed. Its figures stay.
    pub fn close(&mut self, token: Token) {
        let now = self.kernel.now();
        let Some(listener) = self.get(token) else { return };
        listener.unpause(now);
        let (fd, fresh) = (listener.fd, listener.fresh);
        let was = std::mem::replace(&mut listener.state, State::Closed);
        if was != State::Closed && !fresh {
            // Closing would do this too, but not where the descriptor was duplicated.
            self.kernel.disarm(fd);
        }
    }

    /// Drops what is left of a listener, whose descriptor was closed: its number may be another's by now.
    pub fn forget(&mut self, token: Token) {
        if self.get(token).is_some() {
            let slot = &mut self.slots[token.index()];
            slot.listener = None;
            slot.generation = (slot.generation + 1) & Token::MASK;
            self.free.push(token.index());
        }
    }
}

/// Takes one connection and leaves the rest.
struct One<'a, C, S> {
    sink: &'a mut S,
    conn: Option<C>,
}

impl<C, D, S: Sink<C, D>> Sink<C, D> for One<'_, C, S> {
    fn wants(&mut self, _data: &D) -> bool {
        self.conn.is_none()
    }

    fn accepted(&mut self, _data: &D, conn: C) -> Next {
        self.conn = Some(conn);
        Next::Enough
    }

    fn failed(&mut self, data: &D, errno: Errno) {
        self.sink.failed(data, errno);
    }

    fn starved(&mut self, data: &D, errno: Errno) {
        self.sink.starved(data, errno);
    }
}
