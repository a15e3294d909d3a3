//! The files of unix sockets: which are replaced, which permissions they have, and when they are removed.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use kqnet_accept::Errno;
use kqnet_accept::socket::{Address, Kind, ListenError, Listening, Options, listen};

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
    listen(&address(path), &OPTIONS).map(|listening| listening.socket)
}

fn listening_at(path: &Path) -> Listening {
    listen(&address(path), &OPTIONS).expect("a free path")
}

impl Folder {
    /// What else is in the folder than the socket.
    fn others(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).expect("the folder").map(|entry| entry.expect("an entry").file_name());
        names.map(|name| name.to_string_lossy().into_owned()).filter(|name| name != "socket").collect()
    }
}

/// Removes the file of a socket that is open.
fn remove(listening: &Listening) {
    listening.file.as_ref().expect("a file").remove(Some(listening.socket.as_raw_fd()));
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
    // It has had no connection either.
    assert!(living.accept().is_err());
}

#[test]
fn the_place_of_a_socket_that_is_bound_and_not_listening_yet_is_not_taken() {
    let folder = Folder::new();
    let datagram = Options { kind: Kind::Datagram, ..OPTIONS };
    let bound = listen(&address(&folder.path()), &datagram).expect("a free path").socket;
    assert_eq!(listen_at(&folder.path()).map(drop), IN_USE);
    drop(bound);

    // A stream socket between bind and listen, as every server has for a moment.
    let folder = Folder::new();
    let path = c_path(&folder.path());
    // SAFETY: system calls on a new descriptor and an address that outlives the call, which may be all zeros.
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
        // macOS follows the link, and its target's folder does not exist.
        let refused = if cfg!(target_vendor = "apple") { result.is_err() } else { result == IN_USE };
        assert!(refused, "{result:?}");
        assert!(fs::symlink_metadata(folder.path()).expect("the link").is_symlink());
        fs::remove_file(folder.path()).expect("the link");

        fs::create_dir(folder.path()).expect("a folder");
        assert_eq!(listen(&address(&folder.path()), &options).map(drop), IN_USE);
        fs::remove_dir(folder.path()).expect("the folder");
    }
}

/// Lets several threads listen at once, and returns the listeners of those that succeeded.
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
fn of_servers_that_start_at_once_exactly_one_wins_and_is_reachable() {
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
    for kind in [Kind::Stream, Kind::Datagram] {
        for mode in [0o600, 0o660, 0o666, 0o777, 0o000, 0o123] {
            let options = Options { mode: Some(mode), kind, ..OPTIONS };
            let listening = listen(&address(&folder.path()), &options).expect("free");
            assert_eq!(fs::metadata(folder.path()).expect("a file").permissions().mode() & 0o7777, mode);
            remove(&listening);
        }
    }
}

/// Looks again and again in another thread while `body` runs.
fn meanwhile(mut look: impl FnMut() + Send, body: impl FnOnce()) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let looker = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                look();
            }
        });
        body();
        done.store(true, Ordering::Relaxed);
        looker.join().expect("what it saw was right");
    });
}

#[test]
fn a_file_never_has_wider_permissions_than_its_mode() {
    let folder = Folder::new();
    let path = folder.path();
    let look = || {
        if let Ok(metadata) = fs::symlink_metadata(&path) {
            assert_eq!(metadata.permissions().mode() & !0o640 & 0o777, 0);
        }
    };
    meanwhile(look, || {
        for mode in [0o600, 0o640].repeat(300) {
            for kind in [Kind::Stream, Kind::Datagram] {
                let options = Options { mode: Some(mode), kind, ..OPTIONS };
                remove(&listen(&address(&path), &options).expect("free"));
            }
        }
    });
}

#[test]
fn a_mode_changes_nothing_for_what_others_create_meanwhile() {
    let folder = Folder::new();
    let other = folder.0.join("other");
    let expected = {
        let file = fs::File::create(&other).expect("a file");
        file.metadata().expect("a file").permissions().mode()
    };
    let look = || {
        fs::remove_file(&other).expect("the file");
        let file = fs::File::create(&other).expect("a file");
        assert_eq!(file.metadata().expect("a file").permissions().mode(), expected, "{expected:o}");
    };
    meanwhile(look, || {
        for mode in [0o660, 0o600, 0o777].repeat(200) {
            let listening = listen(&address(&folder.path()), &Options { mode: Some(mode), ..OPTIONS }).expect("free");
            remove(&listening);
        }
    });
}

#[test]
fn an_error_of_bind_is_returned_with_a_mode_too() {
    let mode = Options { mode: Some(0o600), ..OPTIONS };
    let missing = listen(&address(Path::new("/no/such/folder/socket")), &mode);
    assert_eq!(missing.map(drop), Err(ListenError::System(Errno(libc::ENOENT))));
    let folder = Folder::new();
    let _living = listening_at(&folder.path());
    assert_eq!(listen(&address(&folder.path()), &mode).map(drop), IN_USE);
}

#[test]
fn a_file_is_removed_if_it_is_the_same() {
    let folder = Folder::new();
    for kind in [Kind::Stream, Kind::Datagram] {
        let listening = listen(&address(&folder.path()), &Options { kind, ..OPTIONS }).expect("a free path");
        remove(&listening);
        assert!(!folder.path().exists());
        // Removing it twice is not an error.
        remove(&listening);
        fs::write(folder.path(), "precious").expect("a file");
        remove(&listening);
        assert_eq!(fs::read_to_string(folder.path()).expect("the file"), "precious");
        fs::remove_file(folder.path()).expect("the file");
    }
    assert_eq!(folder.others(), Vec::<String>::new());
}

#[test]
fn the_file_of_another_server_in_its_place_stays() {
    let folder = Folder::new();
    let old = listening_at(&folder.path());
    fs::remove_file(folder.path()).expect("the file");
    let _new = listen_at(&folder.path()).expect("a free path");
    let inode = fs::metadata(folder.path()).expect("the new file").ino();
    remove(&old);
    assert_eq!(fs::metadata(folder.path()).expect("the new file").ino(), inode);
}

#[test]
fn the_file_of_a_successor_stays_though_it_has_the_same_inode() {
    let folder = Folder::new();
    let mut same = 0;
    for _ in 0..100 {
        let Listening { socket, file } = listening_at(&folder.path());
        let file = file.expect("a file");
        let inode = fs::metadata(folder.path()).expect("the file").ino();
        // Core closes it like this: the file stays behind.
        let number = socket.as_raw_fd();
        drop(socket);
        fs::remove_file(folder.path()).expect("the file");
        let next = listening_at(&folder.path());
        same += usize::from(fs::metadata(folder.path()).expect("the file").ino() == inode);
        // The number of the closed descriptor may belong to the next listener by now.
        file.remove(None);
        if number != next.socket.as_raw_fd() {
            file.remove(Some(number));
        }
        UnixStream::connect(folder.path()).expect("the successor");
        remove(&next);
        assert!(!folder.path().exists());
    }
    println!("the same inode in {same} of 100 cases");
}

#[test]
fn a_file_is_removed_after_its_socket_only_when_no_socket_belongs_to_it() {
    let folder = Folder::new();
    let Listening { socket, file } = listening_at(&folder.path());
    let file = file.expect("a file");
    // Another process may hold the socket like this.
    let shared = socket.try_clone().expect("a descriptor");
    drop(socket);
    file.remove(None);
    assert!(folder.path().exists());
    drop(shared);
    file.remove(None);
    assert!(!folder.path().exists());
    assert_eq!(folder.others(), Vec::<String>::new());
}

#[test]
fn a_file_that_is_put_in_its_place_during_the_removal_is_not_lost() {
    let folder = Folder::new();
    let other = folder.0.join("other");
    for round in 0..1000 {
        let ours = listening_at(&folder.path());
        let _theirs = UnixListener::bind(&other).expect("a free path");
        let start = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                fs::rename(&other, folder.path()).expect("a file");
            });
            start.wait();
            remove(&ours);
        });
        UnixStream::connect(folder.path()).unwrap_or_else(|error| panic!("round {round}: {error}"));
        fs::remove_file(folder.path()).expect("their file");
    }
    assert_eq!(folder.others(), Vec::<String>::new());
}

/// Runs `body` in a forked child, and returns its status.
fn in_child(body: impl FnOnce() -> bool) -> i32 {
    // SAFETY: the child only runs `body`, on memory that no other thread changes any more, and ends.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::_exit(if body() { 0 } else { 1 });
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
        status
    }
}

#[test]
fn a_forked_child_leaves_its_parents_file_alone() {
    let folder = Folder::new();
    let listening = listening_at(&folder.path());
    let status = in_child(|| {
        remove(&listening);
        true
    });
    assert_eq!(status, 0);
    UnixStream::connect(folder.path()).expect("the parent");
    remove(&listening);
    assert!(!folder.path().exists());
}

#[test]
fn a_relative_path_is_remembered_as_an_absolute_one() {
    // The current folder is the package's. It is not changed here, since other tests depend on it.
    let name = format!("kqnet-test-{}", std::process::id());
    let listening = listening_at(Path::new(&name));
    let file = format!("{:?}", listening.file);
    let folder = std::env::current_dir().expect("a folder");
    assert!(file.contains(&*folder.to_string_lossy()), "{file}");
    remove(&listening);
    assert!(!Path::new(&name).exists());
}

#[test]
fn a_path_of_the_greatest_length_is_taken_over_and_removed() {
    let folder = Folder::new();
    let most = if cfg!(target_os = "linux") { 107 } else { 103 };
    let path = folder.0.join("x".repeat(most - folder.0.as_os_str().len() - 1));
    dead_server(&path);
    let listening = listening_at(&path);
    UnixStream::connect(&path).expect("a server");
    remove(&listening);
    assert!(!path.exists());
}

#[test]
fn an_error_in_listening_leaves_no_file() {
    let folder = Folder::new();
    let backlog = Options { kind: Kind::Datagram, backlog: Some(1), ..OPTIONS };
    assert!(listen(&address(&folder.path()), &backlog).is_err());
    assert!(!folder.path().exists());
}

#[test]
fn an_abstract_name_and_a_port_have_no_file() {
    if cfg!(target_os = "linux") {
        let name = CString::new(format!("@kqnet-{}", std::process::id())).expect("no NUL");
        assert_eq!(listen(&Address::Unix(name), &OPTIONS).expect("a free name").file, None);
    }
    let inet = Address::Inet { host: c"127.0.0.1".into(), port: c"0".into() };
    assert_eq!(listen(&inet, &OPTIONS).expect("a port").file, None);
}

#[test]
fn an_option_without_effect_at_an_address_is_an_error_that_says_what_it_is_for() {
    let folder = Folder::new();
    let unix = address(&folder.path());
    let inet = Address::Inet { host: c"127.0.0.1".into(), port: c"0".into() };
    let datagram = Options { kind: Kind::Datagram, ..OPTIONS };
    let mode = Options { mode: Some(0o600), ..OPTIONS };
    let mut cases = vec![
        (&inet, mode, ":mode applies only to the file of a unix socket"),
        (&inet, Options { mode: Some(0o600), ..datagram }, ":mode applies only to the file of a unix socket"),
        (
            &unix,
            Options { reuse_port: true, ..OPTIONS },
            ":reuse-port applies only to ports, which a unix socket does not have",
        ),
        (&unix, Options { nodelay: true, ..OPTIONS }, ":nodelay applies only to TCP"),
        (&inet, Options { nodelay: true, ..datagram }, ":nodelay applies only to TCP"),
        (
            &inet,
            Options { backlog: Some(1), ..datagram },
            ":backlog applies only to connections, which a :datagram socket does not have",
        ),
    ];
    let name = Address::Unix(c"@kqnet-no-file".into());
    if cfg!(target_os = "linux") {
        cases.push((
            &name,
            mode,
            ":mode applies only to the file of a unix socket, which an abstract name does not have",
        ));
    }
    for (address, options, expected) in cases {
        let error = listen(address, &options).expect_err(expected);
        assert_eq!(error.to_string(), expected);
        assert!(!folder.path().exists());
    }
    // Options that have an effect are no errors.
    listen(&inet, &Options { reuse_port: true, ..datagram }).expect("a port");
    listen(&inet, &Options { nodelay: true, reuse_port: true, backlog: Some(1), ..OPTIONS }).expect("a port");
    listen(&unix, &Options { backlog: Some(1), ..mode }).expect("a free path");
}
