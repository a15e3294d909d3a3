//! The memory that this process shares with the other workers of its supervisor, if it is a worker of kqnet-serve.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use kqnet_accept::shared::{Claim, NotShared, Page, Seat};

use crate::fork::Process;

static WORKER: OnceLock<Worker> = OnceLock::new();

/// What a worker knows of the shared memory. All threads of the process use it.
struct Worker {
    page: Page,
    slot: usize,
    process: Process,
}

/// Makes this process a worker that has a slot of its supervisor's page.
///
/// # Errors
/// Returns the reason why the page cannot be used.
pub fn join(fd: &OwnedFd, slot: usize) -> Result<(), NotShared> {
    let page = Page::open(fd.as_fd())?;
    WORKER.get_or_init(|| Worker { page, slot, process: Process::current() });
    Ok(())
}

/// The worker that this process is. A forked child is none: it has no slot of its own.
fn worker() -> Option<&'static Worker> {
    WORKER.get().filter(|worker| worker.process.is_current())
}

/// The page of the supervisor of this worker.
pub fn page() -> Option<Page> {
    worker().map(|worker| worker.page)
}

/// The counters for a listener of this worker. None without a supervisor, or if the worker has too many listeners.
pub fn claim(name: &str) -> Option<Claim> {
    worker().and_then(|worker| worker.page.claim(worker.slot, name))
}

/// The seat of this worker at a listener of its supervisor, by the listener's index.
pub fn seat(listener: usize) -> Option<Seat> {
    worker().and_then(|worker| worker.page.seat(worker.slot, listener))
}

/// Has a forked child count for itself, from zero. It only maps memory.
pub fn separate() {
    if let Some(worker) = WORKER.get() {
        worker.page.separate();
    }
}
