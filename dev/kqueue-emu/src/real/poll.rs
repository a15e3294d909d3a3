//! poll(2) as the imitated kernel has it.

use libc::{POLLIN, POLLNVAL, POLLOUT, POLLPRI, pollfd};

use super::choice::profile;
use crate::kevent::Errno;
use crate::system;

/// poll(2). XNU implements it with filters: it finds nothing for an entry that asks for no event, not even that the
/// number is closed, and it says POLLNVAL for a file that has no filter.
pub(crate) fn poll(entries: &mut [pollfd], timeout: Option<u64>) -> Result<i32, Errno> {
    if profile().is_none_or(|profile| profile.poll_finds_closed) {
        return system::poll_all(entries, timeout);
    }
    let is_asked = |entry: &pollfd| entry.events & (POLLIN | POLLPRI | POLLOUT) != 0;
    let unfiltered: Vec<bool> = entries.iter().map(|entry| is_asked(entry) && has_no_filter(entry.fd)).collect();
    let mut asked: Vec<pollfd> = entries.to_vec();
    for (entry, unfiltered) in asked.iter_mut().zip(&unfiltered) {
        if *unfiltered || !is_asked(entry) {
            entry.fd = -1;
        }
    }
    let timeout = if unfiltered.contains(&true) { Some(0) } else { timeout };
    let found = system::poll_all(&mut asked, timeout)?;
    let mut refused = 0;
    for ((entry, asked), unfiltered) in entries.iter_mut().zip(&asked).zip(&unfiltered) {
        entry.revents = if *unfiltered { POLLNVAL } else { asked.revents };
        refused += i32::from(*unfiltered);
    }
    Ok(found + refused)
}

/// Whether the file has no filter on XNU: a directory, or the device /dev/null.
fn has_no_filter(fd: i32) -> bool {
    system::stat(fd).is_some_and(|stat| match stat.st_mode & libc::S_IFMT {
        libc::S_IFDIR => true,
        libc::S_IFCHR => stat.st_rdev == libc::makedev(1, 3),
        _ => false,
    })
}
