//! The changes that a program passes to kevent(): adding, changing, enabling, disabling and deleting knotes.

use libc::{EBADF, EINVAL, ENOENT};

use super::ids::{KnoteId, QueueId};
use super::sources::{Direction, Sources, Target};
use super::state::{Knote, Model, Object};
use super::timer::set_timer;
use crate::kevent::*;
use crate::profile::{Enable, Touch};

impl Model {
    /// Applies `changes` at the time `now` (in nanoseconds). Returns what kevent() returns, or `None` when it goes on
    /// to fetch events.
    ///
    /// The errors and receipts of changes are events themselves: they take slots of `events`, and then nothing is
    /// fetched.
    ///
    /// # Errors
    /// Returns EBADF if the queue is closed, and the error of a change for which no slot is left. The remaining changes are
    /// skipped.
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
        let mut result = Ok(());
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
                result = Err(error);
                break;
            } else if !profile.receipt_keeps_flags {
                // The BSDs leave the loop here, before they have stored the number of receipts.
                self.run_tasks(sources);
                return Ok(Some(0));
            }
        }
        self.run_tasks(sources);
        result.map(|()| (used > 0).then_some(used))
    }

    /// Applies one change.
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
            None => {
                let id = self.attach(queue, direction, change, now, sources)?;
                self.settle(id, change, true, false, sources);
                Ok(())
            }
            Some(id) if deletes => {
                self.drop_knote(id, sources);
                Ok(())
            }
            Some(id) => self.touch(id, change, now, sources),
        }
    }

    /// Changes a knote that exists.
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

    /// Finishes a change to a knote that stays: evaluates its filter, and applies EV_DISABLE and EV_ENABLE.
    fn settle(&mut self, id: KnoteId, change: &Kevent, touches: bool, was_disabled: bool, sources: &mut impl Sources) {
        let profile = self.profile(self.knote(id).queue);
        let disables = change.flags & EV_DISABLE != 0;
        // On FreeBSD, enabling overrules disabling. The other kernels disable, and then enable.
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
            // Done first, so that an outer queue is not posted for what is found now.
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
}

/// Applies a change to a user event: its flags, its data, and whether it is triggered.
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
