//! The events that kevent() hands to the program.

use super::ids::QueueId;
use super::sources::Sources;
use super::state::Model;
use crate::kevent::*;
use crate::profile::NestedPost;

impl Model {
    /// Fetches events, as many as `events` has room for.
    pub fn fetch(&mut self, queue: QueueId, events: &mut [Kevent], sources: &mut impl Sources) -> usize {
        let used = self.scan(queue, events, sources);
        self.run_tasks(sources);
        used
    }

    /// Reports each queued knote once.
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
                // XNU sets the knotes that it reports aside, and queues them again at the end of the scan.
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
}
