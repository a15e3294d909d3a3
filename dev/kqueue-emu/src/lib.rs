//! kqueue() and kevent() for tests on Linux, with the semantics of each kernel as a switch.
//!
//! - [`kevent`](mod@kevent): `struct kevent` and its constants. [`profile`]: where the kernels differ.
//! - [`model`]: the state machine. It makes no system call.
//! - [`sim`]: a simulated kernel on the model, for property tests.
//! - `real`: the same model on real descriptors. `system`: the system calls that it makes.
//! - `symbols`: `real` as C functions. A program that links this library has `kqueue` and `kevent`; `accept`, `close`
//!   and others, which tell the model what it must know; and `proc_pidinfo`. A module that the program loads leaves
//!   these undefined and gets the program's, so that there is one instance. `include/sys/event.h` declares them for C.
//!
//! The environment variable `KQUEUE_EMU_KERNEL` chooses the kernel when the first queue is made: `xnu` (the default),
//! `freebsd`, `netbsd`, `netbsd7` or `openbsd`. [`set_kernel`] chooses it for one thread.

pub mod kevent;
pub mod model;
pub mod profile;
mod real;
pub mod sim;
mod symbols;
mod system;

pub use profile::{Kernel, Profile};
pub use real::{kernel, set_kernel};
pub use symbols::{kevent, kqueue, proc_pidinfo};
