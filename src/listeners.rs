//! The listeners of a VM: how they are found by their streams, registered, closed and collected.
//!
//! They are in a table with the streams as weak keys, so a listener lasts as long as its stream does. While a fiber waits
//! for connections, the state of that fiber holds it too.
//!
//! A listening stream is never written to, so the field for its writer is free for kqnet. While no fiber waits for
//! connections, a fiber that never runs is in that field (the sentinel): Janet tells a stream's writer that the stream is
//! about to be closed, whoever closes it.

use std::ffi::c_void;
use std::os::fd::RawFd;
use std::ptr::{self, NonNull};

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_accept::{Limits, socket};

use crate::abstract_type::{AbstractType, NOTHING};
use crate::boundary::catch_panic;
use crate::deliver::Deliver;
use crate::listener::{Listener, ListenerRef};
use crate::stream;
use crate::vm::{self, Vm};

static TYPE: AbstractType = AbstractType(c::JanetAbstractType {
    name: c"kqnet/listener".as_ptr(),
    gc: Some(collect),
    gcmark: Some(mark),
    ..NOTHING
});

impl Vm {
    /// What is known of a stream that was listening, whether it is closed or not.
    pub fn known(&self, stream: *mut c::JanetStream) -> Option<ListenerRef> {
        // SAFETY: the VM holds the table, and the stream is live.
        from_value(unsafe { c::janet_table_get(self.listeners, stream::wrap(stream).into()) })
    }

    /// What is known of a listening stream. It is registered if it was not known.
    ///
    /// # Errors
    /// Returns the reason why the stream cannot be accepted from.
    pub fn listener(&mut self, stream: *mut c::JanetStream) -> Result<ListenerRef, String> {
        let Some(fd) = stream::descriptor(stream) else { return Err("the listener is closed".into()) };
        if !stream::is_acceptable(stream) {
            return Err("the stream is not a listener".into());
        }
        let known = self.known(stream);
        if let Some(listener) = known.filter(|listener| self.engine.is_open(listener.token)) {
            return Ok(listener);
        }
        socket::check_listener(fd).map_err(|what| format!("the stream is not a listener: {what}"))?;
        if let Some(errno) = known.and_then(|listener| self.engine.error(listener.token)) {
            return Err(errno.to_string());
        }
        Ok(self.register(stream, fd))
    }

    /// Registers a stream that is bound to an address, so that kqnet notices its end.
    pub fn register(&mut self, stream: *mut c::JanetStream, fd: RawFd) -> ListenerRef {
        let listener = self.make(stream, fd);
        // SAFETY: the VM holds the table, and stream and listener are live values of this VM.
        unsafe { c::janet_table_put(self.listeners, stream::wrap(stream).into(), listener.wrap()) };
        listener
    }

    fn make(&mut self, stream: *mut c::JanetStream, fd: RawFd) -> ListenerRef {
        // SAFETY: janet_abstract gives memory of the size asked for, aligned for anything, and never null. A listener is
        // written to it before anything follows the reference: the engine only keeps it. The sentinel lives as long as the
        // listener, which marks it, or as the stream, which does so too. Without a state it has nothing that Janet would free,
        // and without a stream it does not keep the stream alive.
        unsafe {
            let sentinel = c::janet_fiber(c::janet_thunk_delay(c::janet_wrap_nil()), 8, 0, ptr::null());
            (*sentinel).ev_callback = Some(on_sentinel_event);
            (*stream).write_fiber = sentinel;
            let address: *mut Listener = c::janet_abstract(&raw const TYPE.0, size_of::<Listener>()).cast();
            let listener = ListenerRef::new(NonNull::new_unchecked(address));
            let token = self.engine.add(fd, Limits::default(), listener);
            address.write(Listener::new(token, socket::local_name(fd), sentinel));
            listener
        }
    }

    /// The listening streams that are known, with what is known of each.
    fn entries(&self) -> impl Iterator<Item = (*mut c::JanetStream, ListenerRef)> {
        self.pairs().filter_map(|pair| Some((stream::of(pair.key.into())?, from_value(pair.value)?)))
    }

    /// The slots of the table of listeners. The key of a free slot is nil.
    fn pairs(&self) -> impl Iterator<Item = &c::JanetKV> {
        // SAFETY: the VM holds the table, and `data` has `capacity` slots.
        unsafe {
            let table = &*self.listeners;
            (0..table.capacity as usize).map(|index| &*table.data.add(index))
        }
    }

    /// The streams of all listeners that have statistics.
    pub fn streams(&self) -> Vec<Janet> {
        let counted = self.entries().filter(|(_, listener)| listener.since.get().is_some());
        counted.map(|(stream, _)| stream::wrap(stream)).collect()
    }

    /// Keeps an inherited listener, which the parent has too, from being collected before it is closed: Janet's loop would
    /// be left with its address.
    pub fn hold(&mut self, stream: *mut c::JanetStream) {
        if stream::must_be_closed() {
            // SAFETY: the VM holds the table, and the stream is live.
            unsafe { c::janet_table_put(self.held, stream::wrap(stream).into(), c::janet_wrap_true()) };
        }
    }
}

/// The listener in a value of the table.
fn from_value(value: c::Janet) -> Option<ListenerRef> {
    // SAFETY: it is a type check.
    let listener = NonNull::new(unsafe { c::janet_checkabstract(value, &raw const TYPE.0) })?;
    // SAFETY: a value of this type is a listener, and the table keeps it alive.
    Some(unsafe { ListenerRef::new(listener.cast()) })
}

/// Prepares for the closing of a stream: removes everything that refers to its descriptor.
pub fn leave(listener: ListenerRef, stream: *mut c::JanetStream) {
    vm::with_existing(|vm| vm.engine.close(listener.token));
    listener.remove_file(stream::descriptor(stream));
    stream::unregister(stream);
    // It may be collected from now on.
    // SAFETY: the VM holds the table, and the stream is live.
    vm::with_any(|vm| unsafe { c::janet_table_remove(vm.held, stream::wrap(stream).into()) });
}

/// Gives back the place of the running task: a handler of the listener, which is about to return.
///
/// # Errors
/// Returns an error if the listener was at its limit, and cannot go on accepting.
pub fn release(stream: *mut c::JanetStream) -> Result<(), String> {
    let mut result = Ok(());
    vm::with_existing(|vm| {
        // SAFETY: Janet called a function of this module, so there is a root fiber.
        let task = unsafe { c::janet_root_fiber() };
        if let Some(token) = vm.known(stream).filter(|listener| listener.end(task)).map(|listener| listener.token) {
            result = vm.engine.release(token, &mut Deliver);
        }
    });
    result.map_err(|errno| format!("cannot go on accepting: {errno}"))
}

/// Drops the handlers of all listeners but the one that runs. Called in a forked child: the parent runs the handlers, and
/// their copies here must not answer its clients. It only writes to memory, since the process may have had other threads.
pub fn drop_handlers() {
    vm::with_any(|vm| {
        // SAFETY: the thread that forked runs Janet code, so it has a root fiber, or null if it has no VM.
        let running = unsafe { c::janet_root_fiber() };
        for (_, listener) in vm.entries() {
            listener.unschedule(running);
        }
    });
}

/// Handles Janet's events for a sentinel.
unsafe extern "C-unwind" fn on_sentinel_event(fiber: *mut c::JanetFiber, event: c::JanetAsyncEvent) {
    catch_panic("a listener's end", || {
        if event == c::JanetAsyncEvent_JANET_ASYNC_EVENT_CLOSE {
            let found =
                vm::with_any(|vm| vm.entries().find(|(_, listener)| ptr::eq(listener.sentinel, fiber))).flatten();
            if let Some((stream, listener)) = found {
                leave(listener, stream);
            }
        }
    });
}

/// Called while the collector marks.
unsafe extern "C-unwind" fn mark(data: *mut c_void, _size: usize) -> i32 {
    // SAFETY: Janet passes the memory that `make` initialized.
    catch_panic("marking a listener", || unsafe { &*data.cast::<Listener>() }.mark());
    0
}

/// Called by the collector: the stream is gone, and its descriptor closed. At a VM's end, both are about to be.
unsafe extern "C-unwind" fn collect(data: *mut c_void, _size: usize) -> i32 {
    catch_panic("collecting a listener", || {
        let address = data.cast::<Listener>();
        // SAFETY: Janet passes the memory that `make` initialized, and does so once. No reference is left: the listener is
        // in no table and no fiber's state any more, and is taken out of the engine first.
        unsafe {
            (*address).remove_file(stream_of(address).and_then(stream::descriptor));
            // Forgetting makes no system call, so it is done in a forked child too.
            vm::with_any(|vm| vm.engine.forget((*address).token));
            address.drop_in_place();
        }
    });
    0
}

/// The stream of a listener that is about to be freed, if the stream is still there. The collector frees the stream first,
/// and takes it off the table; but at a VM's end, Janet frees the newest values first.
fn stream_of(listener: *const Listener) -> Option<*mut c::JanetStream> {
    vm::with_any(|vm| {
        // Other listeners may have been freed, so they are not looked at.
        let pair = vm.pairs().find(|pair| address(pair.value).is_some_and(|value| ptr::eq(value, listener.cast())));
        pair.and_then(|pair| address(pair.key)).map(|stream| stream.cast::<c::JanetStream>().cast_mut())
    })
    .flatten()
}

/// The address of an abstract value.
fn address(value: c::Janet) -> Option<*const c_void> {
    // SAFETY: it looks only at the value, and not at what is there.
    unsafe {
        (c::janet_checktype(value, c::JanetType_JANET_ABSTRACT) != 0)
            .then(|| c::janet_unwrap_abstract(value).cast_const().cast())
    }
}
