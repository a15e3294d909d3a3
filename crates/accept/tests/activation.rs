//! Descriptors that a program is started with: which are taken over, which are refused, and systemd's variables.

use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};

use kqnet_accept::activation::{Passed, check_inherited, launchd, systemd, take};
use kqnet_accept::socket::{NotListener, accept};

#[cfg(feature = "emulated-kqueue")]
use kqueue_emu as _;

/// A duplicate that looks inherited: it is not closed on exec.
fn inherited(fd: &impl AsRawFd) -> RawFd {
    // SAFETY: a system call on a descriptor that the caller holds.
    let fd = unsafe { libc::dup(fd.as_raw_fd()) };
    assert!(fd >= 0);
    fd
}

fn flags(fd: RawFd, command: i32) -> i32 {
    // SAFETY: these commands take no argument.
    unsafe { libc::fcntl(fd, command) }
}

fn close(fd: RawFd) {
    // SAFETY: the tests only close descriptors that they have duplicated and that nothing else owns.
    assert_eq!(unsafe { libc::close(fd) }, 0);
}

fn pipe() -> [OwnedFd; 2] {
    let mut fds = [-1; 2];
    // SAFETY: there is a place for two descriptors, which nothing else owns.
    unsafe {
        assert_eq!(libc::pipe(fds.as_mut_ptr()), 0);
        fds.map(|fd| OwnedFd::from_raw_fd(fd))
    }
}

#[test]
fn a_listener_is_taken_over_with_its_flags_set() {
    // A listener of the standard library blocks.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let fd = inherited(&listener);
    assert_eq!(flags(fd, libc::F_GETFD) & libc::FD_CLOEXEC, 0);
    assert_eq!(flags(fd, libc::F_GETFL) & libc::O_NONBLOCK, 0);
    assert_eq!(check_inherited(fd), Ok(()));
    // SAFETY: nothing else owns the duplicate.
    let taken = unsafe { take(fd) }.expect("a listener");
    assert_ne!(flags(fd, libc::F_GETFD) & libc::FD_CLOEXEC, 0);
    assert_ne!(flags(fd, libc::F_GETFL) & libc::O_NONBLOCK, 0);
    assert_eq!(accept(taken.as_raw_fd()).map(drop).map_err(|errno| errno.0), Err(libc::EAGAIN));
    let _client = TcpStream::connect(listener.local_addr().expect("an address")).expect("the backlog has room");
    accept(taken.as_raw_fd()).expect("a client");
    // It belongs to this program now, and will not be taken again.
    assert_eq!(check_inherited(fd), Err(NotListener::Own));
    drop(taken);
    assert_eq!(check_inherited(fd), Err(NotListener::NotOpen));
}

#[test]
fn what_is_not_a_listener_is_refused_and_left_as_it_is() {
    let file = File::open("/dev/null").expect("a file");
    let (end, _other) = UnixStream::pair().expect("a pair");
    let datagram = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("the backlog has room");
    let [reader, _writer] = pipe();
    let cases = [
        (inherited(&file), NotListener::NotSocket),
        (inherited(&reader), NotListener::NotSocket),
        (inherited(&end), NotListener::NotListening),
        (inherited(&client), NotListener::NotListening),
        (inherited(&datagram), NotListener::NotStream),
    ];
    for (fd, what) in cases {
        assert_eq!(check_inherited(fd), Ok(()));
        let before = (flags(fd, libc::F_GETFD), flags(fd, libc::F_GETFL));
        // SAFETY: nothing else owns the duplicate.
        assert_eq!(unsafe { take(fd) }.map(drop), Err(what));
        assert_eq!((flags(fd, libc::F_GETFD), flags(fd, libc::F_GETFL)), before);
        close(fd);
    }
}

#[test]
fn what_the_program_opened_itself_is_not_inherited() {
    let folder = std::env::temp_dir().join(format!("kqnet-activation-{}", std::process::id()));
    let listener = UnixListener::bind(&folder).expect("a free path");
    std::fs::remove_file(&folder).expect("the file");
    assert_eq!(check_inherited(listener.as_raw_fd()), Err(NotListener::Own));
    assert_eq!(check_inherited(-1), Err(NotListener::NotOpen));
    let fd = listener.into_raw_fd();
    close(fd);
}

fn passed(names: &[&str]) -> Vec<Passed> {
    names.iter().zip(3..).map(|(name, fd)| Passed { name: (*name).to_owned(), fd }).collect()
}

#[test]
fn systemd_passes_descriptors_from_3_on() {
    let pid = std::process::id().to_string();
    let with = |count, names| systemd(Some(&pid), Some(count), names);
    assert_eq!(with("1", Some("web")), Ok(passed(&["web"])));
    assert_eq!(with("2", Some("web:admin")), Ok(passed(&["web", "admin"])));
    assert_eq!(with("2", Some("web:web")), Ok(passed(&["web", "web"])));
    assert_eq!(with("0", Some("")), Ok(Vec::new()));
    // Older versions pass no names, and a name may be empty.
    assert_eq!(with("2", None), Ok(passed(&["unknown", "unknown"])));
    assert_eq!(with("3", Some("web::more")), Ok(passed(&["web", "unknown", "more"])));
    assert_eq!(with("1", Some("web:admin")), Ok(passed(&["web"])));
}

#[test]
fn variables_for_another_process_or_for_none_are_ignored() {
    let pid = std::process::id().to_string();
    assert_eq!(systemd(None, Some("1"), None), Ok(Vec::new()));
    assert_eq!(systemd(Some(&pid), None, Some("web")), Ok(Vec::new()));
    assert_eq!(systemd(Some("1"), Some("1"), None), Ok(Vec::new()));
    // Errors in them are ignored too.
    assert_eq!(systemd(Some("1"), Some("many"), None), Ok(Vec::new()));
}

#[test]
fn variables_that_make_no_sense_are_named() {
    let pid = std::process::id().to_string();
    for text in ["", "me", "-1", "1.5", "99999999999"] {
        let expected = format!("LISTEN_PID is not a number: {text}");
        let error = systemd(Some(text), Some("1"), None).map_err(|error| error.to_string());
        assert_eq!(error, Err(expected));
    }
    for text in ["", "many", "-1", "1.5", "65536", "99999999999"] {
        let expected = format!("LISTEN_FDS is not a number of descriptors: {text}");
        let error = systemd(Some(&pid), Some(text), None).map_err(|error| error.to_string());
        assert_eq!(error, Err(expected));
    }
}

#[test]
fn launchd_has_nothing_for_a_program_that_it_did_not_start() {
    let expected = if cfg!(target_vendor = "apple") { libc::ESRCH } else { libc::ENOSYS };
    assert_eq!(launchd(c"web").map_err(|errno| errno.0), Err(expected));
}
