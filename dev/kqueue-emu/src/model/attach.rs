//! A new knote: the first EV_ADD of a filter.

use libc::{EBADF, EINVAL};

use super::ids::{KnoteId, QueueId};
use super::sources::{Direction, Look, Sources, Target};
use super::state::{Knote, Model, Object};
use super::timer::set_timer;
use crate::kevent::*;

impl Model {
    /// Makes the knote that a change asks for.
    pub(super) fn attach(
        &mut self,
        queue: QueueId,
        direction: Option<Direction>,
        change: &Kevent,
        now: u64,
        sources: &mut impl Sources,
    ) -> Result<KnoteId, Errno> {
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
        Ok(id)
    }

    /// Starts to watch a descriptor, and returns what the knote watches.
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
}
