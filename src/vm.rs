//! What kqnet keeps for each Janet VM (each thread has one), above all the event queue, which is nested in Janet's own loop.
//!
//! The queue's descriptor is a Janet stream. A fiber that never runs waits for that stream for as long as the VM lives, so
//! that Janet's loop calls [`on_ready`]. It does not count as something that the loop has to wait for; the fibers that wait
//! for connections do.

use std::cell::RefCell;
use std::ffi::c_void;
use std::ptr;
use std::time::Duration;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_accept::{Engine, System};
use once_cell::unsync::OnceCell;

use crate::abstract_type::{AbstractType, NOTHING};
use crate::boundary::catch_panic;
use crate::common_strings::{CommonStrings, RecentStrings};
use crate::deadlines::{Deadlines, Reason, Slot};
use crate::deliver::Deliver;
use crate::file_responses::FileResponses;
use crate::fork::{self, Process};
use crate::header_tables::HeaderTables;
use crate::keys::Keys;
use crate::listener::ListenerRef;
use crate::message::say;
use crate::pushes::Pushes;
use crate::request_layouts::RequestLayouts;
use crate::response_heads::ResponseHeads;
use crate::spare_tables::SpareTables;
use crate::stream;

thread_local! {
    static VM: RefCell<OnceCell<Vm>> = const { RefCell::new(OnceCell::new()) };
}

/// What kqnet keeps for a VM.
pub struct Vm {
    /// What accepts from the listeners of this VM.
    pub engine: Engine<System, ListenerRef>,
    /// The deadlines of HTTP connections.
    pub deadlines: Deadlines,
    /// The keywords of request and response tables.
    pub keys: Keys,
    /// Strings that most requests have.
    pub common: CommonStrings,
    /// The prototype of request tables, with what every request has unless its own table says otherwise.
    pub request_prototype: *mut c::JanetTable,
    /// Paths of earlier requests.
    pub paths: RecentStrings,
    /// Prepared request tables.
    pub layouts: RequestLayouts,
    /// Tables of headers of earlier requests.
    pub headers: HeaderTables,
    /// Tables of earlier requests.
    pub spare_tables: SpareTables,
    /// The beginnings of heads of earlier responses.
    pub response_heads: ResponseHeads,
    /// What responses with files have in common.
    pub file_responses: FileResponses,
    /// The HTTP connections whose responses may be held back.
    pub pushes: Pushes,
    /// The open HTTP connections by their streams. The table keeps their fibers alive while they wait.
    pub connections: *mut c::JanetTable,
    /// The listeners by their streams, which are weak keys (src/listeners.rs).
    pub listeners: *mut c::JanetTable,
    /// The open listening streams that must not be collected before they are closed.
    pub held: *mut c::JanetTable,
    /// The process that made the queue.
    process: Process,
    /// The queue's stream.
    queue: *mut c::JanetStream,
    /// What `janet/kqnet/tracker.janet` keeps of the handlers of each listener, by its stream. Keys and values are weak, since
    /// a value may refer to its stream; the handlers that need it hold it.
    trackers: *mut c::JanetTable,
}

/// Calls `body` with what is kept for this VM. The queue is made when it is first needed, and made anew in a forked process.
///
/// # Errors
/// Returns the error of `body`, or the reason why the queue cannot be made.
pub fn with<T>(body: impl FnOnce(&mut Vm) -> Result<T, String>) -> Result<T, String> {
    VM.with(|cell| {
        let mut cell =
            cell.try_borrow_mut().map_err(|_| "kqnet was called from one of its own callbacks".to_string())?;
        if cell.get().is_none() {
            cell.get_or_try_init(Vm::new)?;
        }
        match cell.get_mut() {
            Some(vm) => {
                if !vm.process.is_current() {
                    vm.renew()?;
                }
                body(vm)
            }
            None => Err("kqnet: no event queue".into()),
        }
    })
}

/// Calls `body` if this VM has a queue that was made in this process, and is not in use by a caller.
pub fn with_existing(body: impl FnOnce(&mut Vm)) {
    with_any(|vm| {
        if vm.process.is_current() {
            body(vm);
        }
    });
}

/// Calls `body` even if the queue belongs to the parent process, in which case `body` must not touch it.
pub fn with_any<T>(body: impl FnOnce(&mut Vm) -> T) -> Option<T> {
    VM.with(|cell| cell.try_borrow_mut().ok().and_then(|mut cell| cell.get_mut().map(body)))
}

/// The table of trackers, if this VM has one. A forked child needs no queue of its own for it.
pub fn trackers() -> Option<Janet> {
    with_any(|vm| vm.trackers())
}

/// The environment of the running fiber, or the core environment if it has none, as the first fiber in a thread.
pub fn running_env() -> *mut c::JanetTable {
    // SAFETY: called from a function that Janet called, so a fiber runs. The core environment was made with the VM.
    unsafe {
        let env = (*c::janet_current_fiber()).env;
        if env.is_null() { c::janet_core_env(std::ptr::null_mut()) } else { env }
    }
}

impl Vm {
    fn new() -> Result<Self, String> {
        let (system, queue) = make_queue()?;
        let (keys, common, paths, layouts, headers, response_heads, file_responses, pushes);
        // SAFETY: called from a function that Janet called. Nothing here starts a collection, so the new values live until
        // they are held.
        let [listeners, trackers, connections, held, request_prototype] = unsafe {
            // There is one root for all, since Janet looks through its roots whenever a wait ends.
            let held = c::janet_array(16);
            c::janet_gcroot(c::janet_wrap_array(held));
            let hold = |value| c::janet_array_push(held, value);
            keys = Keys::new(&hold);
            common = CommonStrings::new(&hold);
            paths = RecentStrings::new(&hold);
            layouts = RequestLayouts::new(&keys, &hold).ok_or("the keys of a request are not distinct")?;
            let tables = c::janet_array(0);
            hold(c::janet_wrap_array(tables));
            headers = HeaderTables::new(tables);
            response_heads = ResponseHeads::new(&hold);
            file_responses = FileResponses::new(&keys, &hold).ok_or("the headers of files are not distinct")?;
            let list = c::janet_array(8);
            hold(c::janet_wrap_array(list));
            pushes = Pushes::new(list);
            let tables = [
                c::janet_table_weakk(4),
                c::janet_table_weakkv(4),
                c::janet_table(4),
                c::janet_table(4),
                c::janet_table(1),
            ];
            for table in tables {
                hold(c::janet_wrap_table(table));
            }
            let [.., request_prototype] = tables;
            c::janet_table_put(request_prototype, keys.scheme, common.string(b"http"));
            // Its finalizer runs when the VM ends.
            hold(c::janet_wrap_abstract(c::janet_abstract(&raw const LIFE.0, 1)));
            tables
        };
        let (engine, deadlines, process) = (Engine::new(system), Deadlines::default(), Process::current());
        Ok(Self {
            engine,
            deadlines,
            keys,
            common,
            request_prototype,
            paths,
            layouts,
            headers,
            spare_tables: SpareTables::new(),
            response_heads,
            file_responses,
            pushes,
            connections,
            listeners,
            trackers,
            held,
            process,
            queue,
        })
    }

    /// Goes on in a forked process, with a new queue. The listeners stay the parent's until something accepts from them here.
    /// The connections stay the parent's too, so their deadlines are cleared.
    fn renew(&mut self) -> Result<(), String> {
        let (system, queue) = make_queue()?;
        self.engine.replace_kernel(system);
        self.deadlines.clear();
        self.pushes.forget();
        stream::close(std::mem::replace(&mut self.queue, queue));
        self.process = Process::current();
        Ok(())
    }

    /// Sets or clears a deadline, and has the queue wake in time for it.
    pub fn set_deadline(&mut self, slot: Slot, at: Option<Duration>, reason: Reason) {
        let wake = self.deadlines.set(slot, at, reason);
        if wake.is_some() {
            self.engine.set_wake_time(wake);
        }
    }

    /// The table of trackers as a value.
    pub fn trackers(&self) -> Janet {
        // SAFETY: the VM holds the table.
        unsafe { c::janet_wrap_table(self.trackers) }.into()
    }
}

/// Makes an event queue, and has Janet's loop call [`on_ready`] when it is ready.
fn make_queue() -> Result<(System, *mut c::JanetStream), String> {
    let failed = |why: &dyn std::fmt::Display| format!("cannot make an event queue: {why}");
    let (system, fd) = System::new().map_err(|errno| failed(&errno))?;
    let queue = stream::make(fd, stream::Kind::Queue).map_err(|text| failed(&text))?;
    fork::own_loop(queue).map_err(|text| {
        stream::close(queue);
        failed(&text)
    })?;
    // SAFETY: called from a function that Janet called. The stream keeps its waiting fiber alive, and waiting keeps the
    // stream alive.
    unsafe {
        let parked = c::janet_fiber(c::janet_thunk_delay(c::janet_wrap_nil()), 8, 0, ptr::null());
        let read = c::JanetAsyncMode_JANET_ASYNC_LISTEN_READ;
        c::janet_async_start_fiber(parked, queue, read, Some(on_ready), ptr::null_mut());
        c::janet_ev_dec_refcount();
    }
    Ok((system, queue))
}

/// Called by Janet's loop when the queue is readable: accepts connections, and ends the waits whose deadlines have passed.
unsafe extern "C-unwind" fn on_ready(fiber: *mut c::JanetFiber, event: c::JanetAsyncEvent) {
    let wakes = [
        c::JanetAsyncEvent_JANET_ASYNC_EVENT_READ,
        c::JanetAsyncEvent_JANET_ASYNC_EVENT_ERR,
        c::JanetAsyncEvent_JANET_ASYNC_EVENT_HUP,
    ];
    if wakes.contains(&event) {
        catch_panic("accepting", || {
            if with_any(|vm| !vm.process.is_current()) == Some(true) {
                // This is a forked child whose loop still has the parent's queue. What is ready is the parent's.
                // SAFETY: Janet calls this for the fiber that waits for the queue's stream.
                stream::close(unsafe { (*fiber).ev_stream });
                return;
            }
            with_existing(|vm| {
                if let Err(errno) = vm.engine.run(&mut Deliver) {
                    say(&format!("cannot read the event queue: {errno}"));
                }
                let now = vm.engine.now();
                if let Some(wake) = vm.deadlines.expire(now) {
                    vm.engine.set_wake_time(Some(wake));
                }
            });
        });
    }
}

/// A value that lives as long as the VM.
static LIFE: AbstractType =
    AbstractType(c::JanetAbstractType { name: c"kqnet/queue".as_ptr(), gc: Some(end), ..NOTHING });

/// Called when the VM ends: Janet frees its values and closes the queue's stream, and another VM may follow on this thread.
unsafe extern "C-unwind" fn end(_data: *mut c_void, _size: usize) -> i32 {
    catch_panic("ending", || {
        VM.with(|cell| {
            if let Ok(mut cell) = cell.try_borrow_mut() {
                cell.take();
                fork::forget_queue();
            }
        });
    });
    0
}
