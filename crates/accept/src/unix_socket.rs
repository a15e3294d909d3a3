//! Unix sockets in the file system: taking over a dead server's file, its permissions at every moment, and its removal.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use crate::errno::Errno;
use crate::socket::{UnixAddress, local_path, new_socket};
use crate::sys::syscall;

/// The file that a unix socket of this process has in the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketFile {
    /// As the socket was bound to it.
    bound: CString,
    /// The same, absolute: the program may change its folder before it removes the file.
    path: PathBuf,
    identity: Identity,
    /// The process that made it. A child that was forked has a copy of this, and must leave its parent's file alone.
    process: u32,
}

impl SocketFile {
    /// The file at `path`, to which a socket of this process was just bound.
    fn at(bound: &CStr) -> Option<Self> {
        let path = std::path::absolute(as_path(bound)).ok()?;
        let identity = Identity::at(&path)?;
        Some(Self { bound: bound.into(), path, identity, process: std::process::id() })
    }

    /// Removes the file if it is certain that it is still the socket's, and leaves it otherwise. Does nothing in another
    /// process than the one that made it.
    ///
    /// `socket` is the descriptor of the socket, which should be open still. As long as it is, the kernel keeps the file's
    /// inode for it, so no other file can have the same number. Afterwards the number is used again at once, often for
    /// the file of the next server: the file then goes only if no socket belongs to it any more.
    pub fn remove(&self, socket: Option<RawFd>) {
        if std::process::id() != self.process {
            return;
        }
        let is_held = socket.and_then(local_path).is_some_and(|path| path == self.bound);
        // The folder may forbid it, or somebody else be faster. Neither is an error of the ending server.
        let _ = if is_held {
            remove_only(&self.path, self.identity)
        } else {
            let _lock = lock_folder(&self.path, LOCK_ATTEMPTS_IN_REMOVAL);
            match is_dead(&self.path, self.identity) {
                Ok(true) => remove_only(&self.path, self.identity),
                _ => Ok(()),
            }
        };
    }
}

/// What tells one file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    /// Where the file system does not know when a file was created, the time at which it was last written to: nothing
    /// writes to a socket's file, and moving it changes another time.
    created: Option<SystemTime>,
}

impl Identity {
    /// Of what is at a path; links are not followed.
    fn at(path: &Path) -> Option<Self> {
        fs::symlink_metadata(path).ok().as_ref().map(Self::of)
    }

    fn of(metadata: &fs::Metadata) -> Self {
        let created = metadata.created().or_else(|_| metadata.modified()).ok();
        Self { device: metadata.dev(), inode: metadata.ino(), created }
    }
}

fn as_path(path: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(path.to_bytes()))
}

fn errno(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Binds a unix socket to a path, replacing the file of a server that is dead. Returns the file; nothing if somebody has
/// removed it already.
///
/// # Errors
/// Those of bind(2); EADDRINUSE where a socket is bound there, or the file is no socket.
pub(crate) fn bind(fd: RawFd, address: &UnixAddress, mode: Option<u32>) -> Result<Option<SocketFile>, Errno> {
    let path = as_path(address.path());
    // Kernels make the file first, and then connect the socket with it. Who asks in between finds a dead server's file.
    let _lock = lock_folder(path, LOCK_ATTEMPTS);
    // XNU's bind(2) follows a link that leads nowhere, and makes the file there.
    if path.is_symlink() {
        return Err(Errno(libc::EADDRINUSE));
    }
    match bind_with_mode(fd, address, mode) {
        Err(Errno(libc::EADDRINUSE)) => {
            let metadata = fs::symlink_metadata(path).ok().filter(|metadata| metadata.file_type().is_socket());
            if let Some(identity) = metadata.as_ref().map(Identity::of)
                && is_dead(path, identity)?
            {
                remove_only(path, identity).map_err(|error| errno(&error))?;
            }
            bind_with_mode(fd, address, mode)?;
        }
        result => result?,
    }
    let file = SocketFile::at(address.path());
    if let (Some(file), Some(mode)) = (&file, mode) {
        set_mode(address.path(), file.identity, mode).inspect_err(|_| file.remove(Some(fd)))?;
    }
    Ok(file)
}

/// Creates the file with its permissions, or with fewer: bind takes those of the socket itself, less the umask (unix(7)).
#[cfg(all(target_os = "linux", not(feature = "emulated-kqueue")))]
fn bind_with_mode(fd: RawFd, address: &UnixAddress, mode: Option<u32>) -> Result<(), Errno> {
    if let Some(mode) = mode {
        syscall!(fchmod(fd, mode as libc::mode_t))?;
    }
    let (address, length) = address.raw();
    syscall!(bind(fd, address, length)).map(drop)
}

/// Creates the file with its permissions. Here the umask alone decides, and it is the process's: to change it for even a
/// moment changes the files that other threads create then, and the umask that they find and put back when they change
/// it too. A child has its own, and the socket that it binds is the same.
#[cfg(not(all(target_os = "linux", not(feature = "emulated-kqueue"))))]
fn bind_with_mode(fd: RawFd, address: &UnixAddress, mode: Option<u32>) -> Result<(), Errno> {
    let (address, length) = address.raw();
    let Some(mode) = mode else { return syscall!(bind(fd, address, length)).map(drop) };
    let umask = 0o777 & !(mode as libc::mode_t);
    let (mut from_child, to_parent) = io::pipe().map_err(|error| errno(&error))?;
    let mut every = std::mem::MaybeUninit::uninit();
    let mut before = std::mem::MaybeUninit::uninit();
    // SAFETY: the sets are filled before they are read. The child calls nothing but what signal-safety(7) allows, on
    // memory that was there before, and ends; signals are blocked so that none of the program's handlers runs in it.
    let child = unsafe {
        libc::sigfillset(every.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, every.as_ptr(), before.as_mut_ptr());
        let child = libc::fork();
        if child == 0 {
            libc::umask(umask);
            let error = if libc::bind(fd, address, length) == 0 { 0 } else { Errno::last().0 };
            libc::write(to_parent.as_raw_fd(), std::ptr::from_ref(&error).cast(), size_of::<i32>());
            libc::_exit(0);
        }
        let failed = Errno::last();
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut());
        if child == -1 { Err(failed) } else { Ok(child) }
    }?;
    drop(to_parent);
    let mut error = [0; size_of::<i32>()];
    // By the pipe, since the program may have its children waited for elsewhere.
    let told = io::Read::read_exact(&mut from_child, &mut error);
    while syscall!(waitpid(child, std::ptr::null_mut(), 0)) == Err(Errno(libc::EINTR)) {}
    match (told, i32::from_ne_bytes(error)) {
        (Ok(()), 0) => Ok(()),
        (Ok(()), error) => Err(Errno(error)),
        // Somebody killed it.
        (Err(_), _) => Err(Errno(libc::EINTR)),
    }
}

/// Gives a new file the permissions that the umask took away.
fn set_mode(path: &CStr, identity: Identity, mode: u32) -> Result<(), Errno> {
    let metadata = fs::symlink_metadata(as_path(path)).map_err(|error| errno(&error))?;
    if metadata.mode() & 0o777 == mode || Identity::of(&metadata) != identity {
        return Ok(());
    }
    let mode = mode as libc::mode_t;
    // Whoever may write to the folder could have put a link in its place.
    match syscall!(fchmodat(libc::AT_FDCWD, path.as_ptr(), mode, libc::AT_SYMLINK_NOFOLLOW)) {
        // Before Linux 6.6, where /proc is not mounted.
        Err(Errno(libc::EOPNOTSUPP)) => syscall!(chmod(path.as_ptr(), mode)),
        result => result,
    }
    .map(drop)
}

/// Whether this file is at a path and no socket belongs to it any more. Asked with a datagram socket, so that a server
/// that listens there does not get a connection: the kernel then says that the types differ.
///
/// # Errors
/// Those of socket(2).
fn is_dead(path: &Path, identity: Identity) -> Result<bool, Errno> {
    let Some(path) = CString::new(path.as_os_str().as_bytes()).ok().filter(|_| Identity::at(path) == Some(identity))
    else {
        return Ok(false);
    };
    let Ok(address) = UnixAddress::new(&path) else { return Ok(false) };
    let (address, length) = address.raw();
    let probe = new_socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0)?;
    Ok(syscall!(connect(probe.as_raw_fd(), address, length)) == Err(Errno(libc::ECONNREFUSED)))
}

/// Removes this file from a path, and no other. unlink(2) takes whatever is there by then, so the file is moved aside
/// first, and looked at where nobody else puts anything; another's goes back.
fn remove_only(path: &Path, identity: Identity) -> io::Result<()> {
    if Identity::at(path) != Some(identity) {
        return Ok(());
    }
    let folder = folder_beside(path)?;
    let aside = folder.join("socket");
    let result = fs::rename(path, &aside).and_then(|()| {
        if Identity::at(&aside) == Some(identity) { fs::remove_file(&aside) } else { put_back(&aside, path) }
    });
    // Something is left in it only where it could not be put back.
    let _ = fs::remove_dir(&folder);
    result
}

fn put_back(aside: &Path, path: &Path) -> io::Result<()> {
    // link(2) replaces nothing that was put there meanwhile. It takes no folders, and some systems let it take nobody
    // else's files.
    match fs::hard_link(aside, path) {
        Ok(()) => fs::remove_file(aside),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => fs::rename(aside, path),
    }
}

/// Makes a folder of our own in the folder of a path.
fn folder_beside(path: &Path) -> io::Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const ATTEMPTS: u32 = 100;
    let mut attempt = 0;
    loop {
        let name = format!(".kqnet-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = folder_of(path).join(name);
        match DirBuilder::new().mode(0o700).create(&folder) {
            // The umask may have taken more.
            Ok(()) => return fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map(|()| folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// How often to try for a lock, a millisecond apart: servers hold it for much less.
const LOCK_ATTEMPTS: u32 = 1000;

/// A collector that waits holds up the whole program, and what is removed is looked at again in any case.
const LOCK_ATTEMPTS_IN_REMOVAL: u32 = 10;

/// Holds a lock on the folder of a path until it is dropped. It leaves no file behind. None where it cannot be had: the
/// folder may not be readable, or another program, or this one, keep it locked (systemd-tmpfiles(8) asks for that).
fn lock_folder(path: &Path, attempts: u32) -> Option<OwnedFd> {
    let folder = CString::new(folder_of(path).as_os_str().as_bytes()).ok()?;
    let fd = syscall!(open(folder.as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC)).ok()?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    for _ in 0..attempts {
        match syscall!(flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB)) {
            Ok(_) => return Some(fd),
            Err(Errno(libc::EWOULDBLOCK | libc::EINTR)) => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => return None,
        }
    }
    None
}
