//! Memory that a supervisor and its workers share: a page with the counters of all workers, and with how loaded each one is.
//!
//! The supervisor gives each worker a slot of the page. A worker writes only to its own slot and reads the others', so each
//! counter has one writer. A board, which is memory of its own, has a text for all workers. All of it consists of atomic words, so that
//! whatever another process writes is still a number.

mod board;
mod memory;
mod page;
mod seat;
mod words;

pub use board::{BOARD, Board};
pub use memory::NotShared;
pub use page::{Area, Claim, HTTP_WORDS, Page, SLOTS};
pub use seat::{Neighbour, Seat};
pub use words::{Words, add};
