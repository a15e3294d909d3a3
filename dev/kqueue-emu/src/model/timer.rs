//! EVFILT_TIMER: setting a timer, and what happens when it expires.

use libc::EINVAL;

use super::ids::KnoteId;
use super::sources::Sources;
use super::state::{Knote, Model};
use crate::kevent::*;
use crate::profile::Profile;

impl Model {
    /// Expires the timers that are due at the time `now`, in the order of their deadlines.
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
            // The period is not zero: a timer with a period of zero has no deadline.
            let missed = (now - deadline).checked_div(knote.period).unwrap_or(0);
            knote.fired += if once && !profile.late_oneshot_counts { 1 } else { missed as usize + 1 };
            knote.deadline = (!once).then(|| deadline + (missed + 1) * knote.period);
            self.mark_dirty(queue);
            self.post_now(id, sources);
        }
        self.run_tasks(sources);
    }
}

/// Sets a knote's timer. On the kernels that accept a negative interval, it fires once and immediately, as an interval
/// of 0 does. NOTE_ABSOLUTE and NOTE_MACHTIME are not implemented.
pub(super) fn set_timer(knote: &mut Knote, change: &Kevent, now: u64, profile: &Profile) -> Result<(), Errno> {
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
