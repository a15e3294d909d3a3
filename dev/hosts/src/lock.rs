//! A lock between processes: commands that need the same build make it once.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::Result;

/// A lock on a file, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock on the file at `path`, and waits while another process holds it. Creates the file if it is
    /// missing.
    pub fn wait(path: &Path) -> Result<Self> {
        Self::take(path, libc::LOCK_EX).map_err(|e| format!("cannot lock {}: {e}", path.display()))
    }

    /// Takes the lock for reading, which others may do at the same time. Returns `None` when somebody holds the lock that
    /// [`Lock::wait`] takes, or when the file cannot be locked.
    pub fn shared(path: &Path) -> Option<Self> {
        Self::take(path, libc::LOCK_SH | libc::LOCK_NB).ok()
    }

    // File::lock needs Rust 1.89.
    fn take(path: &Path, operation: libc::c_int) -> io::Result<Self> {
        let file = File::create(path)?;
        loop {
            // SAFETY: flock has no memory preconditions, and the descriptor is open as long as `file` lives.
            if unsafe { libc::flock(file.as_raw_fd(), operation) } == 0 {
                return Ok(Lock { _file: file });
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_free_again_once_it_is_dropped() {
        let path = std::env::temp_dir().join(format!("kqnet-hosts-lock-{}", std::process::id()));
        let held = Lock::wait(&path).expect("the lock");
        assert!(Lock::shared(&path).is_none(), "it is held");
        drop(held);
        let reader = Lock::shared(&path);
        assert!(reader.is_some() && Lock::shared(&path).is_some(), "it is free, and several may read");
        std::fs::remove_file(&path).expect("removed");
    }
}
