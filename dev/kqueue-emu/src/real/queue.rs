//! kqueue() and kevent() on real descriptors.

use libc::{EBADF, EPOLL_CTL_ADD, EPOLLIN};

use super::choice::{kernel, mark_used};
use super::files::{Epolls, KICK, TIMER, WRITES};
use super::own::{close_own, hide, own};
use super::state::{Real, with, with_new};
use crate::kevent::{Errno, Kevent};
use crate::model::QueueId;
use crate::profile::Profile;
use crate::system;

/// Makes a queue with the semantics of the chosen kernel.
pub(crate) fn kqueue() -> Result<i32, Errno> {
    let profile = kernel().profile();
    let epoll = system::epoll_create()?;
    let added = with_new(|real| real.add_queue(epoll, profile));
    if let Err(error) = added {
        let _ = system::close_fd(epoll);
        return Err(error);
    }
    Ok(epoll)
}

/// Adds two descriptors to the epoll of a new queue: its timer, and the epoll for what is watched for writing.
fn timer_and_writes(epoll: i32) -> Result<(i32, i32), Errno> {
    let timer = system::timer_create().map(hide)?;
    let added = system::epoll_ctl(epoll, EPOLL_CTL_ADD, timer, EPOLLIN as u32, TIMER);
    let writes = added.and_then(|()| system::epoll_create().map(hide)).inspect_err(|_| close_own(timer))?;
    system::epoll_ctl(epoll, EPOLL_CTL_ADD, writes, EPOLLIN as u32, WRITES).inspect_err(|_| {
        close_own(timer);
        close_own(writes);
    })?;
    Ok((timer, writes))
}

/// Applies changes and fetches events. Waits for events until the timeout is over, or for ever without one.
pub(crate) fn kevent(kq: i32, changes: &[Kevent], events: &mut [Kevent], timeout: Option<u64>) -> Result<usize, Errno> {
    let deadline = timeout.map(|timeout| system::now().saturating_add(timeout));
    let queue = with(|real| real.files.by_fd.get(&kq).copied()).flatten().ok_or(Errno(EBADF))?;
    let mut changes = Some(changes);
    loop {
        let count = with(|real| real.kevent(queue, changes.take(), events)).unwrap_or(Err(Errno(EBADF)))?;
        let left = match deadline {
            Some(deadline) => match deadline.saturating_sub(system::now()) {
                0 => return Ok(count.unwrap_or(0)),
                left => Some(left),
            },
            None => None,
        };
        if let Some(count) = count {
            return Ok(count);
        }
        system::wait_readable(kq, left)?;
    }
}

impl Real {
    fn add_queue(&mut self, epoll: i32, profile: Profile) -> Result<(), Errno> {
        mark_used();
        // A number that is already known was closed without the emulation's knowledge.
        self.close_queue(epoll);
        system::epoll_ctl(epoll, EPOLL_CTL_ADD, self.files.readable, 0, KICK)?;
        // Made now, although there may never be a timer: in a kernel neither a timer nor a knote needs a descriptor.
        // Later there may be none left, or the program may have counted those that are.
        let (timer, writes) = timer_and_writes(epoll)?;
        let queue = self.model.kqueue(profile);
        self.files.by_fd.insert(own(epoll), queue);
        self.files.epolls.insert(queue, Epolls { epoll, writes, timer, kicked: false, armed: None });
        Ok(())
    }

    /// Applies changes and fetches events without waiting. Returns `None` when there is nothing to report yet.
    fn kevent(
        &mut self,
        queue: QueueId,
        changes: Option<&[Kevent]>,
        events: &mut [Kevent],
    ) -> Result<Option<usize>, Errno> {
        if !self.model.is_open(queue) {
            return Err(Errno(EBADF));
        }
        self.harvest(queue);
        self.model.tick(system::now(), &mut self.files);
        if let Some(changes) = changes {
            let applied = self.model.apply(queue, changes, events, system::now(), &mut self.files);
            if !matches!(applied, Ok(None)) {
                self.sync();
                return applied;
            }
            // A descriptor that is ready when it is added to epoll causes an edge at once. The knote was evaluated when
            // it was attached, so this edge must not become a second event.
            self.harvest(queue);
        }
        let count = self.model.fetch(queue, events, &mut self.files);
        self.sync();
        Ok(if count > 0 || events.is_empty() { Some(count) } else { None })
    }
}
