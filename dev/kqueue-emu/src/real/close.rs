//! What close(2) and its like do to knotes and queues.

use libc::{EBADF, EPOLL_CTL_MOD, EPOLLIN};

use super::files::KICK;
use super::own::{close_own, disown};
use super::state::{Real, with};
use crate::kevent::Errno;
use crate::system;

/// To be called before close(2) of `fd`: removes its knotes, or the queue that it is.
///
/// # Errors
/// Returns EBADF for a descriptor of the emulation itself, which the program must not close.
pub(crate) fn closing(fd: i32) -> Result<(), Errno> {
    with(|real| {
        if real.files.is_hidden(fd) {
            return Err(Errno(EBADF));
        }
        real.closing(fd);
        Ok(())
    })
    .unwrap_or(Ok(()))
}

/// To be called before `to` becomes a duplicate of `from`.
///
/// # Errors
/// Returns the error of [`closing`].
pub(crate) fn replacing(from: i32, to: i32) -> Result<(), Errno> {
    if from != to && system::is_open(from) { closing(to) } else { Ok(()) }
}

/// To be called before close_range(2).
pub(crate) fn closing_range(first: u32, last: u32) {
    with(|real| {
        let watched = real.model.watched_fds();
        let fds: Vec<i32> = watched.chain(real.files.by_fd.keys().copied()).collect();
        for fd in fds {
            if u32::try_from(fd).is_ok_and(|fd| (first..=last).contains(&fd)) {
                real.closing(fd);
            }
        }
    });
}

impl Real {
    fn closing(&mut self, fd: i32) {
        if !self.close_queue(fd) {
            self.model.close_fd(fd, &mut self.files);
        }
        self.sync();
    }

    pub(super) fn close_queue(&mut self, fd: i32) -> bool {
        let Some(queue) = self.files.by_fd.remove(&fd) else { return false };
        self.model.close_queue(queue, &mut self.files);
        if let Some(epolls) = self.files.epolls.remove(&queue) {
            // Wakes whoever waits in the queue, to find it closed.
            let _ = system::epoll_ctl(epolls.epoll, EPOLL_CTL_MOD, self.files.readable, EPOLLIN as u32, KICK);
            [epolls.writes, epolls.timer].into_iter().for_each(close_own);
        }
        disown(fd);
        true
    }
}
