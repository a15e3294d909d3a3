//! A folder whose files are served.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::open;
use crate::tag::{Digests, Info, Validators};

/// How often a folder's path is looked up again, since a deployment may put another folder in its place.
const LOOK: Duration = Duration::from_secs(1);

/// What is at a path.
#[derive(Debug)]
pub enum Found {
    /// A plain file, open for reading.
    File(File, Info),
    /// A folder.
    Folder,
}

/// Why there is nothing at a path to serve.
#[derive(Debug)]
pub enum Refusal {
    /// There is nothing, or something that is not served: a link, a FIFO, a device.
    Missing,
    /// The server may not read it.
    Forbidden,
    /// The system is short of descriptors or memory.
    Busy(io::Error),
    /// The file system failed.
    Failed(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(why: io::Error) -> Self {
        match why.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => Self::Forbidden,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN) => Self::Busy(why),
            Some(
                libc::ENOENT
                | libc::ENOTDIR
                | libc::ELOOP
                | libc::ENAMETOOLONG
                // A link in the way, on FreeBSD.
                | libc::EMLINK
                // A way out of the folder, by openat2.
                | libc::EXDEV
                // Sockets, and devices without a driver.
                | libc::ENXIO
                | libc::ENODEV
                | libc::EOPNOTSUPP
                // Names that the file system cannot have.
                | libc::EILSEQ
                | libc::EINVAL,
            ) => Self::Missing,
            // A link in the way.
            #[cfg(target_os = "netbsd")]
            Some(libc::EFTYPE) => Self::Missing,
            _ => Self::Failed(why),
        }
    }
}

/// A folder, known by its path: what is below it is opened from its descriptor.
///
/// The path is looked up again from time to time, so that when a deployment renames another folder into its place, or
/// points a link at another folder, that one is served.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    follow: bool,
    /// Threads may share a folder.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    root: OwnedFd,
    id: (u64, u64),
    looked: Instant,
    digests: Digests,
}

/// The device and inode of what a path leads to.
fn id(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|data| (data.dev(), data.ino()))
}

impl Folder {
    /// The folder at a path. `follow` says whether links below it are followed, even if they lead out of it.
    ///
    /// # Errors
    /// Those of opening it.
    pub fn new(path: &Path, follow: bool) -> io::Result<Self> {
        // The program may change its working directory.
        let path = std::path::absolute(path)?;
        let root = open::folder(path.as_os_str().as_bytes())?;
        let state = State { root, id: id(&path)?, looked: Instant::now(), digests: Digests::default() };
        Ok(Self { path, follow, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that panics leaves it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens what is at a relative path without `..`; the empty one is the folder itself.
    ///
    /// # Errors
    /// Why there is nothing to serve.
    pub fn open(&self, path: &[u8]) -> Result<Found, Refusal> {
        if path.is_empty() {
            return Ok(Found::Folder);
        }
        let mut state = self.state();
        if state.looked.elapsed() >= LOOK {
            state.look(&self.path);
        }
        let root = state.root.as_fd();
        let opened = if self.follow { open::following(root, path) } else { open::beneath(root, path) };
        let file = match opened {
            Err(why) if why.raw_os_error() == Some(libc::EACCES) && open::is_folder(root, path, self.follow) => {
                return Ok(Found::Folder);
            }
            opened => opened?,
        };
        let data = file.metadata()?;
        match data.file_type() {
            kind if kind.is_file() => Ok(Found::File(file, Info::from(&data))),
            kind if kind.is_dir() => Ok(Found::Folder),
            _ => Err(Refusal::Missing),
        }
    }

    /// What tells a file that was opened here from its other versions.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn validators(&self, file: &File, info: &Info, now: SystemTime) -> io::Result<Validators> {
        Validators::new(file, info, now, &mut self.state().digests)
    }
}

impl State {
    /// Takes the folder that is at the path now, if it is another one.
    fn look(&mut self, path: &Path) {
        self.looked = Instant::now();
        if let Ok(id) = id(path)
            && id != self.id
            && let Ok(root) = open::folder(path.as_os_str().as_bytes())
        {
            (self.root, self.id) = (root, id);
        }
    }
}
