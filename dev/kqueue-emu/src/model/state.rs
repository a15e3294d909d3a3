//! The state of the model: its queues, their knotes, and how they are found. Nothing here changes a knote.

use std::collections::VecDeque;

use super::ids::{KnoteId, QueueId, Slab, SourceId};
use super::sources::Direction;
use crate::kevent::*;
use crate::profile::Profile;

/// What a knote watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    Source(SourceId),
    Queue(QueueId),
    Timer,
    User,
}

/// One registration.
#[derive(Debug)]
pub(super) struct Knote {
    pub(super) queue: QueueId,
    pub(super) ident: usize,
    pub(super) filter: i16,
    pub(super) flags: u16,
    pub(super) fflags: u32,
    pub(super) data: isize,
    /// The caller's pointer, stored as a number so that a queue can be used from any thread.
    pub(super) udata: usize,
    pub(super) object: Object,
    pub(super) active: bool,
    pub(super) queued: bool,
    pub(super) disabled: bool,
    /// The socket was not a listener when the knote was attached, and the kernel asks only then.
    pub(super) stream_only: bool,
    /// EVFILT_USER: triggered. EVFILT_TIMER: expirations not reported yet.
    pub(super) fired: usize,
    /// EVFILT_USER: the program's flags.
    pub(super) user_fflags: u32,
    /// EVFILT_USER: the program's data.
    pub(super) user_data: isize,
    /// EVFILT_TIMER: when it expires next.
    pub(super) deadline: Option<u64>,
    /// EVFILT_TIMER: the nanoseconds from one expiration to the next; 0 for a timer that fires immediately.
    pub(super) period: u64,
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) profile: Profile,
    /// The knotes of each descriptor, by its number. The kernels too find a knote from the descriptor.
    pub(super) by_fd: Vec<[Option<KnoteId>; 2]>,
    /// Knotes of timers and user events.
    pub(super) others: Vec<KnoteId>,
    /// Queued knotes, in the order in which they are reported.
    pub(super) ready: VecDeque<KnoteId>,
    /// Knotes of other queues that watch this one.
    pub(super) watchers: Vec<KnoteId>,
    pub(super) task_scheduled: bool,
    /// How far it is above the queues that it watches; 0 until it is part of a nesting.
    pub(super) level: u32,
    pub(super) dirty: bool,
}

/// Queues that may watch each other, and their knotes.
#[derive(Debug)]
pub struct Model {
    pub(super) queues: Slab<Queue>,
    pub(super) knotes: Slab<Knote>,
    /// The knotes on each source, by its number.
    pub(super) klists: Vec<Vec<KnoteId>>,
    pub(super) timers: Vec<KnoteId>,
    /// Queues whose watchers a task is to post.
    pub(super) tasks: Vec<QueueId>,
    /// The queues that [`take_dirty`](Model::take_dirty) returns.
    pub(super) dirty: Vec<QueueId>,
    /// Memory for the knotes that a scan sets aside; empty between scans.
    pub(super) suppressed: Vec<KnoteId>,
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// A model without queues.
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

    /// The number of queued knotes. A queue that watches this one reports it, and poll(2) says readable unless it is 0.
    pub fn len(&self, queue: QueueId) -> usize {
        self.queues.get(queue.0).map_or(0, |queue| queue.ready.len())
    }

    /// Whether no knote is queued.
    pub fn is_empty(&self, queue: QueueId) -> bool {
        self.len(queue) == 0
    }

    /// Whether the queue exists.
    pub fn is_open(&self, queue: QueueId) -> bool {
        self.queues.get(queue.0).is_some()
    }

    /// When the first timer of the queue expires.
    pub fn next_deadline(&self, queue: QueueId) -> Option<u64> {
        let knotes = self.timers.iter().filter_map(|id| self.knotes.get(id.0));
        knotes.filter(|knote| knote.queue == queue).filter_map(|knote| knote.deadline).min()
    }

    /// The descriptors that are watched by any queue.
    pub fn watched_fds(&self) -> impl Iterator<Item = i32> + '_ {
        let queues = (0..self.queues.places()).filter_map(|place| self.queues.at(place));
        let fds = queues.flat_map(|queue| queue.by_fd.iter().enumerate());
        fds.filter(|(_, knotes)| **knotes != [None; 2]).map(|(fd, _)| fd as i32)
    }

    /// The queue that a knote watches, if it watches a queue.
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

    /// Takes a queue whose [`len`](Self::len) or [`next_deadline`](Self::next_deadline) may have changed since it was
    /// last taken.
    pub fn take_dirty(&mut self) -> Option<QueueId> {
        while let Some(id) = self.dirty.pop() {
            if let Some(queue) = self.queues.get_mut(id.0) {
                queue.dirty = false;
                return Some(id);
            }
        }
        None
    }

    pub(super) fn mark_dirty(&mut self, id: QueueId) {
        let queue = self.queue_mut(id);
        if !std::mem::replace(&mut queue.dirty, true) {
            self.dirty.push(id);
        }
    }

    pub(super) fn find(&self, queue: QueueId, ident: usize, filter: i16) -> Option<KnoteId> {
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

    pub(super) fn profile(&self, queue: QueueId) -> Profile {
        self.queues.get(queue.0).expect("a knote's queue is open").profile
    }

    pub(super) fn queue_mut(&mut self, queue: QueueId) -> &mut Queue {
        self.queues.get_mut(queue.0).expect("a knote's queue is open")
    }

    pub(super) fn knote(&self, id: KnoteId) -> &Knote {
        self.knotes.get(id.0).expect("a listed knote exists")
    }

    pub(super) fn knote_mut(&mut self, id: KnoteId) -> &mut Knote {
        self.knotes.get_mut(id.0).expect("a listed knote exists")
    }
}
