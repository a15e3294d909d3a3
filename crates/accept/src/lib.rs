//! An event queue for listening sockets, and the accept policy above it.
//!
//! The crate knows libc, and nothing of Janet. The [`Engine`] makes no system calls: it drives a [`Kernel`], which is
//! [`System`] in the module and a model in the tests.
//!
//! # The files, in the order of one connection
//!
//! | file | what it does |
//! | --- | --- |
//! | `socket/listen` | makes a listener at an address, with the other files of [`socket`] |
//! | [`activation`] | takes over the listeners that the program was started with |
//! | [`queue`] | the kernel's event queue, kqueue or epoll: says which listeners are ready, by their `token` |
//! | `engine` | decides which listener accepts, how often, and when it pauses |
//! | `engine/guess` | how many connections to try to accept in the next batch |
//! | `engine/batch` | accepts from one listener, and decides when to stop |
//! | `engine/limits`, `engine/rate` | how many connections a listener may accept |
//! | `room`, `socket/accept` | whether there is a free descriptor, on the kernel that needs to know; accept(2) |
//! | `engine/recovery` | what to do about each error of accept(2) |
//! | `engine/pause`, `engine/shortage` | how long a listener pauses; when a shortage of descriptors is reported |
//! | `engine/sink` | the caller's side: takes each connection |
//! | `engine/statistics` | what was counted |
//! | `engine/share` | how many connections to leave to other workers that accept from the same listener |
//! | [`shared`] | the memory in which the workers of a supervisor find each other's counters |
//! | `socket/transfer`, `socket/peer` | receives and sends on a connection; tells whether its peer is still there |
//!
//! [`process`] is for a supervisor and its workers, and [`inheritance`] is what passes between them. `kernel` is what the engine needs of a system, and `system` implements it with `queue`, `room` and [`socket`]. `errno` and
//! `sys` are for the errors of system calls, and [`signals`] for SIGPIPE, which must not end a server.
//!
//! # Example
//!
//! ```
//! # #[cfg(feature = "emulated-kqueue")]
//! # use kqueue_emu as _;
//! use std::net::TcpStream;
//! use std::os::fd::{AsRawFd, OwnedFd};
//!
//! use kqnet_accept::socket::{Address, Kind, Options, listen, local_name};
//! use kqnet_accept::{Engine, Errno, Limits, Next, Sink, System};
//!
//! /// Keeps the connections of all listeners.
//! struct Keep(Vec<OwnedFd>);
//!
//! impl Sink<OwnedFd, ()> for Keep {
//!     fn wants(&mut self, (): &()) -> bool {
//!         true
//!     }
//!
//!     fn accepted(&mut self, (): &(), connection: OwnedFd) -> Next {
//!         self.0.push(connection);
//!         Next::More
//!     }
//!
//!     fn failed(&mut self, (): &(), errno: Errno) {
//!         eprintln!("accepting has ended: {errno}");
//!     }
//!
//!     fn shortage(&mut self, (): &(), errno: Errno) {
//!         eprintln!("accepting pauses: {errno}");
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let address = Address::Inet { host: c"127.0.0.1".into(), port: c"0".into() };
//! let options = Options {
//!     kind: Kind::Stream,
//!     reuse_address: true,
//!     reuse_port: false,
//!     backlog: None,
//!     nodelay: true,
//!     mode: None,
//! };
//! let listener = listen(&address, &options)?.socket;
//! // `queue` is readable when there is something to do. A program would wait for it, with poll(2) or in another queue.
//! let (system, queue) = System::new()?;
//! let mut engine = Engine::new(system);
//! let token = engine.add(listener.as_raw_fd(), Limits::default(), ());
//! engine.start(token)?;
//!
//! let client = TcpStream::connect(local_name(listener.as_raw_fd()))?;
//! let mut keep = Keep(Vec::new());
//! while keep.0.is_empty() {
//!     engine.run(&mut keep)?;
//! }
//! assert_eq!(engine.stats(token).map(|stats| stats.accepted), Some(1));
//! # drop((client, queue));
//! # Ok(())
//! # }
//! ```

pub mod activation;
mod engine;
mod errno;
pub mod inheritance;
mod kernel;
pub mod process;
pub mod queue;
mod room;
pub mod shared;
pub mod signals;
pub mod socket;
mod sys;
mod system;
mod token;

pub use engine::{COUNTERS, Engine, Limits, Next, PauseStats, Sink, Stats};
pub use errno::Errno;
pub use kernel::{Arm, Kernel};
pub use system::System;
pub use token::Token;
