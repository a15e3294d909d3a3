//! Binding a unix socket to a path: replaces a dead server's file, and gives the new one its permissions from the start.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::folder_lock;
use super::socket_file::{Identity, SocketFile, as_path, is_dead, remove_only};
use super::unix_address::UnixAddress;
use crate::errno::Errno;
use crate::sys::syscall;

fn errno(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}

/// Binds a unix socket to a path, and replaces the file of a server that is dead. Returns the new file, or `None` if it
/// has been removed already.
///
/// # Errors
/// Returns the error of bind(2), which is EADDRINUSE if a socket is bound there or the file is not a socket.
pub(super) fn bind(fd: RawFd, address: &UnixAddress, mode: Option<u32>) -> Result<Option<SocketFile>, Errno> {
    let path = as_path(address.path());
    // Kernels first make the file and then connect the socket with it. In between, it looks like the file of a dead
    // server.
    let _lock = folder_lock::hold(path, folder_lock::ATTEMPTS);
    // XNU's bind(2) follows a dangling link and makes the file at its target.
    if path.is_symlink() {
        return Err(Errno(libc::EADDRINUSE));
    }
    match bind_with_mode(fd, address, mode) {
        Err(Errno(libc::EADDRINUSE)) => {
            let metadata = fs::symlink_metadata(path).ok().filter(|metadata| metadata.file_type().is_socket());
            match metadata.as_ref().map(Identity::of) {
                Some(identity) if is_dead(path, identity)? => {
                    remove_only(path, identity).map_err(|error| errno(&error))?;
                }
                _ => {}
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

/// Creates the file with its permissions, or with fewer: bind(2) gives it those of the socket itself, less the umask
/// (unix(7)).
#[cfg(all(target_os = "linux", not(feature = "emulated-kqueue")))]
fn bind_with_mode(fd: RawFd, address: &UnixAddress, mode: Option<u32>) -> Result<(), Errno> {
    if let Some(mode) = mode {
        syscall!(fchmod(fd, mode as libc::mode_t))?;
    }
    let (address, length) = address.raw();
    syscall!(bind(fd, address, length)).map(drop)
}

/// Creates the file with its permissions. On these systems only the umask decides them, and the whole process has one
/// umask: changing it for even a moment would affect the files that other threads create meanwhile, and would confuse a
/// thread that changes the umask and restores it. So a child process binds the socket: it has a umask of its own, and the
/// socket is shared.
#[cfg(not(all(target_os = "linux", not(feature = "emulated-kqueue"))))]
fn bind_with_mode(fd: RawFd, address: &UnixAddress, mode: Option<u32>) -> Result<(), Errno> {
    use std::mem::MaybeUninit;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::ptr;

    let (address, length) = address.raw();
    let Some(mode) = mode else { return syscall!(bind(fd, address, length)).map(drop) };
    let umask = 0o777 & !(mode as libc::mode_t);
    let (mut from_child, to_parent) = UnixStream::pair().map_err(|error| errno(&error))?;
    let mut every = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: the sets are filled before they are read. The child only calls functions that signal-safety(7) allows, on
    // memory that was there before, and ends. Signals are blocked so that none of the program's handlers runs in it.
    let child = unsafe {
        libc::sigfillset(every.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, every.as_ptr(), before.as_mut_ptr());
        let child = libc::fork();
        if child == 0 {
            libc::umask(umask);
            let error = if libc::bind(fd, address, length) == 0 { 0 } else { Errno::last().0 };
            libc::write(to_parent.as_raw_fd(), ptr::from_ref(&error).cast(), size_of::<i32>());
            libc::_exit(0);
        }
        let failed = Errno::last();
        libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut());
        if child == -1 { Err(failed) } else { Ok(child) }
    }?;
    drop(to_parent);
    let mut error = [0; size_of::<i32>()];
    // The error does not come as the child's status, since the program may wait for its children elsewhere.
    let received = io::Read::read_exact(&mut from_child, &mut error);
    while syscall!(waitpid(child, ptr::null_mut(), 0)) == Err(Errno(libc::EINTR)) {}
    match (received, i32::from_ne_bytes(error)) {
        (Ok(()), 0) => Ok(()),
        (Ok(()), error) => Err(Errno(error)),
        // The child was killed.
        (Err(_), _) => Err(Errno(libc::EINTR)),
    }
}

/// Gives a new file the permissions that the umask has taken away.
fn set_mode(path: &CStr, identity: Identity, mode: u32) -> Result<(), Errno> {
    let metadata = fs::symlink_metadata(as_path(path)).map_err(|error| errno(&error))?;
    if metadata.mode() & 0o777 == mode || Identity::of(&metadata) != identity {
        return Ok(());
    }
    let mode = mode as libc::mode_t;
    // Anybody who may write to the folder could have put a link in its place, which must not be followed.
    match syscall!(fchmodat(libc::AT_FDCWD, path.as_ptr(), mode, libc::AT_SYMLINK_NOFOLLOW)) {
        // Linux before 6.6 cannot do this if /proc is not mounted.
        Err(Errno(libc::EOPNOTSUPP)) => syscall!(chmod(path.as_ptr(), mode)),
        result => result,
    }
    .map(drop)
}
