//! One listener of the engine: its state, its limits, and how it pauses and resumes.

use std::os::fd::RawFd;
use std::time::Duration;

use super::guess::Guess;
use super::limits::Limits;
use super::pause::Pause;
use super::rate::Rate;
use super::share::Share;
use super::shortage::Shortage;
use super::statistics::{Counters, Stats};
use crate::errno::Errno;
use crate::kernel::Arm;
use crate::token::Token;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    /// Not armed: nobody waits, or its batch is being accepted.
    Idle,
    /// The kernel will say when it is ready.
    Armed,
    /// Closed, or refused by the queue. Only its statistics are left.
    Closed,
    /// accept(2) said that it is not a listening socket. No kernel would ever post an event for it, so nobody may wait.
    Broken(Errno),
    /// Accepts nothing until a time, or until a limit allows it.
    Paused { why: Pause, since: Duration, until: Duration },
}

pub(super) struct Listener<D> {
    pub(super) fd: RawFd,
    pub(super) data: D,
    pub(super) limits: Limits,
    pub(super) state: State,
    /// The next arm must delete the older registration.
    pub(super) delete_first: bool,
    pub(super) shortage: Shortage,
    rate: Rate,
    pub(super) guess: Guess,
    pub(super) counters: Counters,
    /// What is known of the other workers that share it, if there are any.
    pub(super) share: Option<Share>,
}

impl<D> Listener<D> {
    pub(super) fn new(fd: RawFd, limits: Limits, data: D) -> Self {
        Self {
            fd,
            data,
            limits,
            state: State::Idle,
            delete_first: true,
            shortage: Shortage::default(),
            rate: Rate::default(),
            guess: Guess::UNKNOWN,
            counters: Counters::default(),
            share: None,
        }
    }

    pub(super) fn set_limits(&mut self, limits: Limits, now: Duration) {
        self.limits = limits;
        if let Some(rate) = limits.max_rate {
            self.rate.change(rate, now);
        }
        // A pause for a limit that no longer applies ends.
        match self.state {
            State::Paused { why: why @ (Pause::Full | Pause::Rate), .. } if self.reached_limit(now) != Some(why) => {
                self.resume(now);
            }
            _ => {}
        }
    }

    /// The limit that forbids accepting now, if there is one.
    pub(super) fn reached_limit(&self, now: Duration) -> Option<Pause> {
        if self.limits.max_connections.is_some_and(|max| self.counters.active() >= max) {
            Some(Pause::Full)
        } else if self.limits.max_rate.is_some() && self.rate.is_used_up(now) {
            Some(Pause::Rate)
        } else {
            None
        }
    }

    pub(super) fn pause(&mut self, why: Pause, now: Duration) {
        self.counters.count_pause(why);
        self.state = State::Paused { why, since: now, until: why.until(now, &self.rate) };
        self.delete_first = true;
        self.publish();
    }

    /// Tells the other workers that share it how many connections this one has, and whether it accepts.
    pub(super) fn publish(&self) {
        if let Some(share) = &self.share {
            let accepts = matches!(self.state, State::Armed | State::Paused { why: Pause::Others, .. });
            share.publish(self.counters.active(), accepts && self.limits.counted);
        }
    }

    /// How many connections it may accept before others should. Where nobody counts them, there is nothing to compare.
    pub(super) fn room(&mut self, now: Duration, has_waited: bool) -> u32 {
        let active = self.counters.active();
        match &mut self.share {
            Some(share) if self.limits.counted => share.room(active, now, has_waited),
            _ => u32::MAX,
        }
    }

    pub(super) fn backlog_is_empty(&mut self) {
        self.shortage.backlog_is_empty();
        if let Some(share) = &mut self.share {
            share.backlog_is_empty();
        }
    }

    /// Puts off the end of a pause, if the listener is paused.
    pub(super) fn stay_paused(&mut self, now: Duration) {
        if let State::Paused { why, until, .. } = &mut self.state {
            *until = why.until(now, &self.rate);
        }
    }

    /// Ends a pause, if the listener is paused.
    pub(super) fn resume(&mut self, now: Duration) {
        if let State::Paused { why, since, .. } = self.state {
            self.counters.count_paused(why, now.saturating_sub(since));
            self.state = State::Idle;
        }
    }

    pub(super) fn count_accepted(&mut self, now: Duration) {
        self.counters.count_accepted();
        if self.limits.counted {
            self.counters.count_active();
        }
        if let Some(rate) = self.limits.max_rate {
            self.rate.count(rate, now);
        }
    }

    pub(super) fn count_ended(&mut self, connections: u32) {
        self.counters.count_ended(connections);
    }

    pub(super) fn to_arm(&self, token: Token) -> Arm {
        Arm { fd: self.fd, token, delete_first: self.delete_first, result: Ok(()) }
    }

    /// The statistics so far, with the time of a pause that is not over yet.
    pub(super) fn stats(&self, now: Duration) -> Stats {
        self.counters.stats(match self.state {
            State::Paused { why, since, .. } => Some((why, now.saturating_sub(since))),
            _ => None,
        })
    }
}
