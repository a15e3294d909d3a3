//! The connections that may have bytes for the system to push, and the task that pushes them in the same turn of the loop.
//!
//! The task is a fiber that has never run. Janet's loop runs all such tasks before it waits for events, and does not count them as
//! something to wait for.

use janetrs::lowlevel as c;
use janetrs::{Janet, TaggedJanet};

use crate::collected::{self, Collected};
use crate::value::describe;

/// Connections to be pushed, in rounds: each begins with its first connection, and ends when the task has run.
pub struct Pushes {
    /// The function that the task runs or nil, the task or nil, and then the connections.
    list: *mut c::JanetArray,
    /// The number of the current round.
    round: u64,
}

/// The places of the list's first elements, and how many there are.
const FUNCTION: usize = 0;
const TASK: usize = 1;
const FIRST: i32 = 2;

impl Pushes {
    /// # Safety
    /// The array is empty, and lives for as long as this does. Nothing else changes it.
    pub unsafe fn new(list: *mut c::JanetArray) -> Self {
        for _ in 0..FIRST {
            // SAFETY: the array is live.
            unsafe { c::janet_array_push(list, c::janet_wrap_nil()) };
        }
        Self { list, round: 1 }
    }

    fn get(&self, index: usize) -> Janet {
        // SAFETY: `new` has pushed the elements up to FIRST, and none of them is removed.
        unsafe { *(*self.list).data.add(index) }.into()
    }

    fn set(&mut self, index: usize, value: Janet) {
        // SAFETY: as in `get`.
        unsafe { *(*self.list).data.add(index) = value.into() };
    }

    /// The number of the current round.
    pub fn round(&self) -> u64 {
        self.round
    }

    /// Sets the function that the task runs.
    ///
    /// # Errors
    /// Returns an error if it is not a function.
    pub fn set_function(&mut self, function: Janet) -> Result<(), String> {
        if !matches!(function.unwrap(), TaggedJanet::Function(_)) {
            return Err(format!("expected a function, got {}", describe(function)));
        }
        self.set(FUNCTION, function);
        Ok(())
    }

    /// Adds a connection to the current round, whose number is returned, and schedules the task if it is not.
    pub fn add<T: Collected>(&mut self, connection: *mut T) -> u64 {
        // SAFETY: the list and the connection are live.
        unsafe { c::janet_array_push(self.list, collected::wrap(connection).into()) };
        if !self.is_scheduled() {
            self.schedule();
        }
        self.round
    }

    /// Whether the task will run. A program may have cancelled it.
    fn is_scheduled(&self) -> bool {
        let task = self.get(TASK);
        // SAFETY: the type is checked before the value is unwrapped, and the list keeps the fiber alive.
        matches!(task.unwrap(), TaggedJanet::Fiber(_))
            && unsafe { c::janet_fiber_status(c::janet_unwrap_fiber(task.into())) }
                == c::JanetFiberStatus_JANET_STATUS_NEW
    }

    fn schedule(&mut self) {
        let function = self.get(FUNCTION);
        if !matches!(function.unwrap(), TaggedJanet::Function(_)) {
            return;
        }
        // SAFETY: the type is checked, and the list keeps the function alive. The schedule keeps the new fiber alive.
        let task = unsafe {
            let fiber = c::janet_fiber(c::janet_unwrap_function(function.into()), 32, 0, std::ptr::null());
            // Null if the function takes arguments.
            if fiber.is_null() {
                return;
            }
            c::janet_schedule(fiber, c::janet_wrap_nil());
            c::janet_wrap_fiber(fiber)
        };
        self.set(TASK, task.into());
    }

    /// Ends the round, and calls `push` for each of its connections.
    pub fn take(&mut self, mut push: impl FnMut(Janet)) {
        // SAFETY: the list is live, and `push` does not change it, since this is borrowed meanwhile. Nothing collects before
        // the native function returns that called this, so the connections live on.
        unsafe {
            let all = std::slice::from_raw_parts((*self.list).data, (*self.list).count.max(0) as usize);
            for connection in &all[FIRST as usize..] {
                push((*connection).into());
            }
        }
        self.forget();
    }

    /// Begins another round, without those of the last one.
    pub fn forget(&mut self) {
        // SAFETY: the list is live, and has at least this many elements.
        unsafe { (*self.list).count = FIRST };
        self.set(TASK, Janet::nil());
        self.round += 1;
    }
}
