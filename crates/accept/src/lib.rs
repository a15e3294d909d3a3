//! An event queue for listening sockets, and the accept policy above it.
//!
//! The path of a connection: the kernel's queue says that a listener is ready ([`queue`]), the [`engine`]
//! accepts a batch by its rules, and hands each connection to the caller's [`Sink`]. [`socket`] makes
//! listeners and takes connections from them. Nothing here knows Janet; the engine knows no system call
//! either: it drives a [`Kernel`], which is [`System`] in the module and a model in the tests.

pub mod activation;
pub mod check;
pub mod engine;
pub mod errno;
pub mod queue;
mod room;
pub mod signals;
pub mod socket;
mod sys;
mod system;
pub mod unix_socket;

pub use engine::{Engine, Kernel, Limits, Next, Pause, Sink, Stats, Token};
pub use errno::Errno;
pub use system::System;
