//! Files below a folder, for a server: [`folder`] opens them with no way out of the folder, [`tag`] tells versions of a
//! file apart, [`transfer`] sends them to sockets.
//!
//! A file is examined through the descriptor that it is sent from, so the file that was checked is the one that is sent,
//! whatever is renamed or linked meanwhile.

pub mod folder;
mod open;
pub mod tag;
pub mod transfer;

pub use folder::{Folder, Found, Refusal};
pub use tag::{Info, Validators};
pub use transfer::{SendError, send};
