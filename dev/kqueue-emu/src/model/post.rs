//! Posting: how an object that may be ready leads to a queued knote.
//!
//! A posted knote's filter is evaluated. If it says yes, the knote becomes active and is queued, and the knotes of the
//! queues that watch its queue are posted in turn.

use super::ids::{KnoteId, QueueId, SourceId};
use super::sources::{Direction, Look, Sources};
use super::state::{Model, Object};
use crate::kevent::*;
use crate::profile::{NestedPost, Profile};

impl Model {
    /// Posts a knote: its object may have become ready.
    pub fn post(&mut self, knote: KnoteId, sources: &mut impl Sources) {
        self.post_now(knote, sources);
        self.run_tasks(sources);
    }

    /// Posts every knote of one direction on `source`, the newest first as in the kernels.
    pub fn post_source(&mut self, source: SourceId, direction: Direction, sources: &mut impl Sources) {
        self.post_where(source, direction, |_| true, sources);
    }

    /// Tells the model that a connection was taken from the backlog of `source`. Posts its knotes if the kernel does
    /// so.
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

    /// Posts the knotes of one direction on `source` whose queue has a profile that passes the test.
    fn post_where(
        &mut self,
        source: SourceId,
        direction: Direction,
        is_posted: impl Fn(&Profile) -> bool,
        sources: &mut impl Sources,
    ) {
        let filter = if direction == Direction::Write { EVFILT_WRITE } else { EVFILT_READ };
        let count = self.klists.get(source.0 as usize).map_or(0, Vec::len);
        for index in (0..count).rev() {
            let id = self.klists[source.0 as usize][index];
            let knote = self.knote(id);
            if knote.filter == filter && is_posted(&self.profile(knote.queue)) {
                self.post_now(id, sources);
            }
        }
        self.run_tasks(sources);
    }

    /// Posts a knote, and leaves for later what the kernel leaves to a task.
    pub(super) fn post_now(&mut self, id: KnoteId, sources: &mut impl Sources) {
        if self.knotes.get(id.0).is_some() && self.evaluate(id, sources) {
            self.activate(id, sources);
        }
    }

    /// Evaluates the knote's filter, and stores what it found for the event. The knote may be gone afterwards.
    pub(super) fn evaluate(&mut self, id: KnoteId, sources: &mut impl Sources) -> bool {
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

    /// Marks a knote as active, and queues it unless it is disabled.
    pub(super) fn activate(&mut self, id: KnoteId, sources: &mut impl Sources) {
        self.knote_mut(id).active = true;
        self.enqueue_if_active(id, sources);
    }

    /// Queues a knote that is active and enabled.
    pub(super) fn enqueue_if_active(&mut self, id: KnoteId, sources: &mut impl Sources) {
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

    /// Posts the knotes that watch a queue in which a knote was queued, at the time at which the kernel does so.
    pub(super) fn wake_watchers(&mut self, queue: QueueId, was_empty: bool, sources: &mut impl Sources) {
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

    /// Does what the kernel leaves to a task. The kernel's task has a thread of its own; here it runs at the end of the
    /// call that caused it.
    pub(super) fn run_tasks(&mut self, sources: &mut impl Sources) {
        while let Some(id) = self.tasks.pop() {
            if let Some(queue) = self.queues.get_mut(id.0) {
                queue.task_scheduled = false;
                self.post_watchers(id, sources);
            }
        }
    }
}
