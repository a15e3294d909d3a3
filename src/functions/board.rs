//! The text that a supervisor shows to its workers.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use janetrs::lowlevel as c;
use janetrs::{Janet, JanetString};
use kqnet_accept::shared::Board;

use super::worker::inherited_descriptor;
use crate::abstract_type::{AbstractType, NOTHING};
use crate::boundary::{Function, Outcome, native};
use crate::collected::{self, Collected, drop_collected};
use crate::value::{arg, bytes, describe};

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] = &[
    native!("make-board", "", make),
    native!("join-board", "number", join),
    native!("write-board", "board bytes", write),
    native!("read-board", "board", read),
];

/// A board. Only the process that has made it keeps its descriptor.
struct Shown {
    board: Board,
    fd: Option<OwnedFd>,
}

static SHOWN: AbstractType =
    AbstractType(c::JanetAbstractType { name: c"kqnet/board".as_ptr(), gc: Some(drop_collected::<Shown>), ..NOTHING });

// SAFETY: values of the type are only made in this file, and its `gc` function is `drop_collected` for it.
unsafe impl Collected for Shown {
    fn janet_type() -> &'static AbstractType {
        &SHOWN
    }
}

/// The descriptor of a board that this process has made.
pub fn descriptor(value: &Janet) -> Option<RawFd> {
    collected::of::<Shown>(value)?.fd.as_ref().map(AsRawFd::as_raw_fd)
}

fn board(args: &[Janet]) -> Result<Board, String> {
    collected::first::<Shown>(args, "a board").map(|shown| shown.board)
}

/// Makes a board for workers to read.
fn make(_args: &[Janet]) -> Result<Outcome, String> {
    let (board, fd) =
        Board::create().map_err(|errno| format!("cannot make memory for the workers to read: {errno}"))?;
    Ok(Outcome::Value(collected::wrap(collected::make(Shown { board, fd: Some(fd) }))))
}

/// Maps the board whose inherited descriptor has this number, and closes the descriptor.
fn join(args: &[Janet]) -> Result<Outcome, String> {
    let fd = inherited_descriptor(arg(args, 0))?;
    // SAFETY: the supervisor passed the descriptor to this process, and its number is used only once.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let board = Board::open(fd.as_fd()).map_err(|why| format!("cannot use the memory of the supervisor: {why}"))?;
    Ok(Outcome::Value(collected::wrap(collected::make(Shown { board, fd: None }))))
}

/// Replaces the text of a board. Of a longer one, the first 8 KiB are shown.
fn write(args: &[Janet]) -> Result<Outcome, String> {
    let (board, text) = (board(args)?, arg(args, 1));
    board.write(bytes(&text).ok_or_else(|| format!("expected bytes, got {}", describe(text)))?);
    Ok(Outcome::Value(Janet::nil()))
}

/// Returns the text of a board, or nil while it is being changed.
fn read(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(board(args)?.read().map_or_else(Janet::nil, |text| JanetString::new(text).into())))
}
