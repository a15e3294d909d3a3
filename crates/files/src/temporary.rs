//! Temporary files that have no name, so that nothing is left of them whatever becomes of the process, and saving one
//! under a lasting name.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many bytes [`Saving::advance`] copies at most.
pub const COPIED: usize = 1024 * 1024;

/// Opens a new file for reading and writing in a folder. It has no name there, so it is gone when it is closed.
///
/// # Errors
/// Returns the error of open(2) or unlink(2).
pub fn temporary(folder: &Path) -> io::Result<File> {
    #[cfg(target_os = "linux")]
    match unnamed(folder) {
        // Network file systems and old kernels have no such files. A kernel before 3.11 takes the folder for the file.
        Err(why)
            if matches!(why.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::ENOENT | libc::EINVAL)) => {}
        result => return result,
    }
    // Nobody else may open it before its name is removed.
    let (file, path) = new_in(folder, 0o600)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

/// Opens a file that never had a name. A name can be given to it, so its permissions are those of a new file.
#[cfg(target_os = "linux")]
fn unnamed(folder: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).mode(0o666).custom_flags(libc::O_TMPFILE).open(folder)
}

/// Writes bytes at an offset of a file, all of them.
///
/// # Errors
/// Returns the error of write(2). That is EFBIG for a file that would exceed the largest size that the process may make
/// (`ulimit -f`); the system would end the process with SIGXFSZ.
pub fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a limit, which the call fills in.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) };
    // The type of a limit depends on the system.
    #[allow(clippy::unnecessary_cast)]
    if result == 0 && offset.saturating_add(bytes.len() as u64) > limit.rlim_cur as u64 {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    file.write_all_at(bytes, offset)
}

/// Makes a file with a name that nothing in the folder has.
fn new_in(folder: &Path, mode: u32) -> io::Result<(File, PathBuf)> {
    loop {
        let path = folder.join(new_name());
        match OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(&path) {
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {}
            result => return Ok((result?, path)),
        }
    }
}

/// A name that is not in use, unless somebody means to use it.
fn new_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    format!(".kqnet-{}-{:x}-{:x}.partial", std::process::id(), now, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A file that is on its way to a lasting name. Until it is complete it has another name in the same folder, so that nobody
/// sees a part of it. That name is removed if this is dropped.
#[derive(Debug)]
pub struct Saving {
    /// None once the file has its name.
    partial: Option<PathBuf>,
    path: PathBuf,
    file: Option<File>,
    copied: u64,
}

impl Saving {
    /// Gives a temporary file a name next to `path`, without copying it, if the system can do this: on Linux, for a file of
    /// [`temporary`] in a folder on the same file system that was not saved before.
    pub fn link(file: &File, path: &Path) -> Option<Self> {
        if cfg!(not(target_os = "linux")) {
            return None;
        }
        let partial = folder_of(path).join(new_name());
        let from = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
        let to = CString::new(partial.as_os_str().as_bytes()).ok()?;
        // SAFETY: both paths are C strings that outlive the call.
        let result = unsafe {
            libc::linkat(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, to.as_ptr(), libc::AT_SYMLINK_FOLLOW)
        };
        (result == 0).then(|| Self { partial: Some(partial), path: path.to_owned(), file: None, copied: 0 })
    }

    /// Makes an empty file next to `path`, for a copy.
    ///
    /// # Errors
    /// Returns the error of open(2).
    pub fn copy(path: &Path) -> io::Result<Self> {
        let (file, partial) = new_in(folder_of(path), 0o666)?;
        Ok(Self { partial: Some(partial), path: path.to_owned(), file: Some(file), copied: 0 })
    }

    /// The path that it is on its way to.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends bytes to the copy.
    ///
    /// # Errors
    /// Returns the error of write(2).
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(file) = &self.file {
            write_at(file, bytes, self.copied)?;
            self.copied += bytes.len() as u64;
        }
        Ok(())
    }

    /// Copies a bounded number of bytes from `from`, which has `size` bytes. Returns whether all were copied.
    ///
    /// # Errors
    /// Returns the error of read(2) or write(2).
    pub fn advance(&mut self, from: &File, size: u64) -> io::Result<bool> {
        let mut buffer = vec![0; 64 * 1024];
        for _ in 0..COPIED / buffer.len() {
            let count =
                usize::try_from(size.saturating_sub(self.copied)).map_or(buffer.len(), |rest| rest.min(buffer.len()));
            if count == 0 {
                return Ok(true);
            }
            from.read_exact_at(&mut buffer[..count], self.copied)?;
            self.write(&buffer[..count])?;
        }
        Ok(self.copied >= size)
    }

    /// Gives the complete file its name. A file or symbolic link that has the name is replaced.
    ///
    /// # Errors
    /// Returns the error of rename(2), and an error if a device, pipe or socket has the name: to replace `/dev/null` is never
    /// meant.
    pub fn finish(mut self) -> io::Result<()> {
        if let Ok(found) = std::fs::symlink_metadata(&self.path) {
            let kind = found.file_type();
            if !kind.is_file() && !kind.is_symlink() && !kind.is_dir() {
                return Err(io::Error::other("a device, pipe or socket has that name"));
            }
        }
        if let Some(partial) = &self.partial {
            std::fs::rename(partial, &self.path)?;
        }
        self.partial = None;
        Ok(())
    }
}

impl Drop for Saving {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            let _ = std::fs::remove_file(partial);
        }
    }
}

/// The folder that a path is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    /// A folder that is deleted when the test ends.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("kqnet-temporary-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<String> = std::fs::read_dir(&self.0)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn copied(file: &File, size: u64, path: &Path) {
        let mut saving = Saving::copy(path).unwrap();
        while !saving.advance(file, size).unwrap() {}
        saving.finish().unwrap();
    }

    #[test]
    fn a_temporary_file_has_no_name_and_nobody_else_can_open_it() {
        let place = Place::new("unnamed");
        let file = temporary(&place.0).unwrap();
        file.write_all_at(b"hello", 0).unwrap();
        assert_eq!(place.names(), [""; 0]);
        assert_eq!(file.metadata().unwrap().nlink(), 0);
        let (named, path) = new_in(&place.0, 0o600).unwrap();
        assert_eq!(named.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_file(path).unwrap();
        // SAFETY: the call takes no pointers.
        assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFD) } & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }

    #[test]
    fn a_saved_file_appears_whole_and_replaces_another_one() {
        let place = Place::new("saved");
        let content: Vec<u8> = (0..3_000_000u32).map(|n| (n / 7) as u8).collect();
        let file = temporary(&place.0).unwrap();
        file.write_all_at(&content, 0).unwrap();
        let path = place.0.join("name");
        for link in [false, true] {
            std::fs::write(&path, "old").unwrap();
            if !link {
                copied(&file, content.len() as u64, &path);
            } else if let Some(saving) = Saving::link(&file, &path) {
                assert_eq!(std::fs::read(&path).unwrap(), b"old");
                saving.finish().unwrap();
            } else {
                continue;
            }
            assert!(std::fs::read(&path).unwrap() == content, "link: {link}");
            assert_eq!(place.names(), ["name"]);
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o600, 0o600);
            assert_eq!(mode & 0o111, 0);
        }
    }

    #[test]
    fn a_special_file_is_not_replaced() {
        let place = Place::new("special");
        let path = place.0.join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let file = temporary(&place.0).unwrap();
        for link in [false, true] {
            let made = if link { Saving::link(&file, &path) } else { Saving::copy(&path).ok() };
            let Some(saving) = made else { continue };
            assert!(saving.finish().is_err());
            assert_eq!(place.names(), ["socket"]);
            assert!(!path.metadata().unwrap().is_file());
        }
    }

    #[test]
    fn nothing_is_left_of_a_copy_that_was_not_finished() {
        let place = Place::new("dropped");
        let mut saving = Saving::copy(&place.0.join("name")).unwrap();
        saving.write(b"a part").unwrap();
        assert_eq!(place.names().len(), 1);
        drop(saving);
        assert_eq!(place.names(), [""; 0]);
        assert!(Saving::copy(&place.0.join("missing/name")).is_err());
        // A name that cannot be taken: the partial file is removed too.
        std::fs::create_dir(place.0.join("folder")).unwrap();
        assert!(Saving::copy(&place.0.join("folder")).unwrap().finish().is_err());
        assert_eq!(place.names(), ["folder"]);
    }
}
