//! Making a channel forget the tasks that no longer wait for it, before it is closed.
//!
//! A channel remembers a task that has selected from it until the task's place in the channel's queue comes up. Before Janet
//! 1.41 (janet#1705), `ev/chan-close` resumes such a task whatever it waits for by then, such as the next request of its
//! connection. `janet.h` does not say what a channel looks like. That of all Janets with this fault is the same, and known.

use std::ffi::{c_int, c_void};

use janetrs::Janet;
use janetrs::lowlevel as c;

use crate::boundary::{Function, Outcome, native};
use crate::value::{arg, describe};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[native!("forget-old-waits", "channel", forget_old_waits)];

unsafe extern "C-unwind" {
    /// Whether closing a channel resumes tasks that no longer wait for it.
    static kqnet_close_wakes_others: c_int;
}

/// `JanetChannelPending` in Janet's ev.c.
#[repr(C)]
#[derive(Clone, Copy)]
struct Waiting {
    vm: *mut c_void,
    fiber: *mut c::JanetFiber,
    sched_id: u32,
    mode: c_int,
}

/// `JanetQueue` in Janet's ev.c, which is a ring.
#[repr(C)]
struct Queue<T> {
    capacity: i32,
    head: i32,
    tail: i32,
    data: *mut T,
}

/// The beginning of `JanetChannel` in Janet's ev.c.
#[repr(C)]
struct Channel {
    items: Queue<Janet>,
    read_pending: Queue<Waiting>,
    write_pending: Queue<Waiting>,
}

/// Leaves only the tasks in a queue that still wait.
///
/// # Safety
/// The queue is that of a live channel of this VM, which keeps the fibers in it alive.
unsafe fn keep_waiting(queue: &mut Queue<Waiting>) {
    let after = |at: i32| if at + 1 < queue.capacity { at + 1 } else { 0 };
    let (mut from, mut to) = (queue.head, queue.head);
    while from != queue.tail {
        // SAFETY: both are indices of items between the head and the tail.
        unsafe {
            let waiting = *queue.data.offset(from as isize);
            // The loop counts each time that it resumes a fiber.
            if waiting.sched_id == (*waiting.fiber).sched_id {
                *queue.data.offset(to as isize) = waiting;
                to = after(to);
            }
        }
        from = after(from);
    }
    queue.tail = to;
}

/// `(native/forget-old-waits channel)`: Makes a channel of this VM forget the tasks that no longer wait for it, if closing it would
/// resume them. The channel must not be one for several threads.
fn forget_old_waits(args: &[Janet]) -> Result<Outcome, String> {
    // SAFETY: it is a type check; `janet_channel_type` is a static of the host.
    let channel = unsafe { c::janet_checkabstract(arg(args, 0).into(), &raw const c::janet_channel_type) };
    if channel.is_null() {
        return Err(format!("expected a channel, got {}", describe(arg(args, 0))));
    }
    // SAFETY: the flag is only set for Janets whose channels are as above, and nothing else uses the channel meanwhile.
    unsafe {
        if kqnet_close_wakes_others != 0 {
            let channel = &mut *channel.cast::<Channel>();
            keep_waiting(&mut channel.read_pending);
            keep_waiting(&mut channel.write_pending);
        }
    }
    Ok(Outcome::Value(Janet::nil()))
}
