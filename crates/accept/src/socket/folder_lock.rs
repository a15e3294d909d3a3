//! A lock on the folder of a unix socket's file, so that servers that start or end at once do not disturb each other.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use crate::errno::Errno;
use crate::sys::{new_descriptor, syscall};

/// How many times to try for the lock when a socket is bound, a millisecond apart. Servers hold it for much less than a second.
pub(super) const ATTEMPTS: u32 = 1000;

/// How many times to try when a file is removed. This may run in a garbage collection, which holds up the whole program. Even
/// without the lock, the file is looked at again before it is removed.
pub(super) const ATTEMPTS_IN_REMOVAL: u32 = 10;

/// Holds a lock on the folder of a path until the result is dropped. No file is left behind. Returns `None` if the lock
/// cannot be taken: the folder may not be readable, or it may be locked by another program or by this one
/// (systemd-tmpfiles(8) asks programs to do that).
pub(super) fn hold(path: &Path, attempts: u32) -> Option<OwnedFd> {
    let folder = CString::new(folder_of(path).as_os_str().as_bytes()).ok()?;
    let fd = new_descriptor!(open(folder.as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC)).ok()?;
    for _ in 0..attempts {
        match syscall!(flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB)) {
            Ok(_) => return Some(fd),
            Err(Errno(libc::EWOULDBLOCK | libc::EINTR)) => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => return None,
        }
    }
    None
}

pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
