//! `struct kevent` and its constants, with the layout and the values of macOS.

use std::ffi::c_void;
use std::fmt;
use std::ptr;

/// One change to a queue, or one event from it. The same bytes as C's `struct kevent` in `include/sys/event.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kevent {
    /// The descriptor, or the number of a timer or a user event.
    pub ident: usize,
    /// One of the `EVFILT_` constants.
    pub filter: i16,
    /// `EV_` flags: those of a change, or in an event those of the knote.
    pub flags: u16,
    /// `NOTE_` flags of the filter.
    pub fflags: u32,
    /// Bytes, connections, expirations, or the number of an error.
    pub data: isize,
    /// The caller's own value.
    pub udata: *mut c_void,
}

impl Kevent {
    /// A change; with zeros, a free slot for an event.
    pub const fn new(ident: usize, filter: i16, flags: u16) -> Self {
        Self { ident, filter, flags, fflags: 0, data: 0, udata: ptr::null_mut() }
    }

    /// Sets `fflags`.
    pub const fn with_fflags(mut self, fflags: u32) -> Self {
        self.fflags = fflags;
        self
    }

    /// Sets `data`.
    pub const fn with_data(mut self, data: isize) -> Self {
        self.data = data;
        self
    }

    /// Sets `udata`.
    pub const fn with_udata(mut self, udata: usize) -> Self {
        self.udata = ptr::without_provenance_mut(udata);
        self
    }
}

impl Default for Kevent {
    fn default() -> Self {
        Self::new(0, 0, 0)
    }
}

/// The number of a system error.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&std::io::Error::from_raw_os_error(self.0), f)
    }
}

/// There is something to read, or a connection to accept.
pub const EVFILT_READ: i16 = -1;
/// There is room to write.
pub const EVFILT_WRITE: i16 = -2;
/// A timer of the queue.
pub const EVFILT_TIMER: i16 = -7;
/// Triggered by the program itself.
pub const EVFILT_USER: i16 = -10;

/// Makes the knote, or changes it.
pub const EV_ADD: u16 = 0x0001;
/// Removes the knote.
pub const EV_DELETE: u16 = 0x0002;
/// Enables the knote, so that it is reported again.
pub const EV_ENABLE: u16 = 0x0004;
/// Disables the knote: it is kept, but not reported.
pub const EV_DISABLE: u16 = 0x0008;
/// Removes the knote once it was reported.
pub const EV_ONESHOT: u16 = 0x0010;
/// Resets the state of the knote once it was reported, which makes it edge-triggered.
pub const EV_CLEAR: u16 = 0x0020;
/// Answers the change with an event, whether it fails or not.
pub const EV_RECEIPT: u16 = 0x0040;
/// Disables the knote once it was reported.
pub const EV_DISPATCH: u16 = 0x0080;
/// The flags that a program cannot set.
pub const EV_SYSFLAGS: u16 = 0xF000;
/// A change failed; `data` is the error.
pub const EV_ERROR: u16 = 0x4000;
/// The other end is closed.
pub const EV_EOF: u16 = 0x8000;

/// A timer's `data` is in seconds.
pub const NOTE_SECONDS: u32 = 0x0000_0001;
/// A timer's `data` is in microseconds.
pub const NOTE_USECONDS: u32 = 0x0000_0002;
/// A timer's `data` is in nanoseconds.
pub const NOTE_NSECONDS: u32 = 0x0000_0004;

/// Triggers a user event.
pub const NOTE_TRIGGER: u32 = 0x0100_0000;
/// Leaves the flags of a user event as they are.
pub const NOTE_FFNOP: u32 = 0x0000_0000;
/// ANDs the flags of a user event.
pub const NOTE_FFAND: u32 = 0x4000_0000;
/// ORs the flags of a user event.
pub const NOTE_FFOR: u32 = 0x8000_0000;
/// Replaces the flags of a user event.
pub const NOTE_FFCOPY: u32 = 0xC000_0000;
/// The bits that say which of the four applies.
pub const NOTE_FFCTRLMASK: u32 = 0xC000_0000;
/// The flags of a user event that the program may use.
pub const NOTE_FFLAGSMASK: u32 = 0x00FF_FFFF;
