//! The open descriptors of this process, as macOS's proc_pidinfo(3) reports them.

use libc::{POLLNVAL, pollfd};

use crate::system;

/// The highest number of descriptors that is looked for.
const MOST_NUMBERS: i32 = 10_240;

/// The open descriptors of this process below its limit. Includes the emulation's own, since their numbers are taken.
pub(crate) fn open_numbers() -> Vec<i32> {
    let limit = system::descriptor_limit().min(MOST_NUMBERS);
    let mut open = Vec::new();
    // poll(2) takes no more entries than a process may have descriptors.
    for first in (0..limit).step_by(1024) {
        let mut entries: Vec<pollfd> =
            (first..limit.min(first + 1024)).map(|fd| pollfd { fd, events: 0, revents: 0 }).collect();
        if system::poll_all(&mut entries, Some(0)).is_ok() {
            open.extend(entries.iter().filter(|entry| entry.revents & POLLNVAL == 0).map(|entry| entry.fd));
        }
    }
    open
}

/// The size that XNU's table of descriptors would have: it starts at 25 and doubles.
pub(crate) fn table_size() -> usize {
    let needed = open_numbers().last().map_or(0, |last| *last as usize + 1);
    let mut size = 25;
    while size < needed {
        size *= 2;
    }
    size.min(usize::try_from(system::descriptor_limit()).unwrap_or(0)).max(needed)
}
