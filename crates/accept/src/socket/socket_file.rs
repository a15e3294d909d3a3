//! The file of a unix socket: whether it is still the same file, whether its server is dead, and its removal.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use super::create::create;
use super::folder_lock::{self, folder_of};
use super::local_address::local_path;
use super::unix_address::UnixAddress;
use crate::errno::Errno;
use crate::sys::syscall;

/// The file of a unix socket that this process has bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketFile {
    /// The path as it was passed to bind(2).
    bound: CString,
    /// The same path, absolute: the program may change its folder before it removes the file.
    path: PathBuf,
    pub(super) identity: Identity,
    /// The process that made the file. A forked child has a copy of this, and must leave its parent's file alone.
    process: u32,
}

impl SocketFile {
    /// The file at a path to which this process has just bound a socket.
    pub(super) fn at(bound: &CStr) -> Option<Self> {
        let path = std::path::absolute(as_path(bound)).ok()?;
        let identity = Identity::at(&path)?;
        Some(Self { bound: bound.into(), path, identity, process: std::process::id() })
    }

    /// Removes the file if it certainly still belongs to the socket, and leaves it otherwise. Does nothing in any process
    /// but the one that made the file.
    ///
    /// `socket` is the descriptor of the socket, which should still be open. As long as it is, the kernel keeps the file's
    /// inode, so no other file can have the same inode number. Once it is closed, the number is used again at once, often
    /// for the file of the next server. Then the file is removed only if no socket belongs to it any more.
    pub fn remove(&self, socket: Option<RawFd>) {
        if std::process::id() != self.process {
            return;
        }
        let is_held = socket.and_then(local_path).is_some_and(|path| path == self.bound);
        // The folder may not allow it, or another process may be faster. Neither is an error of the server that ends.
        let _ = if is_held {
            remove_only(&self.path, self.identity)
        } else {
            let _lock = folder_lock::hold(&self.path, folder_lock::ATTEMPTS_IN_REMOVAL);
            match is_dead(&self.path, self.identity) {
                Ok(true) => remove_only(&self.path, self.identity),
                _ => Ok(()),
            }
        };
    }
}

/// What tells one file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    /// The time of creation. If the file system does not know it, the time of the last write: nothing writes to a socket's
    /// file, and moving it does not change this time.
    created: Option<SystemTime>,
}

impl Identity {
    /// The identity of what is at a path. Links are not followed.
    fn at(path: &Path) -> Option<Self> {
        fs::symlink_metadata(path).ok().as_ref().map(Self::of)
    }

    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        let created = metadata.created().or_else(|_| metadata.modified()).ok();
        Self { device: metadata.dev(), inode: metadata.ino(), created }
    }
}

pub(super) fn as_path(path: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(path.to_bytes()))
}

/// Whether this file is at the path and no socket belongs to it any more. This tries to connect a datagram socket, so that
/// a server that listens there does not get a connection: the kernel then says that the types differ.
///
/// # Errors
/// Returns the error of socket(2).
pub(super) fn is_dead(path: &Path, identity: Identity) -> Result<bool, Errno> {
    let Some(path) = CString::new(path.as_os_str().as_bytes()).ok().filter(|_| Identity::at(path) == Some(identity))
    else {
        return Ok(false);
    };
    let Ok(address) = UnixAddress::new(&path) else { return Ok(false) };
    let (address, length) = address.raw();
    let probe = create(libc::AF_UNIX, libc::SOCK_DGRAM, 0)?;
    Ok(syscall!(connect(probe.as_raw_fd(), address, length)) == Err(Errno(libc::ECONNREFUSED)))
}

/// Removes this file from a path, and no other. unlink(2) removes whatever is there by then. So the file is first moved to
/// a folder where nobody else puts anything, and is looked at there. If it is another file, it is moved back.
pub(super) fn remove_only(path: &Path, identity: Identity) -> io::Result<()> {
    if Identity::at(path) != Some(identity) {
        return Ok(());
    }
    let folder = folder_beside(path)?;
    let aside = folder.join("socket");
    let result = fs::rename(path, &aside).and_then(|()| {
        if Identity::at(&aside) == Some(identity) { fs::remove_file(&aside) } else { put_back(&aside, path) }
    });
    // It is empty, unless a file could not be moved back.
    let _ = fs::remove_dir(&folder);
    result
}

fn put_back(aside: &Path, path: &Path) -> io::Result<()> {
    // Unlike rename(2), link(2) does not replace what was put there meanwhile. But it does not take folders, and on some
    // systems it takes only files of the same user.
    match fs::hard_link(aside, path) {
        Ok(()) => fs::remove_file(aside),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => fs::rename(aside, path),
    }
}

/// Makes a folder that only this user may enter, in the folder of a path.
fn folder_beside(path: &Path) -> io::Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const ATTEMPTS: u32 = 100;
    let mut attempt = 0;
    loop {
        let name = format!(".kqnet-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = folder_of(path).join(name);
        match DirBuilder::new().mode(0o700).create(&folder) {
            // The umask may have taken away more permissions.
            Ok(()) => return fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map(|()| folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}
