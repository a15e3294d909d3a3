//! The descriptors of the emulation itself: kept out of the way of the program, and closed in the child of a fork.

use std::sync::atomic::{AtomicI32, Ordering};

use crate::system;

/// Each descriptor of the emulation, plus one; 0 is a free place. Atomics, since no lock may be taken in the child of a
/// fork.
static OWN: [AtomicI32; 512] = [const { AtomicI32::new(0) }; 512];

/// Notes that a descriptor is one of the emulation, and returns it.
pub(super) fn own(fd: i32) -> i32 {
    for slot in &OWN {
        if slot.compare_exchange(0, fd + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            break;
        }
    }
    fd
}

/// Forgets a descriptor that is being closed.
pub(super) fn disown(fd: i32) {
    for slot in &OWN {
        if slot.compare_exchange(fd + 1, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            break;
        }
    }
}

/// Closes a descriptor of the emulation.
pub(super) fn close_own(fd: i32) {
    disown(fd);
    let _ = system::close_fd(fd);
}

/// Moves a descriptor of the emulation to a high number, out of the way of a program that counts its descriptors or
/// uses them all. The number is at most 1023, since a table of descriptors is as long as its highest number.
pub(super) fn hide(fd: i32) -> i32 {
    let hidden = (3..system::descriptor_limit().min(1024)).rev().find_map(|lowest| system::dup_from(fd, lowest).ok());
    if let Some(hidden) = hidden {
        let _ = system::close_fd(fd);
        return own(hidden);
    }
    own(fd)
}

/// Closes all descriptors of the emulation. Takes no lock, since this is called in the child of a fork.
pub(super) fn close_all() {
    for slot in &OWN {
        let fd = slot.swap(0, Ordering::Relaxed) - 1;
        if fd >= 0 {
            let _ = system::close_fd(fd);
        }
    }
}
