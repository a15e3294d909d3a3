//! The deadlines of waiting fibers, all on the one timer of the VM's queue.
//!
//! Janet has timeouts of its own, but each stays in its heap until it expires, and keeps its fiber alive. A server that
//! gives every request a minute would hold a minute's worth of requests in memory. Here, setting a deadline only stores
//! a number.

use std::ffi::c_void;
use std::time::Duration;

use janetrs::Janet;
use janetrs::lowlevel as c;

use crate::value::{string, tuple};

/// The shortest time between two looks at the deadlines. A wait ends at the second look after its deadline.
const TICK: Duration = Duration::from_millis(20);

/// Names the entry in which the deadline of one fiber is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(usize);

/// The error that ends a wait at its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A keyword with this name.
    Keyword(&'static str),
    /// The tuple that refuses a request with this status and reason (`reject` in janet/kqnet/http/errors.janet).
    Reject(u16, &'static str),
    /// The tuple that says why a client counts as gone (`gone` in the same file).
    Gone(&'static str),
}

impl Reason {
    fn value(self) -> Janet {
        match self {
            Self::Keyword(name) => Janet::keyword(name.into()),
            Self::Reject(status, text) => {
                tuple(&[Janet::keyword("kqnet/reject".into()), Janet::number(status.into()), string(text)])
            }
            Self::Gone(text) => tuple(&[Janet::keyword("kqnet/gone".into()), string(text)]),
        }
    }
}

/// A function, and its argument. It is called when the deadline has passed, and returns a later deadline, or `None` to end
/// the wait.
pub type Look = (fn(*mut c_void, Duration) -> Option<Duration>, *mut c_void);

struct Entry {
    fiber: *mut c::JanetFiber,
    at: Option<Duration>,
    reason: Reason,
    /// The deadline had passed already at the last look.
    has_passed: bool,
    look: Option<Look>,
}

/// The deadlines of a VM.
#[derive(Default)]
pub struct Deadlines {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    /// The time of the next look, if there is a deadline.
    look_at: Option<Duration>,
}

impl Deadlines {
    /// Makes a slot for a fiber, which must be a task. The slot must be removed before the task ends.
    pub fn add(&mut self, fiber: *mut c::JanetFiber, look: Option<Look>) -> Slot {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() - 1
        });
        self.entries[index] = Some(Entry { fiber, at: None, reason: Reason::Keyword(""), has_passed: false, look });
        Slot(index)
    }

    /// Has a function called at the deadlines of a slot.
    pub fn look_with(&mut self, slot: Slot, look: Look) {
        if let Some(entry) = &mut self.entries[slot.0] {
            entry.look = Some(look);
        }
    }

    /// Removes a slot and its deadline.
    pub fn remove(&mut self, slot: Slot) {
        if self.entries[slot.0].take().is_some() {
            self.free.push(slot.0);
        }
    }

    /// Clears all deadlines.
    pub fn clear(&mut self) {
        self.entries.iter_mut().flatten().for_each(|entry| entry.at = None);
        self.look_at = None;
    }

    /// Sets or clears a deadline. Returns the new time at which the queue must wake, or `None` if it wakes early
    /// enough already.
    pub fn set(&mut self, slot: Slot, at: Option<Duration>, reason: Reason) -> Option<Duration> {
        let entry = self.entries[slot.0].as_mut()?;
        (entry.at, entry.reason, entry.has_passed) = (at, reason, false);
        let at = at?;
        if self.look_at.is_none_or(|look_at| at + TICK < look_at) {
            self.look_at = Some(at);
            return Some(at);
        }
        None
    }

    /// Ends the waits whose deadlines have passed. Returns the time at which the queue must wake next.
    pub fn expire(&mut self, now: Duration) -> Option<Duration> {
        if self.look_at.is_none_or(|at| at > now) {
            return None;
        }
        let mut next: Option<Duration> = None;
        for entry in self.entries.iter_mut().flatten() {
            match entry.at {
                Some(at) if at <= now => {
                    // What the fiber waits for may have come in time, although nobody has read it yet. It will have been
                    // read by the next look.
                    if entry.has_passed {
                        (entry.at, entry.has_passed) = (entry.look.and_then(|(look, of)| look(of, now)), false);
                        match entry.at {
                            Some(at) => next = Some(next.map_or(at, |next| next.min(at))),
                            None => cancel(entry.fiber, entry.reason),
                        }
                    } else {
                        entry.has_passed = true;
                        next = Some(now);
                    }
                }
                Some(at) => next = Some(next.map_or(at, |next| next.min(at))),
                None => {}
            }
        }
        self.look_at = next.map(|next| next.max(now + TICK));
        self.look_at
    }
}

fn cancel(fiber: *mut c::JanetFiber, reason: Reason) {
    // SAFETY: the slot is removed before its task ends (`add`), so the fiber is live. janet_cancel sends the same signal.
    unsafe { c::janet_schedule_signal(fiber, reason.value().into(), c::JanetSignal_JANET_SIGNAL_ERROR) };
}
