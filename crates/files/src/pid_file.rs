//! The file in which a daemon writes the number of its process.

use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::temporary::{folder_of, write_at};

/// A file with the number of this process. It is locked (flock(2)) for as long as this value lives, so that a number which a process
/// has left behind when it was killed is told from that of one that runs, even if another process has the number by now.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
    pid: u32,
}

/// Why a file cannot have the number of this process.
#[derive(Debug)]
pub enum NotClaimed {
    /// A process that runs has locked the file, which has this text.
    Taken(String),
    /// The file has something else than a number.
    Other,
    /// It is a folder, device, pipe or socket.
    Special,
    /// The error of a system call.
    System(io::Error),
}

impl fmt::Display for NotClaimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(pid) => write!(f, "process {pid}, which it names, is running"),
            Self::Other => f.write_str("it has something else than a process id"),
            Self::Special => f.write_str("it is not a plain file"),
            Self::System(why) => why.fmt(f),
        }
    }
}

impl From<io::Error> for NotClaimed {
    fn from(why: io::Error) -> Self {
        Self::System(why)
    }
}

/// How often another process may make or remove the file at the same moment.
const ATTEMPTS: usize = 10;

impl PidFile {
    /// Writes the number of this process to a file, whole or not at all. A file that a process has left behind is replaced, or written
    /// to if this process may do that and may not make files in its folder.
    ///
    /// # Errors
    /// Returns the reason why that cannot be done. The file is then as it was.
    pub fn claim(path: &Path) -> Result<Self, NotClaimed> {
        // What a link leads to is replaced, and not the link.
        let path = match std::fs::symlink_metadata(path) {
            Ok(data) if data.is_symlink() => std::fs::canonicalize(path)?,
            _ => path.to_owned(),
        };
        let pid = std::process::id();
        let partial = match Partial::write(&path, pid) {
            Err(why) if matches!(why.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
                return Self::in_place(path, pid, why);
            }
            result => result?,
        };
        for _ in 0..ATTEMPTS {
            let old = Self::left_behind(&path)?;
            let result = match &old {
                Some(_) => std::fs::rename(&partial.path, &path),
                // Unlike rename(2), link(2) does not replace the file of a process that starts at the same moment.
                None => std::fs::hard_link(&partial.path, &path).or_else(|why| match why.kind() {
                    ErrorKind::AlreadyExists => Err(why),
                    _ => std::fs::rename(&partial.path, &path),
                }),
            };
            match result {
                Err(why) if why.kind() == ErrorKind::AlreadyExists => {}
                result => {
                    result?;
                    return Ok(Self { path, file: partial.file.try_clone()?, pid });
                }
            }
        }
        Err(io::Error::from(ErrorKind::AlreadyExists).into())
    }

    /// Writes to the file that is there. It is empty if that fails.
    fn in_place(path: PathBuf, pid: u32, why: io::Error) -> Result<Self, NotClaimed> {
        Self::left_behind(&path)?;
        let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else { return Err(why.into()) };
        lock(&file);
        file.set_len(0)?;
        if let Err(why) = write_at(&file, content(pid).as_bytes(), 0).and_then(|()| synced(&file)) {
            let _ = file.set_len(0);
            return Err(why.into());
        }
        Ok(Self { path, file, pid })
    }

    /// Opens and locks a file that can be replaced. `None` if there is no file.
    fn left_behind(path: &Path) -> Result<Option<File>, NotClaimed> {
        match std::fs::metadata(path) {
            Ok(data) if !data.is_file() => return Err(NotClaimed::Special),
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(why.into()),
            Ok(_) => {}
        }
        let mut file = match File::open(path) {
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
            result => result?,
        };
        let mut text = Vec::new();
        (&mut file).take(32).read_to_end(&mut text)?;
        let text = text.trim_ascii();
        // An empty one was left by a full disk.
        if text.len() > 20 || !text.iter().all(u8::is_ascii_digit) {
            return Err(NotClaimed::Other);
        }
        if lock(&file) { Ok(Some(file)) } else { Err(NotClaimed::Taken(String::from_utf8_lossy(text).into_owned())) }
    }

    /// Removes the file, unless another process has replaced it or written to it since.
    pub fn remove(&self) {
        let is_same =
            |data: Metadata| self.file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (data.dev(), data.ino()));
        if std::process::id() == self.pid
            && std::fs::symlink_metadata(&self.path).is_ok_and(is_same)
            && std::fs::read(&self.path).is_ok_and(|text| text == content(self.pid).as_bytes())
        {
            // Whoever must not remove it can still empty it.
            if std::fs::remove_file(&self.path).is_err() {
                let _ = self.file.set_len(0);
            }
        }
    }
}

/// What the file of a process has.
fn content(pid: u32) -> String {
    format!("{pid}\n")
}

/// Locks a file until it is closed. Returns whether no other process has locked it: true also where files cannot be locked.
fn lock(file: &File) -> bool {
    // SAFETY: the arguments are numbers, and the descriptor is open.
    let result = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    result == 0 || io::Error::last_os_error().kind() != ErrorKind::WouldBlock
}

/// A complete file that does not have its name yet. Its own name is removed when this is dropped.
struct Partial {
    path: PathBuf,
    file: File,
}

impl Partial {
    fn write(target: &Path, pid: u32) -> io::Result<Self> {
        let name = target.file_name().ok_or(ErrorKind::InvalidInput)?;
        let path = folder_of(target).join(format!(".{}.{pid}", name.to_string_lossy()));
        // One that a process with this number has left behind.
        let _ = std::fs::remove_file(&path);
        // It is not opened if there is something of its name, such as a link that somebody has put there.
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o644).open(&path)?;
        let partial = Self { path, file };
        lock(&partial.file);
        write_at(&partial.file, content(pid).as_bytes(), 0)?;
        synced(&partial.file)?;
        Ok(partial)
    }
}

/// Has the system write a file to the disk. Some file systems find only now that they are full, and some cannot do it.
fn synced(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(why) if !matches!(why.raw_os_error(), Some(libc::EINVAL | libc::ENOTSUP)) => Err(why),
        _ => Ok(()),
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After rename(2) it is gone.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("kqnet-pid-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.collect();
            names.sort();
            names
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn own() -> String {
        content(std::process::id())
    }

    #[test]
    fn it_has_the_number_and_nothing_else_is_left_and_it_is_removed() {
        let place = Place::new("own");
        let path = place.0.join("app.pid");
        for old in [None, Some(""), Some("4194305\n"), Some("1")] {
            if let Some(old) = old {
                fs::write(&path, old).unwrap();
            }
            let file = PidFile::claim(&path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), own());
            assert_eq!(place.names(), ["app.pid"]);
            file.remove();
            assert_eq!(place.names(), [""; 0]);
        }
    }

    #[test]
    fn the_file_of_a_process_that_runs_is_refused_and_stays() {
        let place = Place::new("taken");
        let path = place.0.join("app.pid");
        let file = PidFile::claim(&path).unwrap();
        assert!(matches!(PidFile::claim(&path), Err(NotClaimed::Taken(pid)) if pid == own().trim()));
        assert_eq!(fs::read_to_string(&path).unwrap(), own());
        assert_eq!(place.names(), ["app.pid"]);
        // As when the process was killed.
        drop(file);
        assert_eq!(place.names(), ["app.pid"]);
        PidFile::claim(&path).unwrap().remove();
    }

    #[test]
    fn what_is_no_pid_file_is_not_replaced() {
        let place = Place::new("other");
        let path = place.0.join("app.janet");
        for text in ["(print 1)\n", "123456789012345678901", "12\n13\n"] {
            fs::write(&path, text).unwrap();
            assert!(matches!(PidFile::claim(&path), Err(NotClaimed::Other)), "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert!(matches!(PidFile::claim(Path::new("/dev/null")), Err(NotClaimed::Special | NotClaimed::System(_))));
        assert!(matches!(PidFile::claim(&place.0), Err(NotClaimed::Special)));
        assert!(PidFile::claim(Path::new("/")).is_err());
        assert!(PidFile::claim(&place.0.join("no/such/folder")).is_err());
        assert_eq!(place.names(), ["app.janet"]);
    }

    #[test]
    fn a_file_that_another_process_has_replaced_or_written_to_is_not_removed() {
        let place = Place::new("replaced");
        let path = place.0.join("app.pid");
        let file = PidFile::claim(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        file.remove();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
        fs::remove_file(&path).unwrap();
        fs::write(&path, own()).unwrap();
        file.remove();
        assert_eq!(place.names(), ["app.pid"]);
    }

    #[test]
    fn a_file_that_can_be_written_but_not_replaced_is_written_and_emptied() {
        let place = Place::new("in-place");
        let path = place.0.join("app.pid");
        fs::write(&path, "4194305\n12").unwrap();
        assert!(matches!(
            PidFile::in_place(path.clone(), 1, ErrorKind::PermissionDenied.into()),
            Err(NotClaimed::Other)
        ));
        fs::write(&path, "4194305\n").unwrap();
        let why = || io::Error::from(ErrorKind::PermissionDenied);
        let file = PidFile::in_place(path.clone(), std::process::id(), why()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), own());
        assert!(matches!(PidFile::claim(&path), Err(NotClaimed::Taken(_))));
        file.remove();
        let missing = PidFile::in_place(path, 1, why());
        assert!(matches!(missing, Err(NotClaimed::System(why)) if why.kind() == ErrorKind::PermissionDenied));
    }

    #[test]
    fn a_link_stays_and_leads_to_the_file() {
        let place = Place::new("link");
        let (path, target) = (place.0.join("app.pid"), place.0.join("other.pid"));
        fs::write(&target, "").unwrap();
        std::os::unix::fs::symlink("other.pid", &path).unwrap();
        let file = PidFile::claim(&path).unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), own());
        file.remove();
        assert_eq!(place.names(), ["app.pid"]);
    }
}
