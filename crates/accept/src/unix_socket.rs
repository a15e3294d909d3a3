//! Unix sockets in the file system: taking over a dead server's file, permissions from the first moment, removal.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use crate::errno::Errno;
use crate::sys::syscall;

/// The file of a listening unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketFile {
    path: CString,
    /// Device and inode: another server may have put its own file in this place.
    identity: (libc::dev_t, libc::ino_t),
}

impl SocketFile {
    /// The file at `path`, if there is one.
    pub fn at(path: &CStr) -> Option<Self> {
        let stat = lstat(path).ok()?;
        // The program may change its folder before it removes the file.
        let absolute = std::path::absolute(std::ffi::OsStr::from_bytes(path.to_bytes())).ok()?;
        let path = CString::new(absolute.into_os_string().into_encoded_bytes()).ok()?;
        Some(Self { path, identity: identity(&stat) })
    }

    /// Removes the file if it is still the same one.
    pub fn remove(&self) {
        if lstat(&self.path).is_ok_and(|stat| identity(&stat) == self.identity) {
            // Somebody may be faster, or the folder forbid it; neither is an error of the server that ends.
            let _ = syscall!(unlink(self.path.as_ptr()));
        }
    }
}

fn identity(stat: &libc::stat) -> (libc::dev_t, libc::ino_t) {
    (stat.st_dev, stat.st_ino)
}

fn lstat(path: &CStr) -> Result<libc::stat, Errno> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    syscall!(lstat(path.as_ptr(), stat.as_mut_ptr()))?;
    // SAFETY: lstat has filled it.
    Ok(unsafe { stat.assume_init() })
}

/// Binds a unix socket to a path, replacing the file of a server that is dead.
///
/// # Errors
/// Those of bind(2); EADDRINUSE where a server is listening there, or the file is no socket.
pub fn bind(
    fd: RawFd,
    path: &CStr,
    address: *const libc::sockaddr,
    length: libc::socklen_t,
    mode: Option<u32>,
) -> Result<(), Errno> {
    match bind_with_mode(fd, path, address, length, mode) {
        Err(Errno(libc::EADDRINUSE)) => {}
        result => return result,
    }
    // Two servers that start at once must not take each other's new file for a dead one's.
    let _lock = lock_folder(path);
    let is_socket = lstat(path).is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFSOCK);
    if is_socket && is_dead(address, length)? {
        syscall!(unlink(path.as_ptr()))?;
    }
    bind_with_mode(fd, path, address, length, mode)
}

/// Creates the file with its permissions, so that it never has wider ones.
fn bind_with_mode(
    fd: RawFd,
    path: &CStr,
    address: *const libc::sockaddr,
    length: libc::socklen_t,
    mode: Option<u32>,
) -> Result<(), Errno> {
    let Some(mode) = mode else {
        syscall!(bind(fd, address, length))?;
        return Ok(());
    };
    if cfg!(target_os = "linux") {
        // bind takes the permissions of the socket itself, less the umask (unix(7)).
        syscall!(fchmod(fd, mode as libc::mode_t))?;
        syscall!(bind(fd, address, length))?;
    } else {
        // Elsewhere the umask is all there is. It is the process's, so that files which other threads create
        // in this moment may get narrower permissions too, but no wider ones.
        // SAFETY: umask cannot fail.
        let old = unsafe { libc::umask(0o777 & !(mode as libc::mode_t)) };
        let bound = syscall!(bind(fd, address, length));
        // SAFETY: as above.
        unsafe { libc::umask(old) };
        bound?;
    }
    set_mode(path, mode as libc::mode_t).inspect_err(|_| {
        let _ = syscall!(unlink(path.as_ptr()));
    })
}

/// Gives a new file the permissions that the umask took away.
fn set_mode(path: &CStr, mode: libc::mode_t) -> Result<(), Errno> {
    if lstat(path)?.st_mode & 0o777 == mode {
        return Ok(());
    }
    // Whoever may write to the folder could have put a link in its place.
    match syscall!(fchmodat(libc::AT_FDCWD, path.as_ptr(), mode, libc::AT_SYMLINK_NOFOLLOW)) {
        // Before Linux 6.6, where /proc is not mounted.
        Err(Errno(libc::EOPNOTSUPP)) => syscall!(chmod(path.as_ptr(), mode)),
        result => result,
    }
    .map(drop)
}

/// Whether no socket belongs to a socket file any more. Asked with a datagram socket, so that a server that listens there
/// does not get a connection: the kernel then says that the types differ.
fn is_dead(address: *const libc::sockaddr, length: libc::socklen_t) -> Result<bool, Errno> {
    let probe = crate::socket::new_socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0)?;
    Ok(syscall!(connect(probe.as_raw_fd(), address, length)) == Err(Errno(libc::ECONNREFUSED)))
}

/// How often to try for a lock, a millisecond apart: servers hold it for much less.
const LOCK_ATTEMPTS: u32 = 1000;

/// Holds a lock on the folder of a path until it is dropped. It leaves no file behind. None where it cannot be had: the
/// folder may not be readable, or another program, or this one, keep it locked (systemd-tmpfiles(8) asks for that).
fn lock_folder(path: &CStr) -> Option<OwnedFd> {
    let path = Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = CString::new(folder.as_os_str().as_bytes()).ok()?;
    let fd = syscall!(open(folder.as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC)).ok()?;
    // SAFETY: the kernel has just given this descriptor to us alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    for _ in 0..LOCK_ATTEMPTS {
        match syscall!(flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB)) {
            Ok(_) => return Some(fd),
            Err(Errno(libc::EWOULDBLOCK | libc::EINTR)) => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => return None,
        }
    }
    None
}
