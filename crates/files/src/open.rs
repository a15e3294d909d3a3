//! Opens paths below the descriptor of a folder, in one system call or component by component, with or without links.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The flags for a file. A FIFO must not block the server, and a terminal must not become its controlling terminal.
const FILE: libc::c_int = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;

/// The flags for a folder on the way. Passing through a folder does not need permission to list it.
const FOLDER: libc::c_int = SEARCH | libc::O_DIRECTORY | libc::O_CLOEXEC;

/// The access mode for passing through a folder.
#[cfg(any(target_os = "linux", target_os = "android"))]
const SEARCH: libc::c_int = libc::O_PATH;
#[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "netbsd"))]
const SEARCH: libc::c_int = libc::O_SEARCH;
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd"
)))]
const SEARCH: libc::c_int = libc::O_RDONLY;

/// The size of the longest path that any system here accepts, with its NUL.
const MAX_PATH: usize = 4096;

fn error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

fn c_path(path: &[u8]) -> io::Result<CString> {
    if path.len() >= MAX_PATH {
        return Err(error(libc::ENAMETOOLONG));
    }
    CString::new(path).map_err(|_| error(libc::ENOENT))
}

/// Makes a call that returns a descriptor, and repeats it if a signal interrupts it, which happens on network file
/// systems.
fn descriptor(mut call: impl FnMut() -> libc::c_long) -> io::Result<OwnedFd> {
    loop {
        let fd = call();
        if fd >= 0 {
            // SAFETY: the kernel has just opened this descriptor for us, and nobody else has it.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) });
        }
        let why = io::Error::last_os_error();
        if why.raw_os_error() != Some(libc::EINTR) {
            return Err(why);
        }
    }
}

fn open_at(folder: RawFd, path: &[u8], flags: libc::c_int) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    // SAFETY: the path is a C string that outlives the call.
    descriptor(|| libc::c_long::from(unsafe { libc::openat(folder, path.as_ptr(), flags) }))
}

/// Opens a folder by its path, following links, so that files below it can be opened.
pub fn folder(path: &[u8]) -> io::Result<OwnedFd> {
    open_at(libc::AT_FDCWD, path, FOLDER)
}

/// Opens what is at a path below a folder, following links wherever they lead.
pub fn following(folder: BorrowedFd<'_>, path: &[u8]) -> io::Result<File> {
    open_at(folder.as_raw_fd(), path, FILE).map(File::from)
}

/// Opens what is at a path below a folder, where no component may be a link.
///
/// # Errors
/// Returns the error of openat(2) or openat2(2). For a link that is ELOOP, ENOTDIR, EMLINK (FreeBSD) or EFTYPE
/// (NetBSD).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn beneath(folder: BorrowedFd<'_>, path: &[u8]) -> io::Result<File> {
    use std::sync::atomic::{AtomicBool, Ordering};
    // Linux before 5.6 has no openat2, and some containers forbid system calls that they do not know.
    static IS_MISSING: AtomicBool = AtomicBool::new(false);
    if !IS_MISSING.load(Ordering::Relaxed) {
        match in_one_call(folder, path) {
            Err(why) if matches!(why.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                let found = by_components(folder, path);
                // EPERM may also come from the file itself, for which every call fails.
                if !matches!(&found, Err(why) if why.raw_os_error() == Some(libc::EPERM)) {
                    IS_MISSING.store(true, Ordering::Relaxed);
                }
                return found;
            }
            found => return found,
        }
    }
    by_components(folder, path)
}

/// Opens what is at a path below a folder, where no component may be a link.
///
/// # Errors
/// Returns the error of openat(2). For a link that is ELOOP, ENOTDIR, EMLINK (FreeBSD) or EFTYPE (NetBSD).
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn beneath(folder: BorrowedFd<'_>, path: &[u8]) -> io::Result<File> {
    by_components(folder, path)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn in_one_call(folder: BorrowedFd<'_>, path: &[u8]) -> io::Result<File> {
    let path = c_path(path)?;
    // SAFETY: the structure consists of three integers, which may be zero.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = FILE as u64;
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS;
    // SAFETY: the path and the structure outlive the call, which is told the size of the structure.
    let call = || unsafe {
        libc::syscall(libc::SYS_openat2, folder.as_raw_fd(), path.as_ptr(), &raw const how, size_of_val(&how))
    };
    descriptor(call).map(File::from)
}

fn by_components(folder: BorrowedFd<'_>, path: &[u8]) -> io::Result<File> {
    let (parent, name) = parent(folder, path)?;
    let parent = parent.as_ref().map_or(folder.as_raw_fd(), AsRawFd::as_raw_fd);
    open_at(parent, name, FILE | libc::O_NOFOLLOW).map(File::from)
}

/// Returns the last component of a path and the folder that has it, or `None` if that is the given folder.
fn parent<'p>(folder: BorrowedFd<'_>, path: &'p [u8]) -> io::Result<(Option<OwnedFd>, &'p [u8])> {
    if path.len() >= MAX_PATH {
        return Err(error(libc::ENAMETOOLONG));
    }
    let mut names = path.split(|&byte| byte == b'/');
    let mut name = names.next().unwrap_or_default();
    let mut parent: Option<OwnedFd> = None;
    for next in names {
        let at = parent.as_ref().map_or(folder.as_raw_fd(), AsRawFd::as_raw_fd);
        parent = Some(open_at(at, name, FOLDER | libc::O_NOFOLLOW)?);
        name = next;
    }
    Ok((parent, name))
}

/// Returns whether a path that could not be opened is a folder: one that may be passed through, but not read.
pub fn is_folder(folder: BorrowedFd<'_>, path: &[u8], follow: bool) -> bool {
    let found = if follow { Ok((None, path)) } else { parent(folder, path) };
    let Ok((parent, name)) = found else { return false };
    let Ok(name) = c_path(name) else { return false };
    let parent = parent.as_ref().map_or(folder.as_raw_fd(), AsRawFd::as_raw_fd);
    let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the name is a C string that outlives the call, which fills the structure if it succeeds.
    unsafe {
        libc::fstatat(parent, name.as_ptr(), stat.as_mut_ptr(), flags) == 0
            && stat.assume_init().st_mode & libc::S_IFMT == libc::S_IFDIR
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{FileTypeExt, symlink};
    use std::path::{Path, PathBuf};

    /// A folder that is deleted when the test ends.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("kqnet-open-{name}-{}", std::process::id()));
            std::fs::create_dir_all(path.join("root/a/b")).unwrap();
            std::fs::write(path.join("root/a/b/file"), "inside").unwrap();
            std::fs::write(path.join("secret"), "outside").unwrap();
            symlink(path.join("secret"), path.join("root/link")).unwrap();
            symlink("../..", path.join("root/a/up")).unwrap();
            symlink("b", path.join("root/a/inner")).unwrap();
            Self(path)
        }

        fn root(&self) -> OwnedFd {
            folder(self.0.join("root").as_os_str().as_encoded_bytes()).unwrap()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    type Open = fn(BorrowedFd<'_>, &[u8]) -> io::Result<File>;

    fn ways() -> Vec<Open> {
        vec![
            by_components,
            beneath,
            #[cfg(target_os = "linux")]
            in_one_call,
        ]
    }

    #[test]
    fn every_way_to_open_finds_files_and_follows_no_link() {
        let place = Place::new("ways");
        let root = place.root();
        for open in ways() {
            let mut text = String::new();
            open(root.as_fd(), b"a/b/file").unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "inside");
            for path in ["link", "a/up", "a/up/secret", "a/up/root/a/b/file", "a/inner/file", "a/b/file/x", "no/a"] {
                assert!(open(root.as_fd(), path.as_bytes()).is_err(), "{path}");
            }
        }
        assert!(following(root.as_fd(), b"link").is_ok());
    }

    #[test]
    fn a_fifo_does_not_block_and_a_long_path_fails_at_once() {
        let place = Place::new("fifo");
        let fifo = CString::new(place.0.join("root/fifo").as_os_str().as_encoded_bytes()).unwrap();
        // SAFETY: the path is a C string that outlives the call.
        assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
        let root = place.root();
        for open in ways() {
            assert!(open(root.as_fd(), b"fifo").unwrap().metadata().unwrap().file_type().is_fifo());
            assert_eq!(open(root.as_fd(), &b"a/".repeat(4096)).unwrap_err().raw_os_error(), Some(libc::ENAMETOOLONG));
        }
    }

    #[test]
    fn descriptors_are_closed_on_exec() {
        let place = Place::new("exec");
        let root = place.root();
        for open in ways() {
            let file = open(root.as_fd(), b"a/b/file").unwrap();
            // SAFETY: the call takes no pointers.
            assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFD) } & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        }
    }

    #[test]
    fn a_folder_is_recognized_without_opening_it() {
        let place = Place::new("folder");
        let root = place.root();
        assert!(is_folder(root.as_fd(), b"a/b", false));
        assert!(!is_folder(root.as_fd(), b"a/inner", false));
        assert!(is_folder(root.as_fd(), b"a/inner", true));
        assert!(!is_folder(root.as_fd(), b"a/b/file", false));
        assert!(!is_folder(root.as_fd(), b"a/nowhere/b", false));
        assert!(Path::new(&place.0).is_dir());
    }
}
