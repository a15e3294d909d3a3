//! The functions that Janet calls. Options were parsed in `janet/kqnet`; what a wrong value could break is checked again.

use std::os::fd::AsRawFd;

use janetrs::lowlevel as c;
use janetrs::{Janet, TaggedJanet};
use kqnet_accept::queue::Queue;
use kqnet_accept::socket::{self, Address, Listening};
use kqnet_accept::{Limits, Token, activation};

use crate::boundary::{Outcome, entry};
use crate::listener::Listener;
use crate::value::{
    arg, bytes, c_string, describe, integer, is_keyword, is_true, optional_count, optional_rate, string, structure,
    tuple,
};
use crate::vm::Deliver;
use crate::{message, stream, vm};

entry!(kqnet_listen => listen);
entry!(kqnet_accept => accept);
entry!(kqnet_accept_loop => accept_loop);
entry!(kqnet_check_handler => check_handler);
entry!(kqnet_check_function => check_function);
entry!(kqnet_check_on_error => check_on_error);
entry!(kqnet_claim => claim);
entry!(kqnet_is_open => is_open);
entry!(kqnet_backend => backend);
entry!(kqnet_nodelay => nodelay);
entry!(kqnet_close => close);
entry!(kqnet_drain => drain);
entry!(kqnet_cancel => cancel);
entry!(kqnet_environments => environments);
entry!(kqnet_say => say);
entry!(kqnet_release => release);
entry!(kqnet_tasks => tasks);
entry!(kqnet_stats => stats);
entry!(kqnet_listeners => listeners);
entry!(kqnet_trackers => trackers);
entry!(kqnet_from_fd => from_fd);
entry!(kqnet_passed => passed);

/// `(native/listen host port type no-reuse backlog reuse-port nodelay mode)`
fn listen(args: &[Janet]) -> Result<Outcome, String> {
    let kind = match arg(args, 2) {
        kind if kind.is_nil() || is_keyword(kind, "stream") => socket::Kind::Stream,
        kind if is_keyword(kind, "datagram") => socket::Kind::Datagram,
        kind => return Err(format!("expected socket type as :stream or :datagram, got {}", describe(kind))),
    };
    let options = socket::Options {
        kind,
        reuse_address: !is_true(arg(args, 3)),
        reuse_port: is_true(arg(args, 5)),
        backlog: optional_count(":backlog", arg(args, 4))?,
        nodelay: is_true(arg(args, 6)),
        mode: mode(arg(args, 7))?,
    };
    let address = address(arg(args, 0), arg(args, 1))?;
    let failed = |why: &dyn std::fmt::Display| format!("cannot listen on {address}: {why}");
    // Without a queue, the listener would not be known when it is closed.
    vm::with(|_| Ok(())).map_err(|why| failed(&why))?;
    let Listening { socket, file } = socket::listen(&address, &options).map_err(|why| failed(&why))?;
    let fd = socket.as_raw_fd();
    let kind = match kind {
        socket::Kind::Stream => stream::Kind::Listener,
        socket::Kind::Datagram => stream::Kind::Datagram,
    };
    let stream = stream::make(socket, kind).and_then(|stream| {
        vm::with(|vm| {
            // SAFETY: the table of the VM has it.
            unsafe { &*vm.register(stream, fd) }.file.replace(file.clone());
            Ok(stream)
        })
    });
    match stream {
        Ok(stream) => Ok(Outcome::Value(stream::wrap(stream))),
        Err(why) => {
            // The descriptor is open still: it is the stream's, which the collector closes.
            if let Some(file) = file {
                file.remove(Some(fd));
            }
            Err(failed(&why))
        }
    }
}

/// Permissions of a file, or nothing for nil.
fn mode(value: Janet) -> Result<Option<u32>, String> {
    if value.is_nil() {
        return Ok(None);
    }
    match integer(value) {
        Some(mode @ 0..=0o777) => Ok(Some(mode.unsigned_abs())),
        _ => Err(format!(":mode must be an integer from 0 to 8r777, got {}", describe(value))),
    }
}

/// Where to listen: a host and a port, or `:unix` and a path.
fn address(host: Janet, port: Janet) -> Result<Address, String> {
    if is_keyword(host, "unix") {
        let path = c_string("the path of a unix socket", port)?;
        // Linux would make an abstract name of NULs of it.
        if path.is_empty() {
            return Err("the path of a unix socket is empty".into());
        }
        return Ok(Address::Unix(path));
    }
    let host = c_string("a host", host)?;
    let out_of_range = || format!("a port is an integer from 0 to 65535, got {}", describe(port));
    let port = match port.unwrap() {
        TaggedJanet::Nil => c"0".into(),
        TaggedJanet::Number(_) => match integer(port) {
            Some(number @ 0..=65535) => std::ffi::CString::new(number.to_string()).unwrap_or_default(),
            _ => return Err(out_of_range()),
        },
        _ => c_string("a port", port)?,
    };
    // getaddrinfo(3) takes the last 16 bits of a larger number.
    let digits = port.to_string_lossy();
    if digits.len() > 4 && digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_err() {
        return Err(out_of_range());
    }
    Ok(Address::Inet { host, port })
}

/// Who wants to accept from a listener.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    Anybody,
    /// The fiber for which the listener was claimed.
    Claimant,
}

/// The listener that a function is to accept from, if no other fiber does.
fn free_listener(vm: &mut vm::Vm, stream: *mut c::JanetStream, caller: Caller) -> Result<*mut Listener, String> {
    let listener = vm.listener(stream).map_err(|why| format!("cannot accept: {why}"))?;
    // SAFETY: the table of the VM has it.
    let known = unsafe { &*listener };
    // Core's functions take no notice of a claim, and the server that made it goes on beside them.
    let is_taken = match caller {
        Caller::Anybody => known.is_awaited(stream) || known.is_claimed.get(),
        Caller::Claimant => !known.fiber.get().is_null(),
    };
    if is_taken {
        let name = stream::descriptor(stream).map(socket::local_name).unwrap_or_default();
        return Err(format!("cannot accept on {name}: another fiber is accepting on this listener"));
    }
    known.begin_statistics();
    Ok(listener)
}

/// The longest time that is passed on to a clock: some 30 years, in seconds.
const LONGEST: f64 = 1e9;

/// The seconds of a timeout, or nothing for nil and infinity. A negative one is over at once, as in core.
fn timeout(value: Janet) -> Result<Option<f64>, String> {
    match value.unwrap() {
        TaggedJanet::Nil => Ok(None),
        TaggedJanet::Number(f64::INFINITY) => Ok(None),
        TaggedJanet::Number(seconds) if seconds.is_finite() && seconds <= LONGEST => Ok(Some(seconds.max(0.0))),
        TaggedJanet::Number(seconds) if !seconds.is_nan() => Err(format!(
            "a timeout is a finite number of seconds, at most 1e9, or math/inf for none, got {}",
            describe(value)
        )),
        _ => Err(format!("a timeout is a number of seconds, got {}", describe(value))),
    }
}

/// `(native/accept listener &opt timeout)`
fn accept(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    let timeout = timeout(arg(args, 1))?;
    vm::with(|vm| {
        let listener = free_listener(vm, stream, Caller::Anybody)?;
        // SAFETY: the table of the VM has it.
        let token = unsafe { (*listener).token };
        let failed = |errno| vm::cannot_accept(stream, errno);
        vm.engine.limit(token, Limits { counted: false, ..Limits::default() });
        if let Some(conn) = vm.engine.accept_now(token, &mut Deliver).map_err(failed)? {
            let conn = stream::make(conn, stream::Kind::Connection)?;
            // By way of the schedule, so that a loop over a full backlog lets other fibers run.
            // SAFETY: called by Janet on a task's fiber, which the trampoline suspends.
            unsafe { c::janet_schedule(c::janet_root_fiber(), stream::wrap(conn).into()) };
            return Ok(Outcome::Await);
        }
        vm.engine.start(token).map_err(failed)?;
        if let Some(seconds) = timeout {
            // SAFETY: as above.
            unsafe { c::janet_addtimeout(seconds) };
        }
        Listener::wait(listener, stream, std::ptr::null_mut(), std::ptr::null_mut());
        Ok(Outcome::Await)
    })
}

/// A function that can be called with so many arguments, which are named in `what`.
fn function(what: &str, value: Janet, arity: i32) -> Result<*mut c::JanetFunction, String> {
    let name = what.split(' ').next().unwrap_or_default();
    if !matches!(value.unwrap(), TaggedJanet::Function(_)) {
        return Err(format!("{name} must be a function, got {}", describe(value)));
    }
    // SAFETY: its type was checked; a function always has a definition.
    let (function, min, max) = unsafe {
        let function = c::janet_unwrap_function(value.into());
        (function, (*(*function).def).min_arity, (*(*function).def).max_arity)
    };
    if min > arity || max < arity {
        return Err(format!("{what}; {} does not", describe(value)));
    }
    Ok(function)
}

fn handler(value: Janet) -> Result<*mut c::JanetFunction, String> {
    function("handler must take one argument, the connection", value, 1).map_err(|text| format!("a {text}"))
}

/// What to call when accepting pauses, or null for nil.
fn on_error(value: Janet) -> Result<*mut c::JanetFunction, String> {
    if value.is_nil() {
        return Ok(std::ptr::null_mut());
    }
    function(":on-error must take two arguments, the listener and the message", value, 2)
}

/// `(native/check-handler handler)`: and makes the queue, so that its want is an error before a listener is opened
fn check_handler(args: &[Janet]) -> Result<Outcome, String> {
    handler(arg(args, 0))?;
    vm::with(|_| Ok(Outcome::Value(arg(args, 0))))
}

/// `(native/check-function what takes value arity)`: that it is a function which can be called with so many arguments
fn check_function(args: &[Janet]) -> Result<Outcome, String> {
    let text =
        |index| bytes(&arg(args, index)).map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
    let (what, takes, value) = (text(0), text(1), arg(args, 2));
    match function(&what, value, integer(arg(args, 3)).unwrap_or(1)) {
        Ok(_) => Ok(Outcome::Value(value)),
        Err(_) if matches!(value.unwrap(), TaggedJanet::Function(_)) => {
            Err(format!("{what} must take {takes}; {} does not", describe(value)))
        }
        Err(_) => Err(format!("{what} must be a function, got {}", describe(value))),
    }
}

/// `(native/claim listener)`: it has statistics from now on, and only the claimant may accept from it
fn claim(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    let listener = vm::with(|vm| free_listener(vm, stream, Caller::Anybody))?;
    // SAFETY: the table of the VM has it.
    unsafe { &*listener }.is_claimed.set(true);
    Ok(Outcome::Value(arg(args, 0)))
}

/// `(native/check-on-error on-error)`
fn check_on_error(args: &[Janet]) -> Result<Outcome, String> {
    on_error(arg(args, 0)).map(|_| Outcome::Value(arg(args, 0)))
}

/// `(native/accept-loop listener handler &opt batch max-connections max-accept-rate on-error claimant)`
fn accept_loop(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    let handler = handler(arg(args, 1))?;
    let mut limits = Limits {
        max_connections: optional_count(":max-connections", arg(args, 3))?.map(i32::unsigned_abs),
        max_rate: optional_rate(":max-accept-rate", arg(args, 4))?,
        ..Limits::default()
    };
    if let Some(batch) = optional_count(":batch", arg(args, 2))? {
        limits.batch = batch.unsigned_abs();
    }
    let on_error = on_error(arg(args, 5))?;
    let caller = if is_true(arg(args, 6)) { Caller::Claimant } else { Caller::Anybody };
    // Janet prints the errors of handlers to stderr, whose reader may be gone.
    kqnet_accept::signals::survive_broken_pipes();
    vm::with(|vm| {
        let listener = free_listener(vm, stream, caller)?;
        // SAFETY: the table of the VM has it.
        let token = unsafe { (*listener).token };
        vm.engine.limit(token, limits);
        vm.engine.start(token).map_err(|errno| vm::cannot_accept(stream, errno))?;
        Listener::wait(listener, stream, handler, on_error);
        Ok(Outcome::Await)
    })
}

/// `(native/release listener)`: the running task, a handler of this listener, is at its end
fn release(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    let mut result = Ok(());
    vm::with_existing(|vm| {
        // SAFETY: called by Janet, so there is a root fiber.
        let task = unsafe { c::janet_root_fiber() };
        if let Some(token) = vm.known(stream).filter(|listener| listener.end(task)).map(|listener| listener.token) {
            result = vm.engine.release(token, &mut Deliver);
        }
    });
    result.map_err(|errno| format!("cannot go on accepting: {errno}"))?;
    Ok(Outcome::Value(Janet::nil()))
}

/// Gives back the places of handlers that ended by an error, and gives the listener's place in the engine.
fn swept(vm: &mut vm::Vm, stream: *mut c::JanetStream) -> Option<Token> {
    let (token, ended) = vm.known(stream).map(|listener| (listener.token, listener.sweep()))?;
    for _ in 0..ended {
        // A listener that the kernel does not take back says so to its waiting fiber, at the next turn.
        let _ = vm.engine.release(token, &mut Deliver);
    }
    Some(token)
}

/// `(native/tasks listener)`: the tasks of the handlers that run
fn tasks(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    let mut tasks = Vec::new();
    vm::with_existing(|vm| {
        swept(vm, stream);
        if let Some(listener) = vm.known(stream) {
            // SAFETY: they are live: none has ended.
            tasks = listener.tasks().into_iter().map(|task| unsafe { c::janet_wrap_fiber(task) }.into()).collect();
        }
    });
    Ok(Outcome::Value(tuple(&tasks)))
}

/// `(native/cancel task reason quiet)`: cancels a task. What becomes of it goes to its supervisor, or else to the channel
/// `quiet` and not to stderr. Gives true where the channel will hear of it.
fn cancel(args: &[Janet]) -> Result<Outcome, String> {
    let TaggedJanet::Fiber(_) = arg(args, 0).unwrap() else {
        return Err(format!("expected a task, got {}", describe(arg(args, 0))));
    };
    // SAFETY: type checks; `janet_channel_type` is a static of the host. The task keeps its supervisor alive, and a signal
    // of that kind is what janet_cancel sends.
    unsafe {
        let channel = c::janet_checkabstract(arg(args, 2).into(), &raw const c::janet_channel_type);
        if channel.is_null() {
            return Err(format!("expected a channel, got {}", describe(arg(args, 2))));
        }
        let task = c::janet_unwrap_fiber(arg(args, 0).into());
        let is_unsupervised = (*task).supervisor_channel.is_null();
        if is_unsupervised {
            (*task).supervisor_channel = channel;
        }
        // Without this mask, Janet prints a trace though there is a supervisor.
        (*task).flags |= 1 << c::JanetSignal_JANET_SIGNAL_ERROR;
        c::janet_schedule_signal(task, arg(args, 1).into(), c::JanetSignal_JANET_SIGNAL_ERROR);
        Ok(Outcome::Value(Janet::boolean(is_unsupervised)))
    }
}

/// `(native/environments)`: those of the running fibers, from the task's to that of the caller
fn environments(_args: &[Janet]) -> Result<Outcome, String> {
    let mut found = Vec::new();
    // SAFETY: called by Janet, so there is a root fiber. Each fiber keeps its child and its environment alive.
    unsafe {
        let mut fiber = c::janet_root_fiber();
        while let Some(running) = fiber.as_ref() {
            if !running.env.is_null() {
                found.push(c::janet_wrap_table(running.env).into());
            }
            fiber = running.child;
        }
    }
    Ok(Outcome::Value(tuple(&found)))
}

/// `(native/say text)`: a line on stderr, if it can be written
fn say(args: &[Janet]) -> Result<Outcome, String> {
    let text = arg(args, 0);
    let text = bytes(&text).ok_or_else(|| format!("expected a text, got {}", describe(text)))?;
    message::line(&String::from_utf8_lossy(text));
    Ok(Outcome::Value(Janet::nil()))
}

/// `(native/drain listener)`: gives the clients that wait already to the handler, and closes the listener
fn drain(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    if !stream::is_acceptable(stream) {
        return Err("cannot drain: the stream is not a listener".into());
    }
    vm::with_existing(|vm| {
        // A fiber that waits in accept learns that the listener is closed instead.
        if let Some(token) =
            vm.known(stream).filter(|listener| !listener.handler.get().is_null()).map(|listener| listener.token)
        {
            vm.engine.accept_backlog(token, &mut Deliver);
        }
    });
    close(args)
}

/// `(native/close stream)`
fn close(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    // A datagram socket's sentinel is lost once something was sent.
    if stream::is_bound(stream) {
        vm::with_existing(|vm| {
            if let Some(listener) = vm.known(stream) {
                listener.remove_file(stream::descriptor(stream));
            }
        });
    }
    // Otherwise the sentinel or the waiting fiber does what goes with it.
    stream::close(stream);
    // As core's close does.
    Ok(Outcome::Value(arg(args, 0)))
}

/// `(native/stats listener)`
fn stats(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    let mut result = Janet::nil();
    vm::with_existing(|vm| {
        swept(vm, stream);
        let Some(listener) = vm.known(stream) else { return };
        let Some(since) = listener.since.get() else { return };
        let (token, name) = (listener.token, listener.name.clone());
        let Some(stats) = vm.engine.stats(token) else { return };
        let number = |count: u64| Janet::number(count as f64);
        let pauses = [("error", stats.paused_error), ("full", stats.paused_full), ("rate", stats.paused_rate)];
        let errors: Vec<_> = stats.errors.iter().map(|(errno, count)| (errno.name(), number(*count))).collect();
        let errors: Vec<_> = errors.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        result = structure(&[
            ("address", string(&name)),
            ("accepted", number(stats.accepted)),
            ("active", number(stats.active.into())),
            ("peak", number(stats.peak.into())),
            ("batches", number(stats.batches)),
            ("largest-batch", number(stats.largest_batch.into())),
            ("aborted", number(stats.aborted)),
            ("pauses", structure(&pauses.map(|(why, pauses)| (why, number(pauses.count))))),
            ("paused", structure(&pauses.map(|(why, pauses)| (why, Janet::number(pauses.time.as_secs_f64()))))),
            ("errors", structure(&errors)),
            ("since", Janet::number(since)),
        ]);
    });
    Ok(Outcome::Value(result))
}

/// `(native/listeners)`
fn listeners(_args: &[Janet]) -> Result<Outcome, String> {
    let mut streams = Vec::new();
    vm::with_existing(|vm| streams = vm.streams());
    Ok(Outcome::Value(tuple(&streams)))
}

/// `(native/trackers)`
fn trackers(_args: &[Janet]) -> Result<Outcome, String> {
    match vm::trackers() {
        Some(table) => Ok(Outcome::Value(table)),
        None => vm::with(|vm| Ok(Outcome::Value(vm.trackers()))),
    }
}

/// `(native/from-fd number given)`: takes over an inherited descriptor, or one that launchd gave
fn from_fd(args: &[Janet]) -> Result<Outcome, String> {
    let value = arg(args, 0);
    let fd = integer(value).filter(|fd| *fd >= 0);
    let fd = fd.ok_or_else(|| format!("a descriptor is a non-negative integer, got {}", describe(value)))?;
    let failed = |why: &dyn std::fmt::Display| format!("cannot accept from descriptor {fd}: {why}");
    if !is_true(arg(args, 1)) {
        activation::check_inherited(fd).map_err(|what| failed(&what))?;
    }
    socket::check_listener(fd).map_err(|what| failed(&what))?;
    vm::with(|_| Ok(())).map_err(|why| failed(&why))?;
    // SAFETY: what was inherited, or given by launchd, belongs to nothing in the program.
    let owned = unsafe { activation::take(fd) }.map_err(|what| failed(&what))?;
    let stream = stream::make(owned, stream::Kind::Listener).map_err(|why| failed(&why))?;
    vm::with(|vm| {
        vm.listener(stream)?;
        vm.hold(stream);
        Ok(())
    })
    .map_err(|why| failed(&why))?;
    Ok(Outcome::Value(stream::wrap(stream)))
}

/// `(native/nodelay listener)`: as the option :nodelay of `kqnet/listen`, for a listener made elsewhere
fn nodelay(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    vm::with(|vm| vm.listener(stream).map(drop).map_err(|why| format!("cannot accept: {why}")))?;
    // A unix socket has no such option, and needs none.
    let _ = stream::descriptor(stream).map(socket::nodelay);
    Ok(Outcome::Value(arg(args, 0)))
}

/// `(native/passed name pid count names)`: launchd's sockets of that name, or systemd's with its variables
fn passed(args: &[Janet]) -> Result<Outcome, String> {
    let text = |index| match arg(args, index) {
        nil if nil.is_nil() => Ok(None),
        value => c_string("a variable", value).map(|text| Some(text.to_string_lossy().into_owned())),
    };
    let passed = match arg(args, 0) {
        nil if nil.is_nil() => activation::systemd(text(1)?.as_deref(), text(2)?.as_deref(), text(3)?.as_deref())?,
        name => {
            let name = c_string("the name of a socket", name)?;
            activation::launchd(&name).map_err(|errno| {
                let why = match errno.0 {
                    libc::ENOSYS => "only macOS has launchd; without a name, systemd's sockets are returned".into(),
                    libc::ENOENT => "the program's plist has no Sockets of that name".into(),
                    libc::ESRCH => "the program was not started by launchd".into(),
                    _ => errno.to_string(),
                };
                format!("cannot get launchd's sockets {}: {why}", name.to_string_lossy())
            })?
        }
    };
    let pairs: Vec<_> = passed.iter().map(|one| tuple(&[string(&one.name), Janet::number(one.fd.into())])).collect();
    Ok(Outcome::Value(tuple(&pairs)))
}

/// `(native/backend)`
fn backend(_args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(Janet::keyword(Queue::NAME.into())))
}

/// `(native/open? stream)`
fn is_open(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(Janet::boolean(stream::descriptor(stream::get(arg(args, 0))?).is_some())))
}
