//! Unix sockets in the file system: whose file is replaced, and when it is removed.

use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use kqnet_accept::Errno;
use kqnet_accept::socket::{Address, Kind, ListenError, Options, listen, socket_file};
use kqnet_accept::unix_socket::SocketFile;

#[cfg(feature = "emulated-kqueue")]
use kqueue_emu as _;

const OPTIONS: Options =
    Options { kind: Kind::Stream, reuse_address: true, reuse_port: false, backlog: None, nodelay: false, mode: None };

const IN_USE: Result<(), ListenError> = Err(ListenError::System(Errno(libc::EADDRINUSE)));

/// A folder of its own, removed with what is in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("kqnet-unix-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a folder");
        Self(path)
    }

    fn path(&self) -> PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the folder is ours");
    }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no NUL")
}

fn address(path: &Path) -> Address {
    Address::Unix(c_path(path))
}

fn listen_at(path: &Path) -> Result<OwnedFd, ListenError> {
    listen(&address(path), &OPTIONS)
}

/// Leaves the file of a server that is gone.
fn dead_server(path: &Path) {
    drop(UnixListener::bind(path).expect("a free path"));
    assert!(fs::symlink_metadata(path).expect("a file").file_type().is_socket());
}

fn accepts(listener: &OwnedFd) -> bool {
    kqnet_accept::socket::accept(listener.as_raw_fd()).is_ok()
}

#[test]
fn the_file_of_a_dead_server_is_replaced() {
    let folder = Folder::new();
    dead_server(&folder.path());
    let listener = listen_at(&folder.path()).expect("nobody is there");
    UnixStream::connect(folder.path()).expect("a server");
    assert!(accepts(&listener));
}

#[test]
fn the_file_of_a_dead_datagram_server_is_replaced() {
    let folder = Folder::new();
    drop(UnixDatagram::bind(folder.path()).expect("a free path"));
    listen_at(&folder.path()).expect("nobody is there");
}

#[test]
fn the_place_of_a_living_server_is_not_taken() {
    let folder = Folder::new();
    let living = UnixListener::bind(folder.path()).expect("a free path");
    living.set_nonblocking(true).expect("a socket");
    assert_eq!(listen_at(&folder.path()).map(drop), IN_USE);
    // Nor has it had a visitor.
    assert!(living.accept().is_err());
}

#[test]
fn the_place_of_a_socket_that_is_bound_and_not_listening_yet_is_not_taken() {
    let folder = Folder::new();
    let datagram = Options { kind: Kind::Datagram, ..OPTIONS };
    let bound = listen(&address(&folder.path()), &datagram).expect("a free path");
    assert_eq!(listen_at(&folder.path()).map(drop), IN_USE);
    drop(bound);

    // A stream socket between bind and listen, as another server has it for a moment.
    let folder = Folder::new();
    let path = c_path(&folder.path());
    // SAFETY: plain system calls; the address is zeroed, and the path is shorter than its place in it.
    let bound = unsafe {
        use std::os::fd::FromRawFd;
        let fd = OwnedFd::from_raw_fd(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0));
        let mut address: libc::sockaddr_un = std::mem::zeroed();
        address.sun_family = libc::AF_UNIX as _;
        for (to, from) in address.sun_path.iter_mut().zip(path.as_bytes()) {
            *to = *from as libc::c_char;
        }
        let length = size_of::<libc::sockaddr_un>() as libc::socklen_t;
        assert_eq!(libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length), 0);
        fd
    };
    assert_eq!(listen_at(&folder.path()).map(drop), IN_USE);
    drop(bound);
    listen_at(&folder.path()).expect("nobody is there any more");
}

#[test]
fn what_is_no_socket_stays_as_it_is() {
    let folder = Folder::new();
    let mode = Options { mode: Some(0o600), ..OPTIONS };
    for options in [OPTIONS, mode] {
        fs::write(folder.path(), "precious").expect("a file");
        assert_eq!(listen(&address(&folder.path()), &options).map(drop), IN_USE);
        assert_eq!(fs::read_to_string(folder.path()).expect("the file"), "precious");
        fs::remove_file(folder.path()).expect("the file");

        symlink("/no/such/file", folder.path()).expect("a link");
        let result = listen(&address(&folder.path()), &options).map(drop);
        // macOS looks where the link leads, and there is no such folder.
        let refused = if cfg!(target_vendor = "apple") { result.is_err() } else { result == IN_USE };
        assert!(refused, "{result:?}");
        assert!(fs::symlink_metadata(folder.path()).expect("the link").is_symlink());
        fs::remove_file(folder.path()).expect("the link");

        fs::create_dir(folder.path()).expect("a folder");
        assert_eq!(listen(&address(&folder.path()), &options).map(drop), IN_USE);
        fs::remove_dir(folder.path()).expect("the folder");
    }
}

/// Has many listen at once, and returns those that won.
fn race(path: &Path) -> Vec<OwnedFd> {
    const RACERS: usize = 8;
    let start = Barrier::new(RACERS);
    thread::scope(|scope| {
        let racers: Vec<_> = (0..RACERS)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    listen_at(path)
                })
            })
            .collect();
        racers
            .into_iter()
            .filter_map(|racer| match racer.join().expect("no panic") {
                Ok(listener) => Some(listener),
                Err(error) => {
                    assert_eq!(Err(error), IN_USE);
                    None
                }
            })
            .collect()
    })
}

#[test]
fn of_those_that_start_at_once_exactly_one_wins_and_is_reachable() {
    let folder = Folder::new();
    for round in 0..100 {
        if round % 2 == 0 {
            dead_server(&folder.path());
        }
        let winners = race(&folder.path());
        assert_eq!(winners.len(), 1, "round {round}");
        let _client = UnixStream::connect(folder.path()).expect("the winner");
        assert!(accepts(&winners[0]));
        drop(winners);
        fs::remove_file(folder.path()).expect("the winner's file");
    }
}

#[test]
fn a_folder_that_is_locked_for_good_is_no_obstacle() {
    let folder = Folder::new();
    dead_server(&folder.path());
    let locked = fs::File::open(&folder.0).expect("the folder");
    // SAFETY: a system call on a descriptor that is held here.
    assert_eq!(unsafe { libc::flock(locked.as_raw_fd(), libc::LOCK_EX) }, 0);
    listen_at(&folder.path()).expect("nobody is there");
}

#[test]
fn a_mode_is_exact() {
    let folder = Folder::new();
    for mode in [0o600, 0o660, 0o666, 0o777, 0o000, 0o123] {
        let _listener = listen(&address(&folder.path()), &Options { mode: Some(mode), ..OPTIONS }).expect("free");
        assert_eq!(fs::metadata(folder.path()).expect("a file").permissions().mode() & 0o7777, mode);
        fs::remove_file(folder.path()).expect("the file");
    }
}

#[test]
fn a_file_is_removed_if_it_is_the_same() {
    let folder = Folder::new();
    let _listener = listen_at(&folder.path()).expect("a free path");
    let file = socket_file(&address(&folder.path())).expect("a file");
    file.remove();
    assert!(!folder.path().exists());
    // Twice is no error.
    file.remove();
    fs::write(folder.path(), "precious").expect("a file");
    file.remove();
    assert_eq!(fs::read_to_string(folder.path()).expect("the file"), "precious");
}

#[test]
fn the_file_of_another_server_in_its_place_stays() {
    let folder = Folder::new();
    let _old = listen_at(&folder.path()).expect("a free path");
    let file = socket_file(&address(&folder.path())).expect("a file");
    // Kept under another name, so that the new file does not get the old one's inode.
    fs::rename(folder.path(), folder.0.join("old")).expect("the file");
    let _new = listen_at(&folder.path()).expect("a free path");
    let inode = fs::metadata(folder.path()).expect("the new file").ino();
    file.remove();
    assert_eq!(fs::metadata(folder.path()).expect("the new file").ino(), inode);
}

#[test]
fn a_relative_path_is_remembered_as_an_absolute_one() {
    // The current folder is the package's, and other tests depend on it.
    let name = format!("kqnet-test-{}", std::process::id());
    let path = CString::new(name.clone()).expect("no NUL");
    let _listener = listen(&Address::Unix(path.clone()), &OPTIONS).expect("a free path");
    let file = SocketFile::at(&path).expect("a file");
    let folder = std::env::current_dir().expect("a folder");
    assert!(format!("{file:?}").contains(&*folder.to_string_lossy()), "{file:?}");
    file.remove();
    assert!(!Path::new(&name).exists());
}

#[test]
fn there_is_no_file_for_a_path_with_nothing_or_an_abstract_name() {
    assert_eq!(SocketFile::at(c"/no/such/file"), None);
    let abstract_name: &CStr = c"@no-file";
    if cfg!(target_os = "linux") {
        assert_eq!(socket_file(&Address::Unix(abstract_name.into())), None);
    }
    let inet = Address::Inet { host: c"127.0.0.1".into(), port: c"0".into() };
    assert_eq!(socket_file(&inet), None);
}
