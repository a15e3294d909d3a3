//! Child processes, which are killed when their time is over or when this program is interrupted.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The process groups that are running. A free place is 0.
static GROUPS: [AtomicI32; 64] = [const { AtomicI32::new(0) }; 64];

/// Whether this process is root's, and so may install packages.
pub fn is_root() -> bool {
    // SAFETY: geteuid has no precondition and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// How many descriptors a test, or a client in it, may need. macOS allows a process at most 10240 (OPEN_MAX).
const DESCRIPTORS: libc::rlim_t = 4096;

/// Raises the descriptor limit of this program and its children to what the tests need, if the hard limit allows it. On
/// macOS the soft limit is 256 unless somebody has raised it.
pub fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is an rlimit to write to.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 || limit.rlim_cur >= DESCRIPTORS {
        return;
    }
    limit.rlim_cur = DESCRIPTORS.min(limit.rlim_max);
    // A failure is not an error here: test/support reports how many descriptors there are.
    // SAFETY: `limit` is an rlimit that lives through the call.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
}

/// Makes signals that end this program end its process groups too. They are not in the terminal's foreground group, and
/// would otherwise live on.
pub fn end_groups_on_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only loads atomics and calls kill and _exit, which are allowed in a signal handler.
        unsafe { libc::signal(signal, on_signal as *const () as libc::sighandler_t) };
    }
}

extern "C" fn on_signal(signal: libc::c_int) {
    for place in &GROUPS {
        let group = place.load(Ordering::SeqCst);
        if group > 0 {
            end(group);
        }
    }
    // SAFETY: _exit may be called anywhere.
    unsafe { libc::_exit(128 + signal) }
}

fn end(group: i32) {
    // SAFETY: kill has no memory preconditions; the group is one that this program made.
    unsafe { libc::kill(-group, libc::SIGKILL) };
}

/// A child in a process group of its own. When this is dropped, all processes of the group are killed.
pub struct Group {
    child: Child,
    place: Option<&'static AtomicI32>,
}

impl Group {
    /// Starts a command.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        let group = child.id() as i32;
        let place = GROUPS.iter().find(|p| p.compare_exchange(0, group, Ordering::SeqCst, Ordering::SeqCst).is_ok());
        Ok(Group { child, place })
    }

    /// The first process of the group.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Stops the first process, and returns when it has stopped.
    pub fn stop(&mut self) -> io::Result<()> {
        self.signal(libc::SIGSTOP)?;
        let mut status = 0;
        // SAFETY: `status` is an int to write to; the process is a child of this one.
        while unsafe { libc::waitpid(self.child.id() as i32, &mut status, libc::WUNTRACED) } == -1 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        if libc::WIFSTOPPED(status) { Ok(()) } else { Err(io::Error::other("it has ended")) }
    }

    /// Continues the first process.
    pub fn go_on(&mut self) -> io::Result<()> {
        self.signal(libc::SIGCONT)
    }

    fn signal(&mut self, signal: libc::c_int) -> io::Result<()> {
        // SAFETY: kill has no memory preconditions. The process has not been waited for, so the number is still its
        // own.
        if unsafe { libc::kill(self.child.id() as i32, signal) } == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Waits until the first process ends. Returns `None` if it has not ended at the deadline.
    pub fn wait(&mut self, deadline: Duration) -> io::Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if start.elapsed() >= deadline {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        end(self.child.id() as i32);
        // An error means that `wait` or `stop` has already seen its end.
        let _ = self.child.wait();
        if let Some(place) = self.place {
            place.store(0, Ordering::SeqCst);
        }
    }
}

/// Runs a command in a group of its own. Returns `None` if it was killed at the deadline.
pub fn run(command: &mut Command, deadline: Duration) -> io::Result<Option<ExitStatus>> {
    Group::start(command)?.wait(deadline)
}
