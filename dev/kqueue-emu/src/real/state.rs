//! The queues of this process: one model on real descriptors, behind one lock that is never held while waiting.

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use libc::{ENOMEM, EPOLL_CTL_MOD, EPOLLIN};

use super::files::{Epolls, Files, KICK, TIMER, WRITES};
use super::own::{close_all, close_own, hide};
use crate::kevent::Errno;
use crate::model::{KnoteId, Model, QueueId};
use crate::system;

/// How many forks are between the first process and this one. A queue does not survive fork(), so a child has none of
/// its parent's state: each generation of processes has a state of its own.
static GENERATION: AtomicUsize = AtomicUsize::new(0);

static STATES: [Mutex<Option<Real>>; 8] = [const { Mutex::new(None) }; 8];

/// The process that the state belongs to, or 0 before its first kqueue(). A child made by a bare clone() runs no fork
/// handler, but finds its parent's number here, and so has no state.
static OWNER: AtomicI32 = AtomicI32::new(0);

fn state() -> MutexGuard<'static, Option<Real>> {
    let generation = GENERATION.load(Ordering::Relaxed) % STATES.len();
    STATES[generation].lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `action` on the state, if this process has a queue.
pub(super) fn with<T>(action: impl FnOnce(&mut Real) -> T) -> Option<T> {
    if OWNER.load(Ordering::Relaxed) != system::pid() {
        return None;
    }
    state().as_mut().map(action)
}

/// Runs `action` on the state, which is created first if this process has none.
pub(super) fn with_new<T>(action: impl FnOnce(&mut Real) -> Result<T, Errno>) -> Result<T, Errno> {
    static FORK_HANDLER: Once = Once::new();
    FORK_HANDLER.call_once(|| system::in_forked_child(after_fork));
    if GENERATION.load(Ordering::Relaxed) >= STATES.len() {
        return Err(Errno(ENOMEM));
    }
    let mut state = state();
    let real = match &mut *state {
        Some(real) => real,
        empty => empty.insert(Real::new()?),
    };
    OWNER.store(system::pid(), Ordering::Relaxed);
    action(real)
}

/// Takes no lock: another thread of the parent may have held it at the time of the fork.
extern "C" fn after_fork() {
    close_all();
    GENERATION.fetch_add(1, Ordering::Relaxed);
    OWNER.store(0, Ordering::Relaxed);
}

#[derive(Debug)]
pub(super) struct Real {
    pub(super) model: Model,
    pub(super) files: Files,
}

impl Real {
    fn new() -> Result<Self, Errno> {
        let readable = hide(system::always_readable()?);
        let spare = match system::dup_from(readable, 3) {
            Ok(spare) => hide(spare),
            Err(error) => {
                close_own(readable);
                return Err(error);
            }
        };
        Ok(Self { model: Model::new(), files: Files::new(readable, spare) })
    }

    /// Takes the edges of a queue from Linux, and those of the queues that it watches.
    pub(super) fn harvest(&mut self, queue: QueueId) {
        let Some(&Epolls { epoll, writes, .. }) = self.files.epolls.get(&queue) else { return };
        let mut tokens = [0; 64];
        loop {
            let count = system::epoll_take(epoll, &mut tokens);
            for token in &tokens[..count] {
                match *token {
                    KICK | TIMER => {}
                    WRITES => self.harvest_writes(writes),
                    token => {
                        let knote = KnoteId::from_bits(token);
                        match self.model.watched_queue(knote) {
                            Some(inner) => self.harvest(inner),
                            None => self.model.post(knote, &mut self.files),
                        }
                    }
                }
            }
            if count < tokens.len() {
                break;
            }
        }
    }

    fn harvest_writes(&mut self, writes: i32) {
        let mut tokens = [0; 64];
        let count = system::epoll_take(writes, &mut tokens);
        for token in &tokens[..count] {
            self.model.post(KnoteId::from_bits(*token), &mut self.files);
        }
    }

    /// Brings the epolls and timers up to date with the model: an epoll is readable if its queue has something to
    /// report.
    pub(super) fn sync(&mut self) {
        while let Some(queue) = self.model.take_dirty() {
            let Some(epolls) = self.files.epolls.get_mut(&queue) else { continue };
            let kicked = !self.model.is_empty(queue);
            if kicked != epolls.kicked {
                epolls.kicked = kicked;
                let events = if kicked { EPOLLIN as u32 } else { 0 };
                let _ = system::epoll_ctl(epolls.epoll, EPOLL_CTL_MOD, self.files.readable, events, KICK);
            }
            let armed = self.model.next_deadline(queue);
            if armed != epolls.armed {
                epolls.armed = armed;
                system::timer_set(epolls.timer, armed);
            }
        }
    }
}
