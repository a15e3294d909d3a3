//! The account of one request: what was answered, how many bytes of the body were sent, and how long it took.
//!
//! An account is open from a request's head to the end of its response. Closing it adds it to the server's statistics,
//! once, and makes the [`Record`] that a log line is written from.

use std::time::Duration;

use janetrs::Janet;

use super::connection;
use super::statistics::{Method, Statistics};
use crate::boundary::{Function, Outcome, native};
use crate::value::{arg, array, describe, integer};
use crate::vm;

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[
    native!("http-close-account", "http", close_account),
    native!("http-observe", "http number observers", observe),
    native!("http-announce", "http framing payload", announce),
];

/// The status that logs show for a request whose handler was cancelled because the client is gone. nginx logs the same one.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// One request and its response, while they last.
#[derive(Default)]
pub struct Account {
    /// When the head began; once it is complete, when that was.
    start: Option<Duration>,
    pub method: Method,
    /// The head has arrived, and the response has not ended.
    pub is_in_flight: bool,
    /// The status in the head of the response, or 0 until there is one.
    pub status: u16,
    /// The handler was cancelled because the client is gone.
    pub is_abandoned: bool,
    /// How many bytes of the response's body were sent.
    pub sent: u64,
    /// How many of the next bytes are framing (the head, or the size of a chunk), and how many after them are body. Later bytes
    /// are framing again.
    framing: usize,
    payload: usize,
}

impl Account {
    /// Begins with the first bytes of a head.
    pub fn begin_head(&mut self, now: Duration) {
        self.start.get_or_insert(now);
    }

    /// Counts a request whose head is complete.
    pub fn begin(&mut self, statistics: &Statistics, method: &[u8], now: Duration) {
        self.start = Some(now);
        self.method = Method::of(method);
        self.is_in_flight = true;
        statistics.begin_request();
    }

    /// Begins a response whose head has `head` bytes. `payload` bytes of the body are sent together with it.
    pub fn answer(&mut self, status: u16, head: usize, payload: usize) {
        self.status = status;
        self.announce(head, payload);
    }

    /// Says that `framing` bytes are sent next, and then `payload` bytes of the body.
    pub fn announce(&mut self, framing: usize, payload: usize) {
        (self.framing, self.payload) = (framing, payload);
    }

    /// Counts bytes that were sent.
    pub fn transmitted(&mut self, count: usize) {
        let framing = count.min(self.framing);
        let payload = (count - framing).min(self.payload);
        self.framing -= framing;
        self.payload -= payload;
        self.sent += payload as u64;
    }

    /// When the head of the request was complete.
    pub fn start(&self) -> Duration {
        self.start.unwrap_or_default()
    }

    /// Whether the head of a response was made.
    pub fn is_answered(&self) -> bool {
        self.status != 0
    }

    /// Whether a request has begun whose end was not counted yet.
    pub fn is_open(&self) -> bool {
        self.status != 0 || self.is_in_flight
    }

    /// Closes the account, and counts it unless no request has begun.
    pub fn close(&mut self, statistics: &Statistics, now: Duration) -> Option<Record> {
        let status = if self.status == 0 && self.is_abandoned { CLIENT_CLOSED_REQUEST } else { self.status };
        let took = self.start.map_or(Duration::ZERO, |start| now.saturating_sub(start));
        let record = self.is_open().then(|| {
            statistics.end_request(self, took);
            Record { status, sent: self.sent, took }
        });
        *self = Self::default();
        record
    }
}

/// What is known of a response that has ended.
#[derive(Clone, Copy)]
pub struct Record {
    status: u16,
    sent: u64,
    took: Duration,
}

impl Record {
    /// What `janet/kqnet/http/log.janet` gets: an array of the status (nil if nothing was sent), how many bytes of the body
    /// were sent, how many seconds it took, and the observers. An array costs a tenth of a struct.
    pub fn to_array(self, observers: Janet) -> Janet {
        let status = if self.status == 0 { Janet::nil() } else { Janet::number(self.status.into()) };
        array(&[status, Janet::number(self.sent as f64), Janet::number(self.took.as_secs_f64()), observers])
    }
}

/// `(native/http-close-account http)`: Closes the account of the request that was answered last. Returns its record
/// ([`Record::to_array`]), or nil if every response was reported already.
fn close_account(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    vm::with(|vm| {
        let record = connection.close_account(vm.engine.now());
        let observers = connection.observers.take().unwrap_or_else(Janet::nil);
        Ok(Outcome::Value(record.map_or_else(Janet::nil, |record| record.to_array(observers))))
    })
}

/// `(native/http-observe http number observers)`: Stores `observers` for a request that has none, and returns the
/// observers of the request with this number. Returns nil if that request is over.
fn observe(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    if integer(arg(args, 1)) != i32::try_from(connection.running_request).ok() {
        return Ok(Outcome::Value(Janet::nil()));
    }
    Ok(Outcome::Value(*connection.observers.get_or_insert(arg(args, 2))))
}

/// `(native/http-announce http framing payload)`: Says that `framing` bytes are written next, and then `payload` bytes of the
/// body.
fn announce(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    let count = |index| {
        let count = integer(arg(args, index)).and_then(|count| usize::try_from(count).ok());
        count.ok_or_else(|| format!("expected a number of bytes, got {}", describe(arg(args, index))))
    };
    connection.account.announce(count(1)?, count(2)?);
    Ok(Outcome::Value(Janet::nil()))
}
