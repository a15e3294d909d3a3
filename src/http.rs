//! HTTP connections: the state of each between Janet's reads and writes, on `crates/http1`.
//!
//! Janet code (janet/kqnet/http/) reads and writes; the functions here look at what was read and fill what is to
//! be written. Each says by its connection's phase what the fiber may wait for next, and for how long.

pub mod common;
mod file_body;
mod tally;
mod transfer;
mod wait;
mod watch;

use std::cell::RefCell;
use std::ffi::c_void;
use std::time::{Duration, SystemTime};

use janetrs::lowlevel as c;
use janetrs::{Janet, TaggedJanet};
use kqnet_accept::socket;
use kqnet_http1::response::{self, Body, Delivery, Exchange, HeadWriter, plan, write_failure};
use kqnet_http1::{BodyReader, Framing, HeadLimits, HeadParser, Parse, Reject, Version, parse_query, push_lower};

use crate::abstract_type::{AbstractType, NOTHING};
use crate::boundary::{Outcome, entry, guard};
use crate::buffer;
use crate::deadlines::{Place, Reason};
use crate::files::Part;
use crate::stream;
use crate::value::{arg, bytes, describe, integer, is_true, tuple};
use crate::vm::{self, Vm};

entry!(kqnet_http_config => config);
entry!(kqnet_http_open => open);
entry!(kqnet_http_limit_unsent => limit_unsent);
entry!(kqnet_http_tracker => tracker);
entry!(kqnet_http_close => close);
entry!(kqnet_http_of => of);
entry!(kqnet_http_parse => parse);
entry!(kqnet_http_body => body);
entry!(kqnet_http_continue => awaits_continue);
entry!(kqnet_http_respond => respond);
entry!(kqnet_http_refuse => refuse);
entry!(kqnet_http_begun => begun);
entry!(kqnet_http_phase => phase);
entry!(kqnet_http_end_idle => end_idle);
entry!(kqnet_http_is_invalid => is_invalid);

/// The most of an unread body that is read and thrown away to keep a connection.
const MAX_DISCARD: u64 = 64 * 1024;

/// Bodies up to this size go out in one write with their head.
const SMALL_BODY: usize = 32 * 1024;

/// What the buffer of an idle connection has room for; as much is read of a head at once (janet/kqnet/http/connection.janet).
const IDLE_BUFFER: i32 = 2048;

/// How long a connection that was accepted, but not served yet, may stay silent while the server drains.
const LAST_LOOK: Duration = Duration::from_millis(100);

/// What a server's connections share.
struct Config {
    limits: HeadLimits,
    max_body: u64,
    max_requests: Option<u32>,
    head_timeout: Option<Duration>,
    body_timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    /// The environment of whoever started the server: the prototype of each request's.
    env: *mut c::JanetTable,
    tally: tally::Tally,
}

/// What a connection's fiber is doing. Its names are what `(native/http-phase http)` gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Between requests.
    Idle,
    /// A head has begun.
    Head,
    /// The handler runs.
    Handler,
    /// The handler waits for the body.
    Body,
    /// The last response was written, and the client may still send.
    Linger,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Head => "head",
            Self::Handler => "handler",
            Self::Body => "body",
            Self::Linger => "linger",
        }
    }
}

/// A connection.
struct Conn {
    /// Kept alive by the mark function, as is the stream.
    config: *const Config,
    stream: Janet,
    tracker: Janet,
    place: Option<Place>,
    phase: Phase,
    parser: HeadParser,
    exchange: Exchange,
    body: BodyReader,
    /// The client waits for a 100 before it sends its body.
    awaits_continue: bool,
    /// The client may send another request, as far as it knows.
    may_go_on: bool,
    /// The last response said that another request may follow.
    keep: bool,
    requests: u32,
    /// The number of the request that runs, 0 between requests.
    request: u32,
    /// Its response is being sent.
    begun: bool,
    /// Bytes that the system has taken, and that the client had acknowledged when that was last asked.
    sent: u64,
    acknowledged: u64,
    /// How much more the client has taken of a response than it had to (transfer.rs).
    ahead: i64,
    reading: Option<transfer::Reading>,
    writing: Option<transfer::Writing>,
    watching: Option<watch::Watching>,
    /// The channel that tells the running request of its end, or nil.
    ending: Janet,
    /// It wants to be told when the client sends no more.
    or_ended: bool,
    /// The client was found to be gone.
    is_lost: bool,
    /// Until when the client may take the last answer.
    linger_until: Duration,
    lingers_briefly: bool,
    /// The request that is being answered, for logs and metrics.
    account: tally::Account,
    /// The client's address as logs have it, or nil until one asks.
    peer: Janet,
    /// Who wants to hear how that request was answered, or nil.
    observers: Janet,
    /// What the handler returned was no response.
    is_invalid: bool,
    /// The files that were opened for the request.
    files: file_body::Opened,
}

/// The error for a task that still uses a request after its response was sent.
const OVER: &str = "this request is over: its response was sent, and nothing more can be read or learned of it";

static CONFIG: AbstractType = AbstractType(c::JanetAbstractType {
    name: c"kqnet/http-config".as_ptr(),
    gc: Some(collect_config),
    gcmark: Some(mark_config),
    ..NOTHING
});

static CONN: AbstractType = AbstractType(c::JanetAbstractType {
    name: c"kqnet/http".as_ptr(),
    gc: Some(collect_conn),
    gcmark: Some(mark_conn),
    ..NOTHING
});

unsafe extern "C-unwind" fn collect_config(data: *mut c_void, _size: usize) -> i32 {
    // SAFETY: Janet passes the memory that `config` initialized, and does so once, when no connection marks it any more.
    guard("collecting a configuration", || unsafe { data.cast::<Config>().drop_in_place() });
    0
}

unsafe extern "C-unwind" fn mark_config(data: *mut c_void, _size: usize) -> i32 {
    // SAFETY: Janet passes the memory that `config` initialized; the table is live because of this marking.
    unsafe { c::janet_mark(c::janet_wrap_table((*data.cast::<Config>()).env)) };
    0
}

unsafe extern "C-unwind" fn mark_conn(data: *mut c_void, _size: usize) -> i32 {
    // SAFETY: Janet passes the memory that `open` initialized; the values are live because of this marking.
    unsafe {
        let conn = &*data.cast::<Conn>();
        c::janet_mark(c::janet_wrap_abstract(conn.config.cast_mut().cast()));
        c::janet_mark(conn.stream.into());
        c::janet_mark(conn.tracker.into());
        c::janet_mark(conn.ending.into());
        // While another task reads, the stream does not hold it.
        if let Some(watching) = &conn.watching {
            c::janet_mark(c::janet_wrap_fiber(watching.fiber));
        }
        c::janet_mark(conn.observers.into());
        c::janet_mark(conn.peer.into());
        conn.files.mark();
    }
    0
}

unsafe extern "C-unwind" fn collect_conn(data: *mut c_void, _size: usize) -> i32 {
    guard("collecting a connection", || {
        // SAFETY: Janet passes the memory that `open` initialized, and does so once.
        unsafe {
            leave(&mut *data.cast::<Conn>());
            data.cast::<Conn>().drop_in_place();
        }
    });
    0
}

/// Gives the connection's deadlines back.
fn leave(conn: &mut Conn) {
    let writing = conn.writing.as_mut().and_then(|writing| writing.place.take());
    let watching = conn.watching.take().map(|watching| watching.place);
    for place in [conn.place.take(), writing, watching].into_iter().flatten() {
        vm::with_existing(|vm| vm.deadlines.remove(place));
    }
}

/// Whether a request, known by its number, is the one that runs. A copy that a program has made of some of a request's
/// keys may have none.
fn check_request(conn: &Conn, number: Janet) -> Result<(), String> {
    let is_running = conn.request != 0
        && match number.unwrap() {
            TaggedJanet::Nil => true,
            TaggedJanet::Number(number) => number == f64::from(conn.request),
            _ => false,
        };
    if is_running { Ok(()) } else { Err(OVER.into()) }
}

/// Ends a request: whatever still waits on it gets an error.
fn end_request(conn: &mut Conn) {
    (conn.request, conn.begun) = (0, false);
    (conn.ending, conn.or_ended) = (Janet::nil(), false);
    conn.files.close();
    transfer::end_waits(conn, OVER);
    watch::end(conn, "over");
}

/// Gives the running fiber an environment.
fn set_env(env: *mut c::JanetTable) {
    // SAFETY: called from a function that Janet called, so a fiber runs.
    unsafe { (*c::janet_current_fiber()).env = env };
}

thread_local! {
    /// Where heads are written before they go to a Janet buffer.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The connection in the first argument.
fn conn<'a>(args: &[Janet]) -> Result<&'a mut Conn, String> {
    // SAFETY: a type check; the argument on Janet's stack keeps it alive, and no other reference to it exists while
    // one of these functions runs, since none calls Janet code.
    unsafe { c::janet_checkabstract(arg(args, 0).into(), &raw const CONN.0).cast::<Conn>().as_mut() }
        .ok_or_else(|| format!("expected an HTTP connection, got {}", describe(arg(args, 0))))
}

/// A configuration.
fn config_of<'a>(value: Janet) -> Result<&'a Config, String> {
    // SAFETY: a type check; the caller's argument keeps it alive, and it is never borrowed mutably after it was made.
    unsafe { c::janet_checkabstract(value.into(), &raw const CONFIG.0).cast::<Config>().as_ref() }
        .ok_or_else(|| format!("expected an HTTP configuration, got {}", describe(value)))
}

/// Has a file closed when the request on this stream has ended, if the stream is a connection of an HTTP server here.
pub fn keep_file(stream: Janet, file: *mut Part) {
    vm::with_existing(|vm| {
        // SAFETY: the table is rooted; no other reference to a connection exists, as in `conn`.
        let conn = unsafe {
            let value = c::janet_table_get(vm.connections, stream.into());
            c::janet_checkabstract(value, &raw const CONN.0).cast::<Conn>().as_mut()
        };
        if let Some(conn) = conn {
            conn.files.add(file);
        }
    });
}

fn unix_time() -> Option<i64> {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|time| time.as_secs() as i64)
}

impl Conn {
    fn config(&self) -> &Config {
        // SAFETY: marked by `mark_conn`, and never written to after it was made.
        unsafe { &*self.config }
    }

    /// Goes to a phase, and starts its time where it is a new one or each read of it has its own.
    fn enter(&mut self, vm: &mut Vm, phase: Phase) {
        let is_new = std::mem::replace(&mut self.phase, phase) != phase;
        let config = self.config();
        let (timeout, reason) = match phase {
            Phase::Idle => (config.idle_timeout, Reason::Keyword("idle-timeout")),
            Phase::Head => (config.head_timeout, Reason::Keyword("head-timeout")),
            Phase::Body => (config.body_timeout, Reason::Reject(408, "request body did not arrive in time")),
            // The handler has all the time it wants, and lingering has its own.
            Phase::Handler | Phase::Linger => (None, Reason::Keyword("")),
        };
        if phase == Phase::Head {
            self.account.begin_head(vm.engine.now());
        }
        if is_new || phase == Phase::Body {
            self.deadline(vm, timeout, reason);
        }
    }

    fn deadline(&self, vm: &mut Vm, timeout: Option<Duration>, reason: Reason) {
        let at = timeout.map(|timeout| vm.engine.now() + timeout);
        self.deadline_at(vm, at, reason);
    }

    fn deadline_at(&self, vm: &mut Vm, at: Option<Duration>, reason: Reason) {
        if let Some(place) = self.place
            && let Some(wake) = vm.deadlines.set(place, at, reason)
        {
            vm.engine.wake(Some(wake));
        }
    }

    /// Ends the account of the request that was answered last.
    fn close_account(&mut self, vm: &Vm) -> Option<tally::Record> {
        // SAFETY: as in `config`; apart, since the account is borrowed too.
        let tally = unsafe { &(*self.config).tally };
        self.account.close(tally, vm.engine.now())
    }

    /// Throws away what `buffer` has of an unread body.
    fn discard(&mut self, buffer: &mut c::JanetBuffer) -> Result<(), Reject> {
        let mut taken = 0;
        let mut received = 0;
        while !self.body.is_done() && taken < buffer::contents(buffer).len() {
            let step = self.body.step(&buffer::contents(buffer)[taken..])?;
            taken += step.consumed;
            received += step.data.len();
        }
        buffer::consume(buffer, taken);
        self.config().tally.receive(received);
        Ok(())
    }

    /// Whether what is left of an unread body is worth reading for the sake of the connection.
    fn can_discard(&self) -> bool {
        match &self.body {
            BodyReader::Length { remaining } => *remaining <= MAX_DISCARD && !self.awaits_continue,
            BodyReader::Chunked(_) => self.body.is_done(),
        }
    }
}

/// `(native/http-config max-head max-request-line max-headers max-body max-requests head body idle write)`: numbers, and
/// seconds, where nil is no limit
fn config(args: &[Janet]) -> Result<Outcome, String> {
    let count = |index: usize, none: f64| match arg(args, index).unwrap() {
        TaggedJanet::Nil => Ok(none),
        TaggedJanet::Number(number) if number >= 0.0 => Ok(number),
        _ => Err(format!("expected a positive number, got {}", describe(arg(args, index)))),
    };
    let seconds = |index| match count(index, f64::INFINITY) {
        Ok(seconds) => Ok(Duration::try_from_secs_f64(seconds).ok()),
        Err(text) => Err(text),
    };
    let config = Config {
        limits: HeadLimits {
            max_head: count(0, 16384.0)? as usize,
            max_request_line: count(1, 8192.0)? as usize,
            max_headers: count(2, 100.0)? as usize,
        },
        max_body: count(3, f64::INFINITY)? as u64,
        max_requests: Some(count(4, f64::INFINITY)?).filter(|count| count.is_finite()).map(|count| count as u32),
        head_timeout: seconds(5)?,
        body_timeout: seconds(6)?,
        idle_timeout: seconds(7)?,
        write_timeout: seconds(8)?,
        env: vm::running_env(),
        tally: tally::Tally::default(),
    };
    // The log of this server may be a pipe.
    kqnet_accept::signals::survive_broken_pipes();
    // SAFETY: janet_abstract gives memory of the size asked for, aligned for anything.
    let value = unsafe {
        let place: *mut Config = c::janet_abstract(&raw const CONFIG.0, size_of::<Config>()).cast();
        place.write(config);
        c::janet_wrap_abstract(place.cast())
    };
    Ok(Outcome::Value(value.into()))
}

/// `(native/http-open stream config tracker)`: a new connection, whose fiber is the running task
fn open(args: &[Janet]) -> Result<Outcome, String> {
    let config: *const Config = config_of(arg(args, 1))?;
    vm::with(|vm| {
        // SAFETY: as above; called by Janet, so there is a root fiber. The config is live: it is an argument.
        let (place, limits, fiber) = unsafe {
            let place: *mut Conn = c::janet_abstract(&raw const CONN.0, size_of::<Conn>()).cast();
            (place, (*config).limits, c::janet_root_fiber())
        };
        let conn = Conn {
            config,
            stream: arg(args, 0),
            tracker: arg(args, 2),
            place: Some(vm.deadlines.add(fiber, None)),
            phase: Phase::Handler,
            parser: HeadParser::new(limits),
            exchange: Exchange::unread(),
            body: BodyReader::Length { remaining: 0 },
            awaits_continue: false,
            may_go_on: true,
            keep: true,
            requests: 0,
            request: 0,
            begun: false,
            sent: 0,
            acknowledged: 0,
            ahead: 0,
            reading: None,
            writing: None,
            watching: None,
            ending: Janet::nil(),
            or_ended: false,
            is_lost: false,
            linger_until: Duration::ZERO,
            lingers_briefly: false,
            account: tally::Account::default(),
            observers: Janet::nil(),
            peer: Janet::nil(),
            is_invalid: false,
            files: file_body::Opened::default(),
        };
        // SAFETY: as above.
        let value = unsafe {
            place.write(conn);
            let value = c::janet_wrap_abstract(place.cast());
            c::janet_table_put(vm.connections, arg(args, 0).into(), value);
            value
        };
        Ok(Outcome::Value(value.into()))
    })
}

/// `(native/http-close http)`
fn close(args: &[Janet]) -> Result<Outcome, String> {
    let conn = conn(args)?;
    end_request(conn);
    leave(conn);
    vm::with_existing(|vm| {
        conn.close_account(vm);
        // SAFETY: the table is rooted.
        unsafe { c::janet_table_remove(vm.connections, conn.stream.into()) };
    });
    Ok(Outcome::Value(Janet::nil()))
}

/// `(native/http-of stream)`: the connection that is open on a stream, or nil
fn of(args: &[Janet]) -> Result<Outcome, String> {
    // SAFETY: the table is rooted.
    vm::with(|vm| Ok(Outcome::Value(unsafe { c::janet_table_get(vm.connections, arg(args, 0).into()) }.into())))
}

/// `(native/http-limit-unsent listener)`: has the listener's connections hold little that is not sent
fn limit_unsent(args: &[Janet]) -> Result<Outcome, String> {
    // A unix socket has no such option, and needs none.
    let _ = stream::descriptor(stream::get(arg(args, 0))?).map(socket::limit_unsent);
    Ok(Outcome::Value(arg(args, 0)))
}

/// `(native/http-tracker http)`: what is known of the handlers of its listener (janet/kqnet/tracker.janet)
fn tracker(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(conn(args)?.tracker))
}

/// `(native/http-parse http buffer draining)`: the next request as a table, whose head is taken from the buffer; a
/// tuple of status, reason and what `refused` says where it is refused; nil where more has to be read; after the last
/// request :close, or :linger where the client may still send something. Before all that an array, see
/// `native/http-answered`, where somebody wants to hear how the last request was answered.
fn parse(args: &[Janet]) -> Result<Outcome, String> {
    let conn = conn(args)?;
    let buffer = buffer::get(arg(args, 1))?;
    if conn.request != 0 {
        end_request(conn);
        set_env(conn.config().env);
    }
    vm::with(|vm| {
        if conn.account.is_answered() {
            let record = conn.close_account(vm);
            let observers = std::mem::replace(&mut conn.observers, Janet::nil());
            if let Some(record) = record.filter(|_| !observers.is_nil()) {
                return Ok(Outcome::Value(record.describe(observers)));
            }
        }
        if !conn.keep {
            let end = if conn.body.is_done() && !conn.may_go_on { "close" } else { "linger" };
            return Ok(Outcome::Value(Janet::keyword(end.into())));
        }
        if let Err(reject) = conn.discard(buffer) {
            return Ok(refused(reject, Janet::nil()));
        }
        if !conn.body.is_done() {
            conn.enter(vm, Phase::Body);
            return Ok(Outcome::Value(Janet::nil()));
        }
        match conn.parser.parse(buffer::contents(buffer)) {
            Ok(Parse::Complete(head)) => {
                conn.parser = HeadParser::new(conn.config().limits);
                conn.requests += 1;
                conn.exchange = head.exchange();
                conn.may_go_on = head.keep_alive;
                if conn.config().max_requests.is_some_and(|max| conn.requests >= max) {
                    conn.exchange = conn.exchange.closing();
                }
                conn.awaits_continue = head.expect_continue && head.framing != Framing::None;
                let framing = head.framing;
                let length = head.len;
                let request = request(vm, conn, &head, arg(args, 1));
                conn.request = conn.requests;
                // SAFETY: a new table, and the live one of the configuration.
                unsafe {
                    let env = c::janet_table(0);
                    (*env).proto = conn.config().env;
                    set_env(env);
                }
                let now = vm.engine.now();
                conn.observers = Janet::nil();
                // SAFETY: as in `Conn::config`; apart, since the account is borrowed too.
                conn.account.begin(unsafe { &(*conn.config).tally }, head.method, now);
                conn.enter(vm, Phase::Handler);
                match BodyReader::new(framing, conn.config().max_body) {
                    Ok(body) => conn.body = body,
                    Err(reject) => return Ok(refused(reject, request)),
                }
                buffer::consume(buffer, length);
                Ok(Outcome::Value(request))
            }
            Ok(Parse::Partial) => {
                if conn.parser.has_begun() {
                    conn.enter(vm, Phase::Head);
                } else {
                    buffer::shrink(buffer, IDLE_BUFFER);
                    conn.enter(vm, Phase::Idle);
                    if is_true(arg(args, 2)) {
                        conn.deadline(vm, Some(LAST_LOOK), Reason::Keyword("idle-timeout"));
                    }
                }
                Ok(Outcome::Value(Janet::nil()))
            }
            Err(reject) => {
                conn.exchange = Exchange::unread();
                Ok(refused(reject, Janet::boolean(true)))
            }
        }
    })
}

/// What a refused request gives: with the request, true where the buffer begins with a head that cannot be read, or nil.
fn refused(reject: Reject, request: Janet) -> Outcome {
    Outcome::Value(tuple(&[Janet::number(reject.status.into()), Janet::from(reject.reason), request]))
}

fn string(bytes: &[u8]) -> c::Janet {
    // SAFETY: janet_string copies so many bytes. A head is smaller than an i32 can count.
    unsafe { c::janet_wrap_string(c::janet_string(bytes.as_ptr(), bytes.len() as i32)) }
}

/// Puts a value beside those that a key has already, as `spork/http` does: a second one makes an array.
unsafe fn accumulate(table: *mut c::JanetTable, key: c::Janet, value: c::Janet) {
    // SAFETY: the caller passes a live table.
    unsafe {
        let old = c::janet_table_rawget(table, key);
        if c::janet_checktype(old, c::JanetType_JANET_NIL) != 0 {
            c::janet_table_put(table, key, value);
        } else if c::janet_checktype(old, c::JanetType_JANET_ARRAY) != 0 {
            c::janet_array_push(c::janet_unwrap_array(old), value);
        } else {
            let both = [old, value];
            c::janet_table_put(table, key, c::janet_wrap_array(c::janet_array_n(both.as_ptr(), 2)));
        }
    }
}

/// Puts a Cookie line beside those before it. HTTP/2 splits them, and a proxy may pass them on so: joined by "; " they
/// are what the client meant (RFC 9113, 8.2.3).
unsafe fn join_cookies(headers: *mut c::JanetTable, key: c::Janet, value: &[u8]) {
    // SAFETY: the caller passes a live table, and what it has under this key is a string from here.
    unsafe {
        let old = Janet::from(c::janet_table_rawget(headers, key));
        let joined = match bytes(&old) {
            Some(old) => string(&[old, b"; ", value].concat()),
            None => string(value),
        };
        c::janet_table_put(headers, key, joined);
    }
}

/// The request table, with the keys of `spork/http`'s.
fn request(vm: &Vm, conn: &Conn, head: &kqnet_http1::Head<'_>, buffer: Janet) -> Janet {
    let keys = &vm.keys;
    let mut name = Vec::with_capacity(32);
    // SAFETY: all values are new or live, and nothing starts a collection before the table is returned.
    unsafe {
        // Tables are at most half full.
        let headers = c::janet_table(2 * head.headers.len() as i32);
        for header in &head.headers {
            name.clear();
            push_lower(header.name, &mut name);
            let key = vm.common.string(&name);
            if name == b"cookie" {
                join_cookies(headers, key, header.value);
            } else {
                accumulate(headers, key, string(header.value));
            }
        }
        // It takes precedence over what Host says (RFC 9112, 3.2.2).
        if let Some(host) = head.target.authority() {
            c::janet_table_put(headers, vm.common.string(b"host"), string(host));
        }
        let table = c::janet_table(if head.target.query().is_some() { 16 } else { 11 });
        c::janet_table_put(table, keys.request_number, c::janet_wrap_number(conn.requests.into()));
        c::janet_table_put(table, keys.headers, c::janet_wrap_table(headers));
        c::janet_table_put(table, keys.connection, conn.stream.into());
        c::janet_table_put(table, keys.buffer, buffer.into());
        c::janet_table_put(table, keys.head_size, c::janet_wrap_number(head.len as f64));
        c::janet_table_put(table, keys.method, vm.common.string(head.method));
        let (route, query) = (head.target.path(), head.target.query());
        let path = string(head.raw_target);
        c::janet_table_put(table, keys.path, path);
        c::janet_table_put(table, keys.route, if route.len() == head.raw_target.len() { path } else { string(route) });
        if head.version == Version::Http10 {
            c::janet_table_put(table, keys.http_version, string(b"1.0"));
        }
        if let Some(query) = query {
            c::janet_table_put(table, keys.query_string, string(query));
            let pairs = c::janet_table(4);
            for (key, value) in parse_query(query) {
                let value = value.map_or_else(|| c::janet_wrap_true(), |value| string(&value));
                accumulate(pairs, string(&key), value);
            }
            c::janet_table_put(table, keys.query, c::janet_wrap_table(pairs));
        }
        c::janet_wrap_table(table).into()
    }
}

/// `(native/http-body http buffer out number)`: moves what the buffer has of the body to `out`. True when the body is complete,
/// false when more has to be read, a tuple of status and reason where it is refused.
fn body(args: &[Janet]) -> Result<Outcome, String> {
    let conn = conn(args)?;
    check_request(conn, arg(args, 3))?;
    let from = buffer::get(arg(args, 1))?;
    if arg(args, 1) == arg(args, 2) {
        return Err("a body cannot be read into the buffer that it comes from".into());
    }
    let to = buffer::get(arg(args, 2))?;
    let mut taken = 0;
    while !conn.body.is_done() && taken < buffer::contents(from).len() {
        let rest = &buffer::contents(from)[taken..];
        let step = match conn.body.step(rest) {
            Ok(step) => step,
            Err(reject) => {
                // What follows cannot be read.
                conn.exchange = conn.exchange.closing();
                return Ok(refused(reject, Janet::nil()));
            }
        };
        conn.config().tally.receive(step.data.len());
        buffer::push(to, &rest[step.data])?;
        taken += step.consumed;
    }
    // Once for all, as a body may have a chunk for each byte.
    buffer::consume(from, taken);
    Ok(Outcome::Value(Janet::boolean(conn.body.is_done())))
}

/// `(native/http-continue http number)`: whether the client waits for a 100, which is true once
fn awaits_continue(args: &[Janet]) -> Result<Outcome, String> {
    let conn = conn(args)?;
    check_request(conn, arg(args, 1))?;
    let awaits = std::mem::take(&mut conn.awaits_continue) && !conn.body.is_done();
    Ok(Outcome::Value(Janet::boolean(awaits)))
}

/// What a response table has under a key.
fn get(response: Janet, key: c::Janet) -> Result<Janet, String> {
    // SAFETY: the types are checked, and look-ups have no other precondition.
    unsafe {
        match response.unwrap() {
            TaggedJanet::Nil => Err("the handler returned nil, which is no response".into()),
            TaggedJanet::Table(_) => Ok(c::janet_table_get(c::janet_unwrap_table(response.into()), key).into()),
            TaggedJanet::Struct(_) => Ok(c::janet_struct_get(c::janet_unwrap_struct(response.into()), key).into()),
            _ => Err(format!("a response must be a table or a struct, got {}", describe(response))),
        }
    }
}

/// Raises an error for a dictionary that has keys, but none of a response's: they are misspelled, or it is something else.
fn check_keys(answer: Janet) -> Result<(), String> {
    let mut keys = Vec::new();
    each_pair(answer, &mut |key, _| {
        keys.push(describe(key));
        Ok(())
    })?;
    if keys.is_empty() || !get(answer, Janet::keyword("detached".into()).into())?.is_nil() {
        return Ok(());
    }
    // A dictionary has no order.
    keys.sort();
    let (more, _) = (keys.len() > 4, keys.truncate(4));
    let keys = keys.join(" ");
    Err(format!(
        "the handler returned no response: the keys are {keys}{}, and none of :status, :headers and :body",
        if more { " …" } else { "" }
    ))
}

/// `(native/http-respond http response out buffer closing)`: writes the head to `out`, and a small body too. Gives what is
/// left to send: :none, :unsent (none, and the body is a fiber), :bytes (the body as it is), :file (a file of ours), :chunked, :pieces (each piece as it is), or
/// the number of bytes that the pieces must have in all.
fn respond(args: &[Janet]) -> Result<Outcome, String> {
    let result = write_response(args);
    if result.is_err() {
        conn(args)?.is_invalid = true;
    }
    result
}

/// `(native/http-invalid? http)`: whether the handler's response was wrong and could not be sent
fn is_invalid(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(Janet::boolean(conn(args)?.is_invalid)))
}

fn write_response(args: &[Janet]) -> Result<Outcome, String> {
    let conn = conn(args)?;
    let answer = arg(args, 1);
    let out = buffer::get(arg(args, 2))?;
    if arg(args, 2) == arg(args, 3) {
        return Err("a response cannot be written to the buffer that its request comes from".into());
    }
    let from = buffer::get(arg(args, 3))?;
    vm::with(|vm| {
        let keys = vm.keys;
        let status = match get(answer, keys.status)? {
            nil if nil.is_nil() => 200,
            value => integer(value).and_then(|status| u16::try_from(status).ok()).ok_or_else(|| {
                format!("a response's :status must be a number of three digits, got {}", describe(value))
            })?,
        };
        let is_switch = status < 200 || conn.exchange.opens_tunnel(status);
        if is_switch && !is_true(get(answer, Janet::keyword("detached".into()).into())?) {
            // The client would take what is sent next for the rest of this answer.
            if status < 200 {
                return Err(format!("a response's :status must be at least 200 unless it has :detached, got {status}"));
            }
            // A proxy would pass on whatever comes next, and it would be served here.
            return Ok(refused(Reject { status: 501, reason: "there is no tunnel here" }, Janet::nil()));
        }
        let body = get(answer, keys.body)?;
        let headers = get(answer, keys.headers)?;
        if body.is_nil() && headers.is_nil() && get(answer, keys.status)?.is_nil() {
            check_keys(answer)?;
        }
        // It may be the very buffer from which what is left of the request is taken next.
        let copy = (body == arg(args, 3)).then(|| buffer::contents(from).to_vec());
        let known = match &copy {
            Some(copy) => Some(&copy[..]),
            None if body.is_nil() => Some(&[][..]),
            None => bytes(&body),
        };
        let file = file_body::length(body)?;
        // What is iterable may read the request while it is sent.
        if (known.is_some() || file.is_some()) && conn.discard(from).is_err() {
            conn.exchange = conn.exchange.closing();
        }
        if known.is_none() && !is_iterable(body) {
            return Err(format!("a response's :body must be bytes or iterable, got {}", describe(body)));
        }

        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            let mut declared: Option<u64> = None;
            let mut head = HeadWriter::new(scratch, status).map_err(|error| error.to_string())?;
            each_header(headers, &mut |name, value| {
                if known.is_none() && name.eq_ignore_ascii_case(b"content-length") {
                    declared = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                }
                head.header(name, value).map_err(|error| error.to_string())
            })?;
            let size = match (known, declared.or(file)) {
                (Some(bytes), _) => Body::Known(bytes.len() as u64),
                (None, Some(length)) => Body::Known(length),
                (None, None) => Body::Streamed,
            };

            // From here on nothing can fail that a 500 in place of this response could answer.
            if is_true(arg(args, 4)) && !is_switch || !conn.body.is_done() && !conn.can_discard() {
                conn.exchange = conn.exchange.closing();
            }
            // A 100 would come too late.
            conn.awaits_continue = false;
            let plan = plan(&conn.exchange, status, size);
            conn.keep = head.finish(&conn.exchange, &plan, unix_time());
            let head = scratch.len();
            let mut rest = match plan.delivery {
                Delivery::None if matches!(body.unwrap(), TaggedJanet::Fiber(_)) => {
                    Janet::keyword("unsent".into()).into()
                }
                Delivery::None => keys.none,
                Delivery::Plain if known.is_some() => keys.bytes,
                Delivery::Plain | Delivery::UntilClose => keys.pieces,
                Delivery::Chunked => keys.chunked,
            };
            if let Some(bytes) = known
                && plan.delivery == Delivery::Plain
                && (bytes.len() <= SMALL_BODY || copy.is_some())
            {
                scratch.extend_from_slice(bytes);
                rest = keys.none;
            }
            buffer::push(out, scratch)?;
            // A file follows its head as it is.
            let file = file.filter(|&length| plan.delivery == Delivery::Plain && size == Body::Known(length));
            let payload = file.map_or(scratch.len() - head, |length| length as usize);
            conn.account.answer(status, head, payload);
            if scratch.capacity() > 4 * SMALL_BODY {
                *scratch = Vec::new();
            }
            conn.begun = true;
            conn.begin_account();
            Ok(Outcome::Value(match declared {
                _ if file.is_some() => Janet::keyword("file".into()),
                Some(length) if plan.delivery == Delivery::Plain && known.is_none() => Janet::number(length as f64),
                _ => rest.into(),
            }))
        })
    })
}

/// Whether Janet's `each` can go through a value. Abstract values may say so themselves.
fn is_iterable(value: Janet) -> bool {
    matches!(
        value.unwrap(),
        TaggedJanet::Array(_)
            | TaggedJanet::Tuple(_)
            | TaggedJanet::Table(_)
            | TaggedJanet::Struct(_)
            | TaggedJanet::Fiber(_)
            | TaggedJanet::Abstract(_)
    )
}

/// Takes a header's name and value.
type EachHeader<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), String> + 'a;

/// Calls `each` with every key and value of a dictionary. Returns false for what is none.
fn each_pair(dictionary: Janet, each: &mut dyn FnMut(Janet, Janet) -> Result<(), String>) -> Result<bool, String> {
    let (mut pairs, mut count, mut capacity) = (std::ptr::null(), 0, 0);
    // SAFETY: three places for what is found in a live value.
    if unsafe { c::janet_dictionary_view(dictionary.into(), &mut pairs, &mut count, &mut capacity) } == 0 {
        return Ok(false);
    }
    for index in 0..capacity as usize {
        // SAFETY: a dictionary has so many places, of which those with a nil key are free.
        let pair = unsafe { &*pairs.add(index) };
        let (key, value) = (Janet::from(pair.key), Janet::from(pair.value));
        if !key.is_nil() {
            each(key, value)?;
        }
    }
    Ok(true)
}

/// Calls `each` with every header and value of a dictionary; a value may be an array or tuple of several.
fn each_header(headers: Janet, each: &mut EachHeader<'_>) -> Result<(), String> {
    if headers.is_nil() {
        return Ok(());
    }
    let is_dictionary = each_pair(headers, &mut |name, value| {
        let name = bytes(&name).ok_or_else(|| format!("a header's name must be a string, got {}", describe(name)))?;
        let (mut items, mut count) = (std::ptr::null(), 0);
        // SAFETY: as above, for what is indexed.
        if unsafe { c::janet_indexed_view(value.into(), &mut items, &mut count) } != 0 {
            for index in 0..count as usize {
                // SAFETY: it has so many items.
                one_header(name, Janet::from(unsafe { *items.add(index) }), each)?;
            }
            return Ok(());
        }
        one_header(name, value, each)
    })?;
    if is_dictionary {
        return Ok(());
    }
    Err(format!("a response's :headers must be a table or a struct, got {}", describe(headers)))
}

fn one_header(name: &[u8], value: Janet, each: &mut EachHeader<'_>) -> Result<(), String> {
    match bytes(&value) {
        Some(bytes) => each(name, bytes),
        None => each(name, describe(value).as_bytes()),
    }
}

/// `(native/http-refuse http status reason out)`: writes the whole answer to a request that is refused
fn refuse(args: &[Janet]) -> Result<Outcome, String> {
    let conn = conn(args)?;
    let status = integer(arg(args, 1)).and_then(|status| u16::try_from(status).ok()).unwrap_or(400);
    let reason = match bytes(&arg(args, 2)) {
        // A reject's text is static; these are few, and short.
        Some(text) => String::from_utf8_lossy(text).into_owned(),
        None => response::reason(status).to_owned(),
    };
    let out = buffer::get(arg(args, 3))?;
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        write_failure(scratch, &conn.exchange, status, &reason, unix_time());
        let head = scratch.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |end| end + 4);
        conn.account.answer(status, head, scratch.len() - head);
        buffer::push(out, scratch)
    })?;
    // A handler that failed was not refused.
    if status != 500 {
        conn.config().tally.refuse(status, &reason);
    }
    conn.keep = false;
    Ok(Outcome::Value(Janet::nil()))
}

/// `(native/http-phase http)`: what the connection's fiber is doing
fn phase(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(Janet::keyword(conn(args)?.phase.name().into())))
}

/// `(native/http-begun http)`: whether the response to the running request is being sent
fn begun(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(Janet::boolean(conn(args)?.begun)))
}

/// `(native/http-end-idle http)`: ends a connection that waits for a request, unless one has come that was not read yet,
/// and soon one that lingers
fn end_idle(args: &[Janet]) -> Result<Outcome, String> {
    let conn = conn(args)?;
    vm::with(|vm| {
        match conn.phase {
            Phase::Idle => conn.deadline(vm, Some(Duration::ZERO), Reason::Keyword("idle-timeout")),
            Phase::Linger => {
                conn.lingers_briefly = true;
                conn.deadline(vm, Some(transfer::LINGER_DRAINING), Reason::Keyword("linger-timeout"));
            }
            _ => {}
        }
        Ok(Outcome::Value(Janet::nil()))
    })
}
