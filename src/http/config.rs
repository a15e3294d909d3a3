//! The configuration of an HTTP server: the limits and timeouts that all its connections share.

use std::cell::Cell;
use std::ffi::c_void;
use std::ops::Deref;
use std::time::Duration;

use janetrs::lowlevel as c;
use janetrs::{Janet, TaggedJanet};
use kqnet_http1::{Handlers, HeadLimits};

use super::peer::Proxies;
use super::statistics::Statistics;
use crate::abstract_type::{AbstractType, NOTHING};
use crate::boundary::{Function, Outcome, native};
use crate::collected::{self, Collected, drop_collected};
use crate::options::Options;
use crate::value::{arg, describe};
use crate::{stream, vm};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[
    native!("http-config", "options", config),
    native!("http-count-for", "config listener", count_for),
    native!("http-drain", "config", drain),
];

/// What the connections of a server share. Only its statistics, its slow handlers, and whether it drains change after it was made.
pub struct Config {
    /// The largest head of a request.
    pub limits: HeadLimits,
    /// The largest body of a request, in bytes.
    pub max_body: u64,
    /// How many requests a connection may carry.
    pub max_requests: Option<u32>,
    /// How long a head may take to arrive.
    pub head_timeout: Option<Duration>,
    /// How long a client may send nothing while its body is read.
    pub body_timeout: Option<Duration>,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Option<Duration>,
    /// How long a client may take for each part of a response (src/http/pace.rs).
    pub write_timeout: Option<Duration>,
    /// Which proxies are believed.
    pub proxies: Proxies,
    /// The environment of the fiber that started the server. It is the prototype of each request's environment.
    pub env: *mut c::JanetTable,
    /// The server drains: each response is the last one of its connection.
    pub is_draining: Cell<bool>,
    /// Which handlers took long.
    pub handlers: Handlers,
    /// The counts of this server.
    pub statistics: Statistics,
}

static CONFIG: AbstractType = AbstractType(c::JanetAbstractType {
    name: c"kqnet/http-config".as_ptr(),
    gc: Some(drop_collected::<Config>),
    gcmark: Some(mark),
    ..NOTHING
});

// SAFETY: only `config` makes values of this Janet type, and they are dropped as a `Config`.
unsafe impl Collected for Config {
    fn janet_type() -> &'static AbstractType {
        &CONFIG
    }
}

unsafe extern "C-unwind" fn mark(data: *mut c_void, _size: usize) -> i32 {
    // SAFETY: Janet passes a live `Config`, which keeps its environment alive by this marking.
    unsafe {
        let config = &*data.cast::<Config>();
        c::janet_mark(c::janet_wrap_table(config.env));
    }
    0
}

/// A reference from a connection to its server's configuration.
pub struct ConfigRef(*const Config);

impl ConfigRef {
    /// Refers to a configuration.
    ///
    /// # Safety
    /// The holder is a value of Janet's that marks the configuration in its own mark function.
    pub unsafe fn new(config: &Config) -> Self {
        Self(config)
    }

    /// Marks the configuration.
    ///
    /// # Safety
    /// The collector is asking for what is reachable.
    pub unsafe fn mark(&self) {
        // SAFETY: the holder has kept the configuration alive until now.
        unsafe { collected::mark(self.0) };
    }
}

impl Deref for ConfigRef {
    type Target = Config;

    fn deref(&self) -> &Config {
        // SAFETY: the holder keeps the configuration alive, as it promised to `new`, and nobody has a mutable reference
        // to a configuration.
        unsafe { &*self.0 }
    }
}

/// The configuration in a value.
///
/// # Errors
/// Returns an error that says what the value is, if it is not an HTTP configuration.
pub fn get(value: &Janet) -> Result<&Config, String> {
    collected::expect(value, "an HTTP configuration")
}

/// `(native/http-config options)`: Makes the configuration of a server from `:max-head`, `:max-request-line`,
/// `:max-headers`, `:max-body` and `:max-requests`, which are numbers, and `:head-timeout`, `:body-timeout`,
/// `:idle-timeout` and `:write-timeout`, in seconds. Nil means no limit, except for the limits of a head, which have
/// defaults. The options about proxies are those of [`Proxies::of`].
fn config(args: &[Janet]) -> Result<Outcome, String> {
    let options = Options::new(arg(args, 0))?;
    let number = |name: &str, default: f64| match options.get(name).unwrap() {
        TaggedJanet::Nil => Ok(default),
        TaggedJanet::Number(number) if number >= 0.0 => Ok(number),
        _ => Err(format!(":{name} must be a positive number, got {}", describe(options.get(name)))),
    };
    let seconds = |name: &str| match number(name, f64::INFINITY) {
        Ok(seconds) => Ok(Duration::try_from_secs_f64(seconds).ok()),
        Err(text) => Err(text),
    };
    let config = Config {
        limits: HeadLimits {
            max_head: number("max-head", 16384.0)? as usize,
            max_request_line: number("max-request-line", 8192.0)? as usize,
            max_headers: number("max-headers", 100.0)? as usize,
        },
        max_body: number("max-body", f64::INFINITY)? as u64,
        max_requests: options.count("max-requests")?,
        head_timeout: seconds("head-timeout")?,
        body_timeout: seconds("body-timeout")?,
        idle_timeout: seconds("idle-timeout")?,
        write_timeout: seconds("write-timeout")?,
        proxies: Proxies::of(options)?,
        env: vm::running_env(),
        is_draining: Cell::new(false),
        handlers: Handlers::default(),
        statistics: Statistics::default(),
    };
    // The log of this server may be a pipe.
    kqnet_accept::signals::survive_broken_pipes();
    Ok(Outcome::Value(collected::wrap(collected::make(config))))
}

/// `(native/http-count-for config listener)`: Has a server count where its listener does, if other processes can see that. The
/// listener has statistics already, and the server none.
fn count_for(args: &[Janet]) -> Result<Outcome, String> {
    let config = arg(args, 0);
    let (config, stream) = (get(&config)?, stream::get(arg(args, 1))?);
    let claim = vm::with(|vm| Ok(vm.known(stream).and_then(|listener| listener.claim.borrow().clone())))?;
    if let Some(claim) = claim {
        config.statistics.count_in(claim);
    }
    Ok(Outcome::Value(Janet::nil()))
}

/// `(native/http-drain config)`: Makes each response of a server the last one of its connection.
fn drain(args: &[Janet]) -> Result<Outcome, String> {
    get(&arg(args, 0))?.is_draining.set(true);
    Ok(Outcome::Value(Janet::nil()))
}
