//! Child processes that end when their time is over or this program is interrupted.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The process groups that are running; 0 for a free place.
static GROUPS: [AtomicI32; 64] = [const { AtomicI32::new(0) }; 64];

/// Whether this process may install packages.
pub fn is_root() -> bool {
    // SAFETY: geteuid has no precondition and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Makes an interruption end the groups too: they are not the terminal's foreground group and would live on.
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

/// Runs a command in a process group of its own; whatever of the group is left at the end or at the deadline is
/// killed. None when the deadline ended it.
pub fn run(command: &mut Command, deadline: Duration) -> io::Result<Option<ExitStatus>> {
    let mut child = command.process_group(0).spawn()?;
    let group = child.id() as i32;
    let place = GROUPS.iter().find(|p| p.compare_exchange(0, group, Ordering::SeqCst, Ordering::SeqCst).is_ok());
    let status = wait(&mut child, deadline);
    end(group);
    if !matches!(status, Ok(Some(_))) {
        child.wait()?;
    }
    if let Some(place) = place {
        place.store(0, Ordering::SeqCst);
    }
    status
}

fn wait(child: &mut Child, deadline: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(10));
    }
}
