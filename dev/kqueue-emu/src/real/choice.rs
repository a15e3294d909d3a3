//! Which kernel this process imitates: chosen for a thread, or by the environment variable `KQUEUE_EMU_KERNEL`.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::profile::{Kernel, Profile};

thread_local! {
    static KERNEL: Cell<Option<Kernel>> = const { Cell::new(None) };
}

/// Whether this process, or one that it was forked from, has made a queue. From then on accept(2) and the like imitate
/// the kernel too.
static IS_USED: AtomicBool = AtomicBool::new(false);

/// Chooses which kernel this thread imitates in the queues that it makes and the connections that it accepts. `None`
/// leaves the choice to the environment variable `KQUEUE_EMU_KERNEL`.
pub fn set_kernel(kernel: Option<Kernel>) {
    KERNEL.set(kernel);
}

/// The kernel that this thread imitates.
///
/// # Panics
/// If `KQUEUE_EMU_KERNEL` names no kernel.
pub fn kernel() -> Kernel {
    static FROM_ENVIRONMENT: OnceLock<Kernel> = OnceLock::new();
    KERNEL.get().unwrap_or_else(|| {
        *FROM_ENVIRONMENT.get_or_init(|| match std::env::var("KQUEUE_EMU_KERNEL") {
            Ok(name) => Kernel::from_name(&name).unwrap_or_else(|| panic!("KQUEUE_EMU_KERNEL: no kernel {name:?}")),
            Err(_) => Kernel::Xnu,
        })
    })
}

/// Makes the whole process imitate the kernel, in accept(2) and the like too.
pub(super) fn mark_used() {
    IS_USED.store(true, Ordering::Relaxed);
}

/// The semantics of the imitated kernel, or `None` in a process that has not made a queue.
pub(super) fn profile() -> Option<Profile> {
    IS_USED.load(Ordering::Relaxed).then(|| kernel().profile())
}
