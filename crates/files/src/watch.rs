//! Noticing that files were changed: which version a file is in, and inotify(7), by which Linux tells of changes.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

/// A text that tells the present version of a plain file, or of the one that a link leads to, from the others: its time, size and
/// inode. `None` if there is no plain file.
pub fn version(path: &Path) -> Option<String> {
    let data = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let info = crate::Info::from(&data);
    let (seconds, nanoseconds) = info.modified;
    Some(format!("{seconds}.{nanoseconds:09} {} {}", info.size, info.inode))
}

/// Makes an inotify instance, which never blocks.
///
/// # Errors
/// Returns the error of inotify_init1(2): EMFILE if the user has too many instances, or the process too many descriptors. It is
/// [`io::ErrorKind::Unsupported`] on systems that have no inotify.
pub fn notifications() -> io::Result<OwnedFd> {
    system::notifications()
}

/// Has an instance tell of the files of a folder that are written, moved or deleted, and of the end of the folder. Returns the number
/// that its events have. A folder that is there already is not added twice, and keeps its number.
///
/// # Errors
/// Returns the error of inotify_add_watch(2): ENOSPC if the user watches too many folders.
pub fn watch(notifications: BorrowedFd<'_>, folder: &Path) -> io::Result<i32> {
    system::watch(notifications, folder)
}

/// Whether there is something to look at in what was read from an instance. A file that was only created is written and closed
/// next, and half of it is of no use to anybody. `matters` says whether anybody wants to know of a name in the folder with a number;
/// the name is empty if the event is about the folder itself.
pub fn tells_of_change(events: &[u8], matters: impl Fn(i32, &[u8]) -> bool) -> bool {
    system::tells_of_change(events, matters)
}

#[cfg(target_os = "linux")]
mod system {
    use std::ffi::CString;
    use std::io;
    use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    /// A folder that is replaced by another one of its name counts too.
    const EVENTS: u32 = libc::IN_CLOSE_WRITE
        | libc::IN_CREATE
        | libc::IN_MOVED_TO
        | libc::IN_MOVED_FROM
        | libc::IN_DELETE
        | libc::IN_DELETE_SELF
        | libc::IN_MOVE_SELF
        | libc::IN_ONLYDIR;

    pub(super) fn notifications() -> io::Result<OwnedFd> {
        // SAFETY: the argument is a number.
        let fd = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and ours alone.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    pub(super) fn watch(notifications: BorrowedFd<'_>, folder: &Path) -> io::Result<i32> {
        let folder = CString::new(folder.as_os_str().as_bytes())?;
        // SAFETY: the path is a C string that outlives the call.
        let result = unsafe { libc::inotify_add_watch(notifications.as_raw_fd(), folder.as_ptr(), EVENTS) };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
    }

    pub(super) fn tells_of_change(events: &[u8], matters: impl Fn(i32, &[u8]) -> bool) -> bool {
        let mut rest = events;
        // The number of the watch, the mask, a cookie, and the length of the name that follows.
        while let Some((&[i, j, k, l, a, b, c, d, _, _, _, _, e, f, g, h], names)) = rest.split_first_chunk::<16>() {
            let number = i32::from_ne_bytes([i, j, k, l]);
            let mask = u32::from_ne_bytes([a, b, c, d]);
            let length = u32::from_ne_bytes([e, f, g, h]) as usize;
            // It is padded with NUL.
            let name =
                names.get(..length).and_then(|padded| padded.split(|byte| *byte == 0).next()).unwrap_or_default();
            // The system says last that it no longer watches a folder, for which there was another reason before.
            let is_of_use = mask & libc::IN_IGNORED == 0 && (mask & libc::IN_CREATE == 0 || mask & libc::IN_ISDIR != 0);
            if is_of_use && matters(number, name) {
                return true;
            }
            rest = names.get(length..).unwrap_or_default();
        }
        false
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::os::fd::{BorrowedFd, OwnedFd};
    use std::path::Path;

    pub(super) fn notifications() -> io::Result<OwnedFd> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn watch(_notifications: BorrowedFd<'_>, _folder: &Path) -> io::Result<i32> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn tells_of_change(_events: &[u8], _matters: impl Fn(i32, &[u8]) -> bool) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_changes_with_the_file_and_only_then() {
        let path = std::env::temp_dir().join(format!("kqnet-version-{}", std::process::id()));
        assert_eq!(version(&path), None);
        assert_eq!(version(&std::env::temp_dir()), None);
        std::fs::write(&path, "one").unwrap();
        let one = version(&path);
        assert!(one.is_some());
        assert_eq!(version(&path), one);
        std::fs::write(&path, "three").unwrap();
        assert_ne!(version(&path), one);
        // The same size, in another file, as editors save.
        let other = path.with_extension("new");
        std::fs::write(&other, "two").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_ne!(version(&path), one);
        std::fs::remove_file(&path).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_is_written_is_told_of_when_it_is_closed() {
        use std::io::{Read, Write};
        use std::os::fd::AsFd;

        let folder = std::env::temp_dir().join(format!("kqnet-watch-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let notifications = notifications().unwrap();
        let number = watch(notifications.as_fd(), &folder).unwrap();
        assert_eq!(watch(notifications.as_fd(), &folder).unwrap(), number);
        assert!(watch(notifications.as_fd(), &folder.join("missing")).is_err());
        let mut read = std::fs::File::from(notifications);
        let mut tells = || {
            let mut buffer = [0; 4096];
            read.read(&mut buffer).is_ok_and(|count| {
                let of = |name: &'static [u8]| {
                    tells_of_change(&buffer[..count], |found, of| found == number && (of == name || of.is_empty()))
                };
                assert!(!of(b"fil") && !of(b"file2"));
                of(b"file") || of(b"inner")
            })
        };
        let mut file = std::fs::File::create(folder.join("file")).unwrap();
        file.write_all(b"half").unwrap();
        assert!(!tells());
        drop(file);
        assert!(tells());
        std::fs::create_dir(folder.join("inner")).unwrap();
        assert!(tells());
        std::fs::remove_dir_all(&folder).unwrap();
        let mut buffer = [0; 4096];
        let count = read.read(&mut buffer).unwrap();
        assert!(tells_of_change(&buffer[..count], |found, name| found == number && name.is_empty()));
    }

    #[test]
    fn bytes_that_are_no_events_tell_of_nothing_or_of_a_change_and_are_read_to_their_end() {
        for length in 0..100 {
            for byte in [0, 1, 255] {
                tells_of_change(&vec![byte; length], |_, _| false);
            }
        }
        #[cfg(target_os = "linux")]
        assert!(!tells_of_change(&[], |_, _| true));
    }
}
