//! What the file system says about a file.

use std::fs::Metadata;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::MetadataExt;

/// A time in seconds and nanoseconds since 1970.
pub(crate) type Time = (i64, i64);

/// The metadata that show whether a file has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// The length of the file in bytes.
    pub size: u64,
    /// When the content was modified, or what a program has set as that time.
    pub(crate) modified: Time,
    /// When the file was changed in any way.
    pub(crate) changed: Time,
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// These tell the versions of files apart, so the rest need not be hashed.
impl Hash for Info {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.inode, self.changed).hash(state);
    }
}

impl From<&Metadata> for Info {
    fn from(data: &Metadata) -> Self {
        Self {
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
            device: data.dev(),
            inode: data.ino(),
        }
    }
}
