//! Removing knotes: EV_DELETE, EV_ONESHOT, and closed descriptors and queues.

use super::ids::{KnoteId, QueueId, SourceId};
use super::sources::{Direction, Sources, Target};
use super::state::{Model, Object};
use crate::kevent::EVFILT_WRITE;

impl Model {
    /// Removes the knotes of a descriptor that is being closed, from every queue and without an event.
    pub fn close_fd(&mut self, fd: i32, sources: &mut impl Sources) {
        for place in 0..self.queues.places() {
            let Some(queue) = self.queues.at(place) else { continue };
            let Some(knotes) = usize::try_from(fd).ok().and_then(|fd| queue.by_fd.get(fd)).copied() else { continue };
            for knote in knotes.into_iter().flatten() {
                self.drop_knote(knote, sources);
            }
        }
    }

    /// Removes a queue whose last descriptor is being closed, with its own knotes and those that watch it.
    pub fn close_queue(&mut self, queue: QueueId, sources: &mut impl Sources) {
        let Some(state) = self.queues.get_mut(queue.0) else { return };
        let own = state.by_fd.iter().flatten().flatten().copied().chain(state.others.iter().copied());
        let knotes: Vec<KnoteId> = own.chain(state.watchers.iter().copied()).collect();
        for knote in knotes {
            self.drop_knote(knote, sources);
        }
        self.queues.remove(queue.0);
    }

    /// Removes one knote.
    pub(super) fn drop_knote(&mut self, id: KnoteId, sources: &mut impl Sources) {
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

    /// Takes a knote out of the knotes that its queue will look at.
    pub(super) fn dequeue(&mut self, id: KnoteId) {
        let knote = self.knote_mut(id);
        let queue = knote.queue;
        if std::mem::take(&mut knote.queued) {
            self.queue_mut(queue).ready.retain(|other| *other != id);
            self.mark_dirty(queue);
        }
    }
}
