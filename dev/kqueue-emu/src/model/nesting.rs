//! Queues that watch queues: which nestings are refused.

use super::ids::QueueId;
use super::state::Model;

impl Model {
    /// Whether a nesting is refused by its levels. This is how XNU prevents cycles: it refuses what could be part of
    /// one.
    pub(super) fn is_level_refused(&self, outer: QueueId, inner: QueueId) -> bool {
        let level = |queue: QueueId| self.queues.get(queue.0).map_or(0, |queue| queue.level);
        self.profile(outer).nesting_has_levels && level(outer) > 0 && level(outer) < level(inner)
    }

    /// Raises the levels of a queue and of the one that it starts to watch. They stay raised after the nesting ends.
    pub(super) fn raise_level(&mut self, outer: QueueId, inner: QueueId) {
        let below = &mut self.queue_mut(inner).level;
        let least = (*below + 1).max(2);
        *below = (*below).max(1);
        let above = &mut self.queue_mut(outer).level;
        *above = (*above).max(least);
    }

    /// Whether `outer` is `inner`, or watches it through any number of queues.
    pub(super) fn watches(&self, outer: QueueId, inner: QueueId) -> bool {
        outer == inner
            || self.queues.get(inner.0).is_some_and(|queue| {
                let mut watchers = queue.watchers.iter().filter_map(|id| self.knotes.get(id.0));
                watchers.any(|knote| self.watches(outer, knote.queue))
            })
    }
}
