//! An event queue for listening sockets, and the accept policy above it.
//!
//! The path of a connection: the kernel's queue says that a listener is ready ([`queue`]), the engine accepts a batch by its
//! rules, and hands each connection to the caller's [`Sink`]. [`socket`] makes listeners and takes connections from them.
//! Nothing here knows Janet; the engine knows no system call either: it drives a [`Kernel`], which is [`System`] in the
//! module and a model in the tests.

pub mod activation;
pub mod check;
mod engine;
mod errno;
mod kernel;
pub mod queue;
mod room;
pub mod signals;
pub mod socket;
mod sys;
mod system;
mod token;
pub mod unix_socket;

pub use engine::{Engine, Limits, Next, Pause, PauseStats, Sink, Stats};
pub use errno::Errno;
pub use kernel::{Arm, Kernel};
pub use system::System;
pub use token::Token;
