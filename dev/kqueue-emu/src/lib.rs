//! kqueue() and kevent() for tests on Linux, with the semantics of each kernel as a switch.
//!
//! - [`model`]: the state machine, with no system call. [`profile`]: where the kernels differ.
//! - [`sim`]: a simulated kernel on the model, for property tests.
//! - `real`, `ffi`: the same model on real descriptors, as the C functions `kqueue` and `kevent`. A program that links
//!   this library has them, `accept`, `close` and others that tell the model what it must know, and `proc_pidinfo`; a module
//!   that it loads leaves them undefined and gets the program's, so that there is one instance. For C,
//!   `include/sys/event.h`.
//!
//! The kernel is chosen by the environment variable `KQUEUE_EMU_KERNEL` (`xnu`, `freebsd`, `netbsd`, `netbsd7`,
//! `openbsd`; `xnu` by default) when the first queue is made, or for a thread by [`set_kernel`].

mod ffi;
pub mod kevent;
pub mod model;
pub mod profile;
mod real;
pub mod sim;

pub use ffi::{kevent, kqueue, proc_pidinfo};
pub use profile::{Kernel, Profile};
pub use real::{kernel, set_kernel};
