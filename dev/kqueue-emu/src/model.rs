//! The state machine of kqueue: queues, knotes and what posts them. It makes no system call: what descriptors are and
//! whether they are ready comes from a [`Sources`].
//!
//! The words are the kernels': a *knote* is one registration; it is *posted* when its object may have become ready,
//! *active* when its filter then said yes, and *queued* when a queue will look at it for the next events.

use std::collections::VecDeque;

use libc::{EBADF, EINVAL, ENOENT};

use crate::kevent::*;
use crate::profile::{Enable, NestedPost, Profile, Touch};

/// A queue of a [`Model`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueId(Id);

/// A knote of a [`Model`]. Its number is never used again, so that a late word about a dead knote is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KnoteId(Id);

impl KnoteId {
    /// As one number, always above `u32::MAX`.
    pub fn to_bits(self) -> u64 {
        u64::from(self.0.generation) << 32 | u64::from(self.0.index)
    }

    /// From that number.
    pub fn from_bits(bits: u64) -> Self {
        Self(Id { index: bits as u32, generation: (bits >> 32) as u32 })
    }
}

/// Something that descriptors stand for, numbered by the [`Sources`]: small numbers, used again after the last detach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceId(pub u32);

/// The two filters of descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// EVFILT_READ.
    Read,
    /// EVFILT_WRITE.
    Write,
}

/// What a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A queue of the same model.
    Queue(QueueId),
    /// Anything else.
    Source,
}

/// What a filter finds when it is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The descriptor is closed, or stands for something else now.
    Gone,
    /// A listening socket.
    Listener {
        /// Connections that `accept()` can take.
        complete: usize,
        /// Connections whose handshake is under way.
        half_open: usize,
        /// The next `accept()` gives an error that is waiting, after `shutdown(SHUT_RD)`.
        aborted: bool,
    },
    /// Anything else.
    Stream {
        /// The filter says yes.
        ready: bool,
        /// Bytes to read, or room to write.
        data: usize,
        /// The other end is closed.
        eof: bool,
    },
}

/// Where descriptors and their readiness come from.
pub trait Sources {
    /// What `fd` is, unless it is closed.
    fn identify(&mut self, fd: i32) -> Option<Target>;

    /// Whether `fd` still stands for what `knote` was attached to.
    fn is_same(&mut self, queue: QueueId, fd: i32, direction: Direction, source: SourceId) -> bool;

    /// A knote begins to watch `fd`.
    fn attach(
        &mut self,
        queue: QueueId,
        fd: i32,
        direction: Direction,
        target: Target,
        knote: KnoteId,
    ) -> Result<SourceId, Errno>;

    /// A knote ends to watch `fd`, which may be closed or something else by now.
    fn detach(&mut self, queue: QueueId, fd: i32, direction: Direction, target: Target, source: SourceId);

    /// Evaluates a filter.
    fn look(&mut self, queue: QueueId, fd: i32, direction: Direction, source: SourceId) -> Look;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Id {
    index: u32,
    generation: u32,
}

#[derive(Debug)]
struct Slab<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    fn insert(&mut self, value: T) -> Id {
        match self.free.pop() {
            Some(index) => {
                let slot = &mut self.slots[index as usize];
                slot.1 = Some(value);
                Id { index, generation: slot.0 }
            }
            None => {
                self.slots.push((1, Some(value)));
                Id { index: self.slots.len() as u32 - 1, generation: 1 }
            }
        }
    }

    fn get(&self, id: Id) -> Option<&T> {
        let (generation, value) = self.slots.get(id.index as usize)?;
        value.as_ref().filter(|_| *generation == id.generation)
    }

    fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let (generation, value) = self.slots.get_mut(id.index as usize)?;
        value.as_mut().filter(|_| *generation == id.generation)
    }

    fn remove(&mut self, id: Id) -> Option<T> {
        self.get(id)?;
        let slot = &mut self.slots[id.index as usize];
        slot.0 += 1;
        self.free.push(id.index);
        slot.1.take()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Object {
    Source(SourceId),
    Queue(QueueId),
    Timer,
    User,
}

#[derive(Debug)]
struct Knote {
    queue: QueueId,
    ident: usize,
    filter: i16,
    flags: u16,
    fflags: u32,
    data: isize,
    /// A pointer of the caller's, kept as a number so that a queue can be used from any thread.
    udata: usize,
    object: Object,
    active: bool,
    queued: bool,
    disabled: bool,
    /// The socket was no listener when the knote was attached, and the kernel asks only then.
    stream_only: bool,
    /// EVFILT_USER: triggered. EVFILT_TIMER: expirations not reported yet.
    fired: usize,
    /// EVFILT_USER: the program's flags.
    user_fflags: u32,
    /// EVFILT_USER: the program's data.
    user_data: isize,
    /// EVFILT_TIMER: when it expires next, and every how many nanoseconds (0: once).
    deadline: Option<u64>,
    period: u64,
}

#[derive(Debug)]
struct Queue {
    profile: Profile,
    /// Knotes of descriptors, by number; as in the kernels, which find a knote from the descriptor.
    by_fd: Vec<[Option<KnoteId>; 2]>,
    others: Vec<KnoteId>,
    ready: VecDeque<KnoteId>,
    /// Knotes of other queues that watch this one.
    watchers: Vec<KnoteId>,
    task_scheduled: bool,
    /// How high it stands above queues that it watches; 0 where it has nothing to do with others.
    level: u32,
    dirty: bool,
}

/// Queues that may watch each other, and their knotes.
#[derive(Debug)]
pub struct Model {
    queues: Slab<Queue>,
    knotes: Slab<Knote>,
    klists: Vec<Vec<KnoteId>>,
    timers: Vec<KnoteId>,
    tasks: Vec<QueueId>,
    dirty: Vec<QueueId>,
    suppressed: Vec<KnoteId>,
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// One with no queue.
    pub const fn new() -> Self {
        Self {
            queues: Slab::new(),
            knotes: Slab::new(),
            klists: Vec::new(),
            timers: Vec::new(),
            tasks: Vec::new(),
            dirty: Vec::new(),
            suppressed: Vec::new(),
        }
    }

    /// A new queue with the semantics of `profile`.
    pub fn kqueue(&mut self, profile: Profile) -> QueueId {
        QueueId(self.queues.insert(Queue {
            profile,
            by_fd: Vec::new(),
            others: Vec::new(),
            ready: VecDeque::new(),
            watchers: Vec::new(),
            task_scheduled: false,
            level: 0,
            dirty: false,
        }))
    }

    /// [`apply`](Self::apply), and then [`fetch`](Self::fetch) if nothing stands against it. Never waits.
    pub fn kevent(
        &mut self,
        queue: QueueId,
        changes: &[Kevent],
        events: &mut [Kevent],
        now: u64,
        sources: &mut impl Sources,
    ) -> Result<usize, Errno> {
        self.tick(now, sources);
        match self.apply(queue, changes, events, now, sources)? {
            Some(used) => Ok(used),
            None => Ok(self.fetch(queue, events, sources)),
        }
    }

    /// Applies `changes` at the time `now` (nanoseconds). Some: what kevent() returns; None: it goes on to fetch.
    ///
    /// Errors and receipts of changes are events: they take slots, and then nothing is fetched. With no slot left an
    /// error fails the call and the rest of the changes is skipped.
    pub fn apply(
        &mut self,
        queue: QueueId,
        changes: &[Kevent],
        events: &mut [Kevent],
        now: u64,
        sources: &mut impl Sources,
    ) -> Result<Option<usize>, Errno> {
        let profile = self.queues.get(queue.0).ok_or(Errno(EBADF))?.profile;
        let mut used = 0;
        let mut outcome = Ok(());
        for change in changes {
            let mut change = *change;
            change.flags &= !EV_SYSFLAGS;
            if profile.overrules {
                for (overruling, overruled) in [(EV_DELETE, EV_ADD), (EV_DISABLE, EV_ENABLE)] {
                    if change.flags & overruling != 0 {
                        change.flags &= !overruled;
                    }
                }
            }
            let error = self.register(queue, &change, now, sources).err();
            if error.is_none() && change.flags & EV_RECEIPT == 0 {
                continue;
            }
            if let Some(slot) = events.get_mut(used) {
                change.flags = if profile.receipt_keeps_flags { change.flags | EV_ERROR } else { EV_ERROR };
                change.data = error.map_or(0, |error| error.0 as isize);
                *slot = change;
                used += 1;
            } else if let Some(error) = error {
                outcome = Err(error);
                break;
            } else if !profile.receipt_keeps_flags {
                // The BSDs leave the loop here, before they have stored how many receipts there are.
                self.run_tasks(sources);
                return Ok(Some(0));
            }
        }
        self.run_tasks(sources);
        outcome.map(|()| (used > 0).then_some(used))
    }

    /// Fetches events, as many as `events` has room for.
    pub fn fetch(&mut self, queue: QueueId, events: &mut [Kevent], sources: &mut impl Sources) -> usize {
        let used = self.scan(queue, events, sources);
        self.run_tasks(sources);
        used
    }

    /// Posts a knote: its object may have become ready.
    pub fn post(&mut self, knote: KnoteId, sources: &mut impl Sources) {
        self.post_now(knote, sources);
        self.run_tasks(sources);
    }

    /// Posts every knote of that direction on `source`, the newest first as the kernels do.
    pub fn post_source(&mut self, source: SourceId, direction: Direction, sources: &mut impl Sources) {
        self.post_where(source, direction, |_| true, sources);
    }

    /// A connection was taken from the backlog of `source`: posts its knotes, where the kernel does so.
    pub fn dequeued(&mut self, source: SourceId, sources: &mut impl Sources) {
        let after = |profile: &Profile| profile.accept_posts && !profile.posts_before_removal;
        self.post_where(source, Direction::Read, after, sources);
        let klist = self.klists.get(source.0 as usize).cloned().unwrap_or_default();
        for id in klist.into_iter().rev() {
            let knote = self.knote(id);
            if knote.filter == EVFILT_READ && self.profile(knote.queue).posts_before_removal {
                self.post_with_one_more(id, sources);
            }
        }
        self.run_tasks(sources);
    }

    /// Posts a listener's knote as if the connection that was just taken were still there.
    fn post_with_one_more(&mut self, id: KnoteId, sources: &mut impl Sources) {
        self.evaluate(id, sources);
        match self.knotes.get_mut(id.0) {
            Some(knote) if !knote.stream_only => knote.data += 1,
            _ => return,
        }
        self.activate(id, sources);
    }

    /// Expires the timers that are due, in the order in which they were.
    pub fn tick(&mut self, now: u64, sources: &mut impl Sources) {
        let deadline = |id: &KnoteId| self.knotes.get(id.0).and_then(|knote| knote.deadline);
        let mut due: Vec<(u64, KnoteId)> =
            self.timers.iter().filter_map(|id| Some((deadline(id).filter(|due| *due <= now)?, *id))).collect();
        due.sort_by_key(|(deadline, _)| *deadline);
        for (deadline, id) in due {
            let Some(knote) = self.knotes.get(id.0) else { continue };
            let queue = knote.queue;
            let profile = self.profile(queue);
            let knote = self.knote_mut(id);
            let once = knote.flags & EV_ONESHOT != 0;
            // A deadline has a period, since a timer of 0 has none.
            let missed = (now - deadline).checked_div(knote.period).unwrap_or(0);
            knote.fired += if once && !profile.late_oneshot_counts { 1 } else { missed as usize + 1 };
            knote.deadline = (!once).then(|| deadline + (missed + 1) * knote.period);
            self.mark_dirty(queue);
            self.post_now(id, sources);
        }
        self.run_tasks(sources);
    }

    /// A descriptor is being closed: its knotes vanish, in every queue and with no event.
    pub fn close_fd(&mut self, fd: i32, sources: &mut impl Sources) {
        for index in 0..self.queues.slots.len() {
            let (_, Some(queue)) = &self.queues.slots[index] else { continue };
            let Some(knotes) = usize::try_from(fd).ok().and_then(|fd| queue.by_fd.get(fd)).copied() else { continue };
            for knote in knotes.into_iter().flatten() {
                self.drop_knote(knote, sources);
            }
        }
    }

    /// The descriptors that any queue watches.
    pub fn watched_fds(&self) -> impl Iterator<Item = i32> + '_ {
        let queues = self.queues.slots.iter().filter_map(|(_, queue)| queue.as_ref());
        let fds = queues.flat_map(|queue| queue.by_fd.iter().enumerate());
        fds.filter(|(_, knotes)| **knotes != [None; 2]).map(|(fd, _)| fd as i32)
    }

    /// The last descriptor of a queue is being closed: it vanishes with its knotes, and so do the knotes that watch it.
    pub fn close_queue(&mut self, queue: QueueId, sources: &mut impl Sources) {
        let Some(state) = self.queues.get_mut(queue.0) else { return };
        let own = state.by_fd.iter().flatten().flatten().copied().chain(state.others.iter().copied());
        let knotes: Vec<KnoteId> = own.chain(state.watchers.iter().copied()).collect();
        for knote in knotes {
            self.drop_knote(knote, sources);
        }
        self.queues.remove(queue.0);
    }

    /// How many knotes are queued: what a watching queue reports, and poll(2) calls readable.
    pub fn len(&self, queue: QueueId) -> usize {
        self.queues.get(queue.0).map_or(0, |queue| queue.ready.len())
    }

    /// Whether none is.
    pub fn is_empty(&self, queue: QueueId) -> bool {
        self.len(queue) == 0
    }

    /// Whether the queue exists.
    pub fn is_open(&self, queue: QueueId) -> bool {
        self.queues.get(queue.0).is_some()
    }

    /// When the first of its timers expires.
    pub fn next_deadline(&self, queue: QueueId) -> Option<u64> {
        let knotes = self.timers.iter().filter_map(|id| self.knotes.get(id.0));
        knotes.filter(|knote| knote.queue == queue).filter_map(|knote| knote.deadline).min()
    }

    /// The queue that the knote watches, if it watches one.
    pub fn watched_queue(&self, knote: KnoteId) -> Option<QueueId> {
        match self.knotes.get(knote.0)?.object {
            Object::Queue(queue) => Some(queue),
            _ => None,
        }
    }

    /// The queues with a knote on `source`.
    pub fn queues_of(&self, source: SourceId) -> impl Iterator<Item = QueueId> + '_ {
        let knotes = self.klists.get(source.0 as usize).map(Vec::as_slice).unwrap_or_default();
        knotes.iter().filter_map(|id| self.knotes.get(id.0)).map(|knote| knote.queue)
    }

    /// A queue whose [`len`](Self::len) or [`next_deadline`](Self::next_deadline) may have changed since it was last
    /// taken from here.
    pub fn take_dirty(&mut self) -> Option<QueueId> {
        while let Some(id) = self.dirty.pop() {
            if let Some(queue) = self.queues.get_mut(id.0) {
                queue.dirty = false;
                return Some(id);
            }
        }
        None
    }

    fn register(&mut self, queue: QueueId, change: &Kevent, now: u64, sources: &mut impl Sources) -> Result<(), Errno> {
        let profile = self.profile(queue);
        let direction = match change.filter {
            EVFILT_READ => Some(Direction::Read),
            EVFILT_WRITE => Some(Direction::Write),
            EVFILT_TIMER => None,
            EVFILT_USER if profile.user_events => None,
            _ => return Err(Errno(EINVAL)),
        };
        let mut found = self.find(queue, change.ident, change.filter);
        if let Some(direction) = direction {
            let fd = i32::try_from(change.ident).unwrap_or(-1);
            if profile.closed_is_ebadf && sources.identify(fd).is_none() {
                return Err(Errno(EBADF));
            }
            if let Some(id) = found {
                let same = match self.knote(id).object {
                    Object::Source(source) => sources.is_same(queue, fd, direction, source),
                    Object::Queue(inner) => sources.identify(fd) == Some(Target::Queue(inner)),
                    _ => true,
                };
                if !same {
                    self.drop_knote(id, sources);
                    found = None;
                }
            }
        }
        let deletes = change.flags & EV_DELETE != 0;
        match found {
            None if deletes || change.flags & EV_ADD == 0 => Err(Errno(ENOENT)),
            None => self.attach(queue, direction, change, now, sources),
            Some(id) if deletes => {
                self.drop_knote(id, sources);
                Ok(())
            }
            Some(id) => self.touch(id, change, now, sources),
        }
    }

    fn attach(
        &mut self,
        queue: QueueId,
        direction: Option<Direction>,
        change: &Kevent,
        now: u64,
        sources: &mut impl Sources,
    ) -> Result<(), Errno> {
        let profile = self.profile(queue);
        let mut knote = Knote {
            queue,
            ident: change.ident,
            filter: change.filter,
            flags: change.flags,
            fflags: 0,
            data: 0,
            udata: change.udata.addr(),
            object: Object::User,
            active: false,
            queued: false,
            disabled: false,
            stream_only: false,
            fired: 0,
            user_fflags: change.fflags & NOTE_FFLAGSMASK,
            user_data: change.data,
            deadline: None,
            period: 0,
        };
        if profile.hides_actions {
            knote.flags &= !(EV_ADD | EV_DELETE | EV_ENABLE | EV_DISABLE);
        }
        match direction {
            None if change.filter == EVFILT_TIMER => {
                set_timer(&mut knote, change, now, &profile)?;
                knote.object = Object::Timer;
                knote.flags |= EV_CLEAR;
            }
            None => knote.fired = usize::from(change.fflags & NOTE_TRIGGER != 0),
            Some(_) => {}
        }
        let id = KnoteId(self.knotes.insert(knote));
        if let Some(direction) = direction {
            match self.attach_fd(id, queue, change.ident, direction, sources) {
                Ok(object) => self.knote_mut(id).object = object,
                Err(error) => {
                    self.knotes.remove(id.0);
                    return Err(error);
                }
            }
        } else {
            if change.filter == EVFILT_TIMER {
                self.timers.push(id);
            }
            self.queue_mut(queue).others.push(id);
            self.mark_dirty(queue);
        }
        self.settle(id, change, true, false, sources);
        Ok(())
    }

    fn attach_fd(
        &mut self,
        id: KnoteId,
        queue: QueueId,
        ident: usize,
        direction: Direction,
        sources: &mut impl Sources,
    ) -> Result<Object, Errno> {
        let fd = i32::try_from(ident).map_err(|_| Errno(EBADF))?;
        let target = sources.identify(fd).ok_or(Errno(EBADF))?;
        match target {
            Target::Queue(inner)
                if direction == Direction::Write
                    || self.watches(inner, queue)
                    || self.is_level_refused(queue, inner) =>
            {
                return Err(Errno(EINVAL));
            }
            Target::Queue(_) | Target::Source => {}
        }
        let source = sources.attach(queue, fd, direction, target, id)?;
        let object = match target {
            Target::Queue(inner) => {
                self.queue_mut(inner).watchers.push(id);
                self.raise_level(queue, inner);
                Object::Queue(inner)
            }
            Target::Source => {
                let index = source.0 as usize;
                if self.klists.len() <= index {
                    self.klists.resize_with(index + 1, Vec::new);
                }
                self.klists[index].push(id);
                if self.profile(queue).filter_chosen_at_attach {
                    let look = sources.look(queue, fd, direction, source);
                    self.knote_mut(id).stream_only = !matches!(look, Look::Listener { .. });
                }
                Object::Source(source)
            }
        };
        let by_fd = &mut self.queue_mut(queue).by_fd;
        if by_fd.len() <= ident {
            by_fd.resize(ident + 1, [None; 2]);
        }
        by_fd[ident][direction as usize] = Some(id);
        Ok(object)
    }

    /// XNU's way to find cycles: it refuses what could be part of one.
    fn is_level_refused(&self, outer: QueueId, inner: QueueId) -> bool {
        let level = |queue: QueueId| self.queues.get(queue.0).map_or(0, |queue| queue.level);
        self.profile(outer).nesting_has_levels && level(outer) > 0 && level(outer) < level(inner)
    }

    /// Levels stay when a queue is not watched any more.
    fn raise_level(&mut self, outer: QueueId, inner: QueueId) {
        let below = &mut self.queue_mut(inner).level;
        let least = (*below + 1).max(2);
        *below = (*below).max(1);
        let above = &mut self.queue_mut(outer).level;
        *above = (*above).max(least);
    }

    /// Whether `outer` is `inner`, or watches it through any number of queues.
    fn watches(&self, outer: QueueId, inner: QueueId) -> bool {
        outer == inner
            || self.queues.get(inner.0).is_some_and(|queue| {
                let mut watchers = queue.watchers.iter().filter_map(|id| self.knotes.get(id.0));
                watchers.any(|knote| self.watches(outer, knote.queue))
            })
    }

    fn touch(&mut self, id: KnoteId, change: &Kevent, now: u64, sources: &mut impl Sources) -> Result<(), Errno> {
        let queue = self.knote(id).queue;
        let profile = self.profile(queue);
        let adds = change.flags & EV_ADD != 0;
        let knote = self.knote_mut(id);
        // A user event is triggered by a change of any kind.
        let touches = adds || profile.touch != Touch::OnAdd || knote.object == Object::User;
        let was_disabled = knote.disabled;
        if touches {
            match knote.object {
                Object::Timer if adds || profile.any_change_sets_timer => {
                    set_timer(knote, change, now, &profile)?;
                    if profile.setting_takes_expiry_back {
                        knote.active = false;
                        self.dequeue(id);
                    }
                }
                Object::User => touch_user(knote, change),
                _ => {}
            }
            let knote = self.knote_mut(id);
            knote.udata = change.udata.addr();
            if adds && !profile.mode_sticks {
                let modes = EV_CLEAR | EV_DISPATCH | EV_ONESHOT;
                knote.flags = knote.flags & !modes | change.flags & modes;
            }
        }
        self.mark_dirty(queue);
        self.settle(id, change, touches, was_disabled, sources);
        Ok(())
    }

    /// The end of every change to a knote that stays: evaluation, EV_DISABLE, EV_ENABLE.
    fn settle(&mut self, id: KnoteId, change: &Kevent, touches: bool, was_disabled: bool, sources: &mut impl Sources) {
        let profile = self.profile(self.knote(id).queue);
        let disables = change.flags & EV_DISABLE != 0;
        // FreeBSD: enable overrules disable. The rest does both, in this order.
        let enables = change.flags & EV_ENABLE != 0;
        if profile.touch == Touch::WhenEnabled {
            let knote = self.knote_mut(id);
            knote.disabled = !enables && (disables || knote.disabled);
            if !knote.disabled && self.evaluate(id, sources) {
                self.knote_mut(id).active = true;
            }
            self.enqueue_if_active(id, sources);
            return;
        }
        if disables && profile.disable_dequeues {
            // First, so that an outer queue sees nothing of what is found now.
            self.knote_mut(id).disabled = true;
            self.dequeue(id);
        }
        if touches && self.evaluate(id, sources) {
            self.activate(id, sources);
        }
        let Some(knote) = self.knotes.get_mut(id.0) else { return };
        knote.disabled |= disables;
        if enables {
            self.knote_mut(id).disabled = false;
            match profile.enable {
                Enable::QueuesPosted => self.enqueue_if_active(id, sources),
                Enable::EvaluatesIfDisabled => {
                    if (was_disabled || disables) && self.evaluate(id, sources) {
                        self.activate(id, sources);
                    }
                }
            }
        }
    }

    /// Reports what is queued, each knote once.
    fn scan(&mut self, queue: QueueId, events: &mut [Kevent], sources: &mut impl Sources) -> usize {
        let profile = self.profile(queue);
        let mut used = 0;
        let mut suppressed = std::mem::take(&mut self.suppressed);
        for _ in 0..self.len(queue) {
            let Some(slot) = events.get_mut(used) else { break };
            let Some(id) = self.queue_mut(queue).ready.pop_front() else { break };
            self.mark_dirty(queue);
            let knote = self.knote_mut(id);
            knote.queued = false;
            if knote.disabled {
                continue;
            }
            let once = knote.flags & EV_ONESHOT != 0;
            if (!once || profile.oneshot_evaluates) && !self.evaluate(id, sources) {
                if let Some(knote) = self.knotes.get_mut(id.0) {
                    knote.active = false;
                }
                continue;
            }
            let knote = self.knote_mut(id);
            *slot = Kevent {
                ident: knote.ident,
                filter: knote.filter,
                flags: knote.flags,
                fflags: knote.fflags,
                data: knote.data,
                udata: std::ptr::without_provenance_mut(knote.udata),
            };
            used += 1;
            if once {
                self.drop_knote(id, sources);
                continue;
            }
            let clears = knote.flags & EV_CLEAR != 0;
            let dispatches = knote.flags & EV_DISPATCH != 0 && !(clears && profile.clear_beats_dispatch);
            if clears {
                knote.fired = 0;
                knote.fflags = 0;
            }
            knote.disabled = dispatches;
            if clears || dispatches {
                knote.active = false;
            } else if profile.nested_post == NestedPost::OnNonEmpty {
                // XNU sets the knotes that it reports aside, and queues them again when it has finished.
                suppressed.push(id);
            } else {
                knote.queued = true;
                self.queue_mut(queue).ready.push_back(id);
                if profile.level_reposts_outer {
                    self.wake_watchers(queue, false, sources);
                }
            }
        }
        for id in suppressed.drain(..) {
            let was_empty = self.is_empty(queue);
            self.knote_mut(id).queued = true;
            self.queue_mut(queue).ready.push_back(id);
            if profile.level_reposts_outer {
                self.wake_watchers(queue, was_empty, sources);
            }
        }
        self.suppressed = suppressed;
        used
    }

    /// Calls the knote's filter and keeps what it found for the event. The knote may be gone afterwards.
    fn evaluate(&mut self, id: KnoteId, sources: &mut impl Sources) -> bool {
        let knote = self.knote(id);
        let (queue, fd) = (knote.queue, knote.ident as i32);
        let direction = if knote.filter == EVFILT_WRITE { Direction::Write } else { Direction::Read };
        match knote.object {
            Object::Queue(inner) => {
                let count = self.len(inner);
                self.knote_mut(id).data = count as isize;
                count > 0
            }
            Object::Timer => {
                let knote = self.knote_mut(id);
                knote.data = knote.fired as isize;
                knote.fired > 0
            }
            Object::User => {
                let knote = self.knote_mut(id);
                knote.fflags = knote.user_fflags;
                knote.data = knote.user_data;
                knote.fired > 0
            }
            Object::Source(source) => match sources.look(queue, fd, direction, source) {
                Look::Gone => {
                    self.drop_knote(id, sources);
                    false
                }
                Look::Listener { .. } if direction == Direction::Write || self.knote(id).stream_only => {
                    self.knote_mut(id).data = 0;
                    false
                }
                Look::Listener { complete, half_open, aborted } => {
                    let profile = self.profile(queue);
                    let knote = self.knote_mut(id);
                    knote.data = (complete + if profile.data_counts_half_open { half_open } else { 0 }) as isize;
                    if aborted {
                        knote.flags |= EV_EOF;
                    }
                    complete > 0 || aborted
                }
                Look::Stream { ready, data, eof } => {
                    let knote = self.knote_mut(id);
                    knote.data = data as isize;
                    if eof {
                        knote.flags |= EV_EOF;
                    }
                    ready || eof
                }
            },
        }
    }

    fn post_where(
        &mut self,
        source: SourceId,
        direction: Direction,
        wanted: impl Fn(&Profile) -> bool,
        sources: &mut impl Sources,
    ) {
        let filter = if direction == Direction::Write { EVFILT_WRITE } else { EVFILT_READ };
        let count = self.klists.get(source.0 as usize).map_or(0, Vec::len);
        for index in (0..count).rev() {
            let id = self.klists[source.0 as usize][index];
            let knote = self.knote(id);
            if knote.filter == filter && wanted(&self.profile(knote.queue)) {
                self.post_now(id, sources);
            }
        }
        self.run_tasks(sources);
    }

    fn post_now(&mut self, id: KnoteId, sources: &mut impl Sources) {
        if self.knotes.get(id.0).is_some() && self.evaluate(id, sources) {
            self.activate(id, sources);
        }
    }

    fn activate(&mut self, id: KnoteId, sources: &mut impl Sources) {
        self.knote_mut(id).active = true;
        self.enqueue_if_active(id, sources);
    }

    fn enqueue_if_active(&mut self, id: KnoteId, sources: &mut impl Sources) {
        let Some(knote) = self.knotes.get_mut(id.0) else { return };
        if !knote.active || knote.disabled || knote.queued {
            return;
        }
        knote.queued = true;
        let queue = knote.queue;
        let state = self.queue_mut(queue);
        let was_empty = state.ready.is_empty();
        state.ready.push_back(id);
        self.mark_dirty(queue);
        self.wake_watchers(queue, was_empty, sources);
    }

    fn wake_watchers(&mut self, queue: QueueId, was_empty: bool, sources: &mut impl Sources) {
        let state = self.queue_mut(queue);
        if state.watchers.is_empty() {
            return;
        }
        match state.profile.nested_post {
            NestedPost::OnNonEmpty if !was_empty => {}
            NestedPost::Task if state.task_scheduled => {}
            NestedPost::Task => {
                state.task_scheduled = true;
                self.tasks.push(queue);
            }
            NestedPost::OnNonEmpty | NestedPost::AtOnce => self.post_watchers(queue, sources),
        }
    }

    fn post_watchers(&mut self, queue: QueueId, sources: &mut impl Sources) {
        for index in 0..self.queue_mut(queue).watchers.len() {
            let id = self.queue_mut(queue).watchers[index];
            self.post_now(id, sources);
        }
    }

    /// Does what the kernel left to a task. That runs on its own thread; here, at the end of the call that caused it.
    fn run_tasks(&mut self, sources: &mut impl Sources) {
        while let Some(id) = self.tasks.pop() {
            if let Some(queue) = self.queues.get_mut(id.0) {
                queue.task_scheduled = false;
                self.post_watchers(id, sources);
            }
        }
    }

    fn dequeue(&mut self, id: KnoteId) {
        let knote = self.knote_mut(id);
        let queue = knote.queue;
        if std::mem::take(&mut knote.queued) {
            self.queue_mut(queue).ready.retain(|other| *other != id);
            self.mark_dirty(queue);
        }
    }

    fn drop_knote(&mut self, id: KnoteId, sources: &mut impl Sources) {
        self.dequeue(id);
        let Some(knote) = self.knotes.remove(id.0) else { return };
        let fd = knote.ident as i32;
        let direction = if knote.filter == EVFILT_WRITE { Direction::Write } else { Direction::Read };
        match knote.object {
            Object::Source(source) => {
                self.klists[source.0 as usize].retain(|other| *other != id);
                sources.detach(knote.queue, fd, direction, Target::Source, source);
            }
            Object::Queue(inner) => {
                self.queue_mut(inner).watchers.retain(|other| *other != id);
                sources.detach(knote.queue, fd, direction, Target::Queue(inner), SourceId(0));
            }
            Object::Timer => self.timers.retain(|other| *other != id),
            Object::User => {}
        }
        let queue = self.queue_mut(knote.queue);
        if matches!(knote.object, Object::Source(_) | Object::Queue(_)) {
            queue.by_fd[knote.ident][direction as usize] = None;
        } else {
            queue.others.retain(|other| *other != id);
        }
        self.mark_dirty(knote.queue);
    }

    fn find(&self, queue: QueueId, ident: usize, filter: i16) -> Option<KnoteId> {
        let queue = self.queues.get(queue.0)?;
        match filter {
            EVFILT_READ => (*queue.by_fd.get(ident)?)[Direction::Read as usize],
            EVFILT_WRITE => (*queue.by_fd.get(ident)?)[Direction::Write as usize],
            _ => {
                queue.others.iter().copied().find(|id| {
                    self.knotes.get(id.0).is_some_and(|knote| knote.ident == ident && knote.filter == filter)
                })
            }
        }
    }

    fn mark_dirty(&mut self, id: QueueId) {
        let queue = self.queue_mut(id);
        if !std::mem::replace(&mut queue.dirty, true) {
            self.dirty.push(id);
        }
    }

    fn profile(&self, queue: QueueId) -> Profile {
        self.queues.get(queue.0).expect("a knote's queue is open").profile
    }

    fn queue_mut(&mut self, queue: QueueId) -> &mut Queue {
        self.queues.get_mut(queue.0).expect("a knote's queue is open")
    }

    fn knote(&self, id: KnoteId) -> &Knote {
        self.knotes.get(id.0).expect("a listed knote exists")
    }

    fn knote_mut(&mut self, id: KnoteId) -> &mut Knote {
        self.knotes.get_mut(id.0).expect("a listed knote exists")
    }
}

/// A negative interval, where it is taken, fires once and at once, as 0 does. NOTE_ABSOLUTE and NOTE_MACHTIME are not there.
fn set_timer(knote: &mut Knote, change: &Kevent, now: u64, profile: &Profile) -> Result<(), Errno> {
    const UNITS: u32 = NOTE_SECONDS | NOTE_USECONDS | NOTE_NSECONDS;
    const ELSEWHERE: u32 = 0x0008 | 0x0100;
    let known = if profile.unknown_notes_are_taken { UNITS | ELSEWHERE } else { u32::MAX };
    let unit = match change.fflags & known {
        0 => 1_000_000,
        NOTE_SECONDS => 1_000_000_000,
        NOTE_USECONDS => 1_000,
        NOTE_NSECONDS => 1,
        _ => return Err(Errno(EINVAL)),
    };
    if change.data < 0 && profile.negative_timer_refused || change.data == 0 && profile.zero_timer_refused {
        return Err(Errno(EINVAL));
    }
    knote.period = u64::try_from(change.data).unwrap_or(0).checked_mul(unit).ok_or(Errno(libc::ERANGE))?;
    let at_once = knote.period == 0;
    knote.fired = usize::from(at_once);
    knote.deadline = (!at_once).then(|| now.saturating_add(knote.period));
    Ok(())
}

fn touch_user(knote: &mut Knote, change: &Kevent) {
    let fflags = change.fflags & NOTE_FFLAGSMASK;
    match change.fflags & NOTE_FFCTRLMASK {
        NOTE_FFAND => knote.user_fflags &= fflags,
        NOTE_FFOR => knote.user_fflags |= fflags,
        NOTE_FFCOPY => knote.user_fflags = fflags,
        _ => {}
    }
    knote.user_data = change.data;
    if change.fflags & NOTE_TRIGGER != 0 {
        knote.fired = 1;
    }
}
