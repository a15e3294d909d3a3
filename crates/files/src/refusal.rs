//! Why a path of a folder is not served, by the error that the system returned.

use std::io;

/// Why there is nothing to serve at a path.
#[derive(Debug)]
pub enum Refusal {
    /// There is nothing at the path, or something that is not served: a link, a FIFO, a device.
    Missing,
    /// The server may not read the file.
    Forbidden,
    /// The system is out of descriptors or memory.
    Shortage(io::Error),
    /// The file system failed.
    Failed(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(why: io::Error) -> Self {
        match why.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => Self::Forbidden,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN) => Self::Shortage(why),
            Some(
                libc::ENOENT
                | libc::ENOTDIR
                | libc::ELOOP
                | libc::ENAMETOOLONG
                // FreeBSD reports a link in the path this way.
                | libc::EMLINK
                // openat2 reports a way out of the folder this way.
                | libc::EXDEV
                // Sockets, and devices without a driver, cannot be opened.
                | libc::ENXIO
                | libc::ENODEV
                | libc::EOPNOTSUPP
                // The file system cannot have such a name.
                | libc::EILSEQ
                | libc::EINVAL,
            ) => Self::Missing,
            // NetBSD reports a link in the path this way.
            #[cfg(target_os = "netbsd")]
            Some(libc::EFTYPE) => Self::Missing,
            _ => Self::Failed(why),
        }
    }
}
