//! The queues of this process: a [`Model`](crate::model::Model) of real descriptors, on Linux's epoll.
//!
//! Linux says through epoll what has changed:
//!
//! - The descriptor that `kqueue()` returns is an epoll. It holds each watched descriptor edge-triggered: a wake-up in
//!   Linux's kernel is a KNOTE in the emulated one. A second epoll, inside the first, holds the descriptors that are
//!   watched for writing, since a wake-up does not say which direction it was for.
//! - Edges are taken from Linux when someone looks: at the start of a kevent() on that queue or on one that watches it,
//!   and before an accept() on a listener of it. Nothing else can see a queue, so this is as good as taking them at
//!   once.
//! - A queue that has something to report makes its epoll readable, by adding a descriptor that is always readable.
//!   Waiting, poll(2) and watching queues need nothing else.
//! - The exported close(), dup2(), dup3() and close_range() remove the knotes of a descriptor. epoll alone would not
//!   do: it forgets a file with its last duplicate, but a kernel's knote goes with the number. Some closes bypass these
//!   functions (fclose(), a bare system call), so each evaluation first asks epoll whether the number still stands for
//!   the file that was added: adding it again must fail with EEXIST. A reused number therefore gets nothing.
//! - There is one lock for all queues. It is never held while waiting.
//!
//! From the bottom up:
//!
//! - `choice`: which kernel is imitated. `own`: the descriptors of the emulation itself.
//! - `look`: whether a descriptor is ready. `files`: real descriptors as the sources of a model.
//! - `state`: the queues of the process.
//! - `close`, `queue`, `sockets`, `poll`, `numbers`: what the exported functions do.

mod choice;
mod close;
mod files;
mod look;
mod numbers;
mod own;
mod poll;
mod queue;
mod sockets;
mod state;

pub use choice::{kernel, set_kernel};
pub(crate) use close::{closing, closing_range, replacing};
pub(crate) use numbers::{open_numbers, table_size};
pub(crate) use poll::poll;
pub(crate) use queue::{kevent, kqueue};
pub(crate) use sockets::{accept, backlog, connected, shutting_down};
