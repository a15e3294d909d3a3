//! Whether there is a descriptor for the next connection.
//!
//! XNU takes a connection from the backlog before it looks for a descriptor, and closes the connection if there is none.
//! The other kernels leave it in the backlog, so nothing needs to be known on them.

#[cfg(any(target_vendor = "apple", feature = "emulated-kqueue"))]
mod counted;
#[cfg(not(any(target_vendor = "apple", feature = "emulated-kqueue")))]
mod unneeded;

#[cfg(any(target_vendor = "apple", feature = "emulated-kqueue"))]
pub use counted::Room;
#[cfg(not(any(target_vendor = "apple", feature = "emulated-kqueue")))]
pub use unneeded::Room;
