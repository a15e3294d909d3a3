//! A folder whose files are served.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::info::Info;
use crate::open;
use crate::refusal::Refusal;
use crate::validators::{Digests, Validators};

/// How often the path of a folder is resolved again.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(1);

/// What is at a path.
#[derive(Debug)]
pub enum Found {
    /// A regular file, open for reading.
    File(File, Info),
    /// A folder.
    Folder,
}

/// A folder that is known by its path. Whatever is below it is opened from its descriptor.
///
/// The path is resolved again from time to time: when a deployment renames another folder into its place, or points a
/// link at another folder, files are served from the new one.
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
    resolved_at: Instant,
    digests: Digests,
}

/// Returns the device and inode of what a path leads to.
fn id(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|data| (data.dev(), data.ino()))
}

impl Folder {
    /// Opens the folder at a path. `follow` says whether links below it are followed, even if they lead out of it.
    ///
    /// # Errors
    /// Returns the error of resolving the path or opening the folder.
    pub fn new(path: &Path, follow: bool) -> io::Result<Self> {
        // The program may change its working directory.
        let path = std::path::absolute(path)?;
        let root = open::folder(path.as_os_str().as_bytes())?;
        let state = State { root, id: id(&path)?, resolved_at: Instant::now(), digests: Digests::default() };
        Ok(Self { path, follow, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No panic can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens what is at a relative path without `..`. The empty path is the folder itself.
    ///
    /// # Errors
    /// Returns why there is nothing to serve.
    pub fn open(&self, path: &[u8]) -> Result<Found, Refusal> {
        if path.is_empty() {
            return Ok(Found::Folder);
        }
        let mut state = self.state();
        if state.resolved_at.elapsed() >= RESOLVE_INTERVAL {
            state.resolve(&self.path);
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

    /// Returns what tells a file that was opened here from its other versions.
    ///
    /// # Errors
    /// Returns the error of reading the file.
    pub fn validators(&self, file: &File, info: &Info, now: SystemTime) -> io::Result<Validators> {
        Validators::new(file, info, now, &mut self.state().digests)
    }
}

impl State {
    /// Opens the folder that is at the path now, if it is a different one.
    fn resolve(&mut self, path: &Path) {
        self.resolved_at = Instant::now();
        let Ok(id) = id(path) else { return };
        if id == self.id {
            return;
        }
        if let Ok(root) = open::folder(path.as_os_str().as_bytes()) {
            (self.root, self.id) = (root, id);
        }
    }
}
