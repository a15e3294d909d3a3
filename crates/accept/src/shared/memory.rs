//! Mapping memory that several processes share, and leaving it in a forked child.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::errno::Errno;
use crate::sys::{new_descriptor, syscall};

/// Why a worker cannot use its supervisor's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotShared {
    /// The system does not map it.
    System(Errno),
    /// It was made by another version of kqnet.
    OtherLayout,
}

impl std::fmt::Display for NotShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::System(errno) => errno.fmt(f),
            Self::OtherLayout => f.write_str("kqnet-serve is of another version than the program's kqnet"),
        }
    }
}

/// Makes and maps memory of so many words, and its descriptor. The first word has the number of its layout, the others are zero.
pub(super) fn create_with_layout(words: usize, layout: u64) -> Result<(&'static [AtomicU64], OwnedFd), Errno> {
    let fd = create(words)?;
    let mapped = map(fd.as_fd(), words)?;
    mapped[0].store(layout, Ordering::Relaxed);
    Ok((mapped, fd))
}

/// Maps memory that another process has made by [`create_with_layout`].
pub(super) fn open_with_layout(
    fd: BorrowedFd<'_>,
    words: usize,
    layout: u64,
) -> Result<&'static [AtomicU64], NotShared> {
    let mapped = map(fd, words).map_err(|errno| match errno.0 {
        libc::EINVAL => NotShared::OtherLayout,
        _ => NotShared::System(errno),
    })?;
    if mapped[0].load(Ordering::Relaxed) == layout { Ok(mapped) } else { Err(NotShared::OtherLayout) }
}

/// Makes memory of so many words, all zero, and returns its descriptor, which is closed on exec.
pub(super) fn create(words: usize) -> Result<OwnedFd, Errno> {
    let fd = make()?;
    let length = libc::off_t::try_from(words * size_of::<AtomicU64>()).map_err(|_| Errno(libc::EFBIG))?;
    syscall!(ftruncate(fd.as_raw_fd(), length))?;
    Ok(fd)
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn make() -> Result<OwnedFd, Errno> {
    new_descriptor!(memfd_create(c"kqnet".as_ptr(), libc::MFD_CLOEXEC))
}

/// The other systems have no memory without a name, so the name is removed at once.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn make() -> Result<OwnedFd, Errno> {
    // macOS takes at most 31 bytes.
    let name = std::ffi::CString::new(format!("/kqnet-{}", std::process::id())).map_err(|_| Errno(libc::EINVAL))?;
    // One that was left by a process that was killed right here.
    let _ = syscall!(shm_unlink(name.as_ptr()));
    // The mode is an argument of variable type on macOS.
    let fd = new_descriptor!(shm_open(name.as_ptr(), libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, 0o600))?;
    let _ = syscall!(shm_unlink(name.as_ptr()));
    syscall!(fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC))?;
    Ok(fd)
}

/// Maps so many words of a descriptor, for as long as the process lives.
fn map(fd: BorrowedFd<'_>, words: usize) -> Result<&'static [AtomicU64], Errno> {
    let length = words * size_of::<AtomicU64>();
    // SAFETY: a stat is plain integers, all of which may be zero.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    syscall!(fstat(fd.as_raw_fd(), &mut stat))?;
    // Touching what lies beyond the end would end the process.
    if usize::try_from(stat.st_size).unwrap_or(0) < length {
        return Err(Errno(libc::EINVAL));
    }
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the system chooses an address where nothing is mapped.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), length, access, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
    if address == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    // SAFETY: the mapping has this length, is aligned to a page, and is never unmapped. Other processes write to it, so it is
    // only used as atomics, for which each value is valid.
    Ok(unsafe { std::slice::from_raw_parts(address.cast::<AtomicU64>(), words) })
}

/// Puts zeros of this process's own in the place of shared memory. It may be called in a child that a process with several
/// threads has forked.
pub(super) fn separate(words: &'static [AtomicU64]) {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_FIXED;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the words are a mapping of `map`, which nothing else uses but as atomics. They stay readable and writable.
    unsafe { libc::mmap(words.as_ptr().cast_mut().cast(), size_of_val(words), access, flags, -1, 0) };
}
