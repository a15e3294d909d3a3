//! Opening by descriptor, component by component or in one system call, without following links.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A FIFO must not block the server, and a terminal must not become its controlling terminal.
const FILE: libc::c_int = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;

/// A folder is only passed through, which does not need permission to list it.
const FOLDER: libc::c_int = PASS | libc::O_DIRECTORY | libc::O_CLOEXEC;

#[cfg(any(target_os = "linux", target_os = "android"))]
const PASS: libc::c_int = libc::O_PATH;
#[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "netbsd"))]
const PASS: libc::c_int = libc::O_SEARCH;
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "netbsd"
)))]
const PASS: libc::c_int = libc::O_RDONLY;

/// The longest path that any system here takes, with its NUL.
const MOST: usize = 4096;

fn error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

fn c_path(path: &[u8]) -> io::Result<CString> {
    if path.len() >= MOST {
        return Err(error(libc::ENAMETOOLONG));
    }
    CString::new(path).map_err(|_| error(libc::ENOENT))
}

/// Repeats a call that a signal interrupts, as opening on a network file system may be.
fn descriptor(mut call: impl FnMut() -> libc::c_long) -> io::Result<OwnedFd> {
    loop {
        let fd = call();
        if fd >= 0 {
            // SAFETY: the kernel has just given this descriptor to us alone.
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
    // SAFETY: the path is a string that outlives the call.
    descriptor(|| libc::c_long::from(unsafe { libc::openat(folder, path.as_ptr(), flags) }))
}

/// Opens a folder by its path, links followed, to open what is below it.
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
/// Those of openat(2). A link gives ELOOP, ENOTDIR, EMLINK (FreeBSD) or EFTYPE (NetBSD).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn beneath(folder: BorrowedFd<'_>, path: &[u8]) -> io::Result<File> {
    use std::sync::atomic::{AtomicBool, Ordering};
    // Linux before 5.6 has no openat2, and some containers forbid what they do not know.
    static IS_MISSING: AtomicBool = AtomicBool::new(false);
    if !IS_MISSING.load(Ordering::Relaxed) {
        match in_one_call(folder, path) {
            Err(why) if matches!(why.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
                let found = by_components(folder, path);
                // A file may forbid it too, whatever the call.
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

/// As above, for systems that cannot do it in one call.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn beneath(folder: BorrowedFd<'_>, path: &[u8]) -> io::Result<File> {
    by_components(folder, path)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn in_one_call(folder: BorrowedFd<'_>, path: &[u8]) -> io::Result<File> {
    let path = c_path(path)?;
    // SAFETY: three integers, all of which may be zero.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = FILE as u64;
    how.resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS;
    // SAFETY: the path and the structure outlive the call, and the size is the structure's.
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

/// The folder that holds the last component of a path (none for the given one), and that component.
fn parent<'p>(folder: BorrowedFd<'_>, path: &'p [u8]) -> io::Result<(Option<OwnedFd>, &'p [u8])> {
    if path.len() >= MOST {
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

/// Whether a path that could not be opened is a folder: one that may be passed through, but not read.
pub fn is_folder(folder: BorrowedFd<'_>, path: &[u8], follow: bool) -> bool {
    let found = if follow { Ok((None, path)) } else { parent(folder, path) };
    let Ok((parent, name)) = found else { return false };
    let Ok(name) = c_path(name) else { return false };
    let parent = parent.as_ref().map_or(folder.as_raw_fd(), AsRawFd::as_raw_fd);
    let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the name is a string that outlives the call, which fills the structure where it succeeds.
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

    /// A folder that goes away with the test.
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
    fn each_way_to_open_finds_files_and_follows_no_link() {
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
        // SAFETY: a string.
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
            // SAFETY: no pointers.
            assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFD) } & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        }
    }

    #[test]
    fn a_folder_is_known_though_it_cannot_be_opened() {
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
