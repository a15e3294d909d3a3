//! What a server has answered: counted for `http/metrics`, and recorded for `http/logger` where one listens.
//!
//! An [`Account`] is open from a request's head to the end of its answer. Closing it counts, once, and makes the
//! [`Record`] that a log line is written from.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use janetrs::Janet;

use super::{config_of, conn};
use crate::boundary::{Function, Outcome, native};
use crate::value::{arg, array, describe, integer, string, structure, tuple};
use crate::vm;

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] = &[
    native!("http-answered", "http", answered),
    native!("http-observe", "http number observers", observe),
    native!("http-peer", "http &opt peer", peer),
    native!("http-piece", "http framing payload", piece),
    native!("http-tally", "config", tally),
];

/// The methods that are counted by name. A client could make up others without end.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];

/// The label of other methods, and that of requests that could not be read.
const OTHERS: [&str; 2] = ["other", "unknown"];

const OTHER: usize = METHODS.len();
const UNKNOWN: usize = METHODS.len() + 1;

/// By the first digit of the status; `none` where nothing was sent.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Upper bounds of the buckets of the time that requests take, in seconds.
const BOUNDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How many different reasons are counted at most. Fewer exist, and a handler cannot add any.
const MAX_REASONS: usize = 64;

/// The counters of one server. They live in its configuration, which connections share.
#[derive(Default)]
pub struct Tally {
    requests: [[Cell<u64>; CLASSES.len()]; METHODS.len() + OTHERS.len()],
    refused: RefCell<Vec<(u16, String, u64)>>,
    in_flight: Cell<u64>,
    sent: Cell<u64>,
    received: Cell<u64>,
    buckets: [Cell<u64>; BOUNDS.len() + 1],
    seconds: Cell<f64>,
}

fn add(counter: &Cell<u64>, count: u64) {
    counter.set(counter.get() + count);
}

impl Tally {
    /// Counts bytes of a request's body.
    pub fn receive(&self, count: usize) {
        add(&self.received, count as u64);
    }

    /// Counts a request that the server refused by itself.
    pub fn refuse(&self, status: u16, reason: &str) {
        let mut refused = self.refused.borrow_mut();
        if let Some((_, _, count)) = refused.iter_mut().find(|(known, text, _)| *known == status && text == reason) {
            *count += 1;
        } else if refused.len() < MAX_REASONS {
            refused.push((status, reason.to_owned(), 1));
        }
    }

    fn count(&self, account: &Account, took: Duration) {
        let class = CLASSES.get(usize::from(account.status / 100)).map_or(0, |_| usize::from(account.status / 100));
        add(&self.requests[account.method][class], 1);
        add(&self.sent, account.sent);
        if account.is_in_flight {
            self.in_flight.set(self.in_flight.get().saturating_sub(1));
            let took = took.as_secs_f64();
            let bucket = BOUNDS.iter().position(|bound| took <= *bound).unwrap_or(BOUNDS.len());
            add(&self.buckets[bucket], 1);
            self.seconds.set(self.seconds.get() + took);
        }
    }
}

/// One request and its answer, while they last.
pub struct Account {
    /// When the head was complete, or, until it is, when it began.
    start: Option<Duration>,
    method: usize,
    /// The head was complete, and the request is on its way through a handler.
    is_in_flight: bool,
    /// The status in the head of the answer. 0 until there is one.
    status: u16,
    /// Bytes of the answer's body that were sent.
    sent: u64,
    /// What is sent next: `framing` bytes that do not belong to the body, then `payload` bytes that do, then others.
    framing: usize,
    payload: usize,
}

/// What is known of an answer that has ended.
#[derive(Clone, Copy)]
pub struct Record {
    status: u16,
    sent: u64,
    took: Duration,
}

impl Default for Account {
    fn default() -> Self {
        Self { start: None, method: UNKNOWN, is_in_flight: false, status: 0, sent: 0, framing: 0, payload: 0 }
    }
}

impl Account {
    /// The first bytes of a head have come.
    pub fn begin_head(&mut self, now: Duration) {
        self.start.get_or_insert(now);
    }

    /// A head is complete.
    pub fn begin(&mut self, tally: &Tally, method: &[u8], now: Duration) {
        self.start = Some(now);
        self.method = METHODS.iter().position(|known| known.as_bytes() == method).unwrap_or(OTHER);
        self.is_in_flight = true;
        add(&tally.in_flight, 1);
    }

    /// An answer begins: its head has `head` bytes, and `payload` bytes of the body go out with it.
    pub fn answer(&mut self, status: u16, head: usize, payload: usize) {
        self.status = status;
        self.announce(head, payload);
    }

    /// `framing` bytes are to be sent, and then `payload` bytes of the body.
    pub fn announce(&mut self, framing: usize, payload: usize) {
        (self.framing, self.payload) = (framing, payload);
    }

    /// So many bytes were sent.
    pub fn transmitted(&mut self, count: usize) {
        let framing = count.min(self.framing);
        let payload = (count - framing).min(self.payload);
        self.framing -= framing;
        self.payload -= payload;
        self.sent += payload as u64;
    }

    /// Whether the head of an answer was made.
    pub fn is_answered(&self) -> bool {
        self.status != 0
    }

    /// Ends it, where it has begun, and counts it.
    pub fn close(&mut self, tally: &Tally, now: Duration) -> Option<Record> {
        let account = std::mem::take(self);
        if account.status == 0 && !account.is_in_flight {
            return None;
        }
        let took = account.start.map_or(Duration::ZERO, |start| now.saturating_sub(start));
        tally.count(&account, took);
        Some(Record { status: account.status, sent: account.sent, took })
    }
}

impl Record {
    /// What `janet/kqnet/http/log.janet` gets: an array, which costs a tenth of a struct, of the status (nil where nothing
    /// was sent), the bytes of the body that were sent, the seconds that it took, and the observers.
    pub fn describe(self, observers: Janet) -> Janet {
        let status = if self.status == 0 { Janet::nil() } else { Janet::number(self.status.into()) };
        array(&[status, Janet::number(self.sent as f64), Janet::number(self.took.as_secs_f64()), observers])
    }
}

/// `(native/http-answered http)`: ends the account of the request that was answered last. Its record ([`Record::describe`]),
/// or nil where every answer was reported already.
fn answered(args: &[Janet]) -> Result<Outcome, String> {
    let conn = conn(args)?;
    vm::with(|vm| {
        let record = conn.close_account(vm);
        let observers = std::mem::replace(&mut conn.observers, Janet::nil());
        Ok(Outcome::Value(record.map_or_else(Janet::nil, |record| record.describe(observers))))
    })
}

/// `(native/http-observe http number observers)`: the observers of the request of that number: what was given before, or
/// else these. Nil where that request is over.
fn observe(args: &[Janet]) -> Result<Outcome, String> {
    let conn = conn(args)?;
    if integer(arg(args, 1)) != i32::try_from(conn.request).ok() {
        return Ok(Outcome::Value(Janet::nil()));
    }
    if conn.observers.is_nil() {
        conn.observers = arg(args, 2);
    }
    Ok(Outcome::Value(conn.observers))
}

/// `(native/http-peer http &opt peer)`: what a log has kept as the client's address, which a second argument changes
fn peer(args: &[Janet]) -> Result<Outcome, String> {
    let conn = conn(args)?;
    if !arg(args, 1).is_nil() {
        conn.peer = arg(args, 1);
    }
    Ok(Outcome::Value(conn.peer))
}

/// `(native/http-piece http framing payload)`: so many bytes are to be written now, the last of them the body's
fn piece(args: &[Janet]) -> Result<Outcome, String> {
    let conn = conn(args)?;
    let count = |index| {
        let count = integer(arg(args, index)).and_then(|count| usize::try_from(count).ok());
        count.ok_or_else(|| format!("expected a number of bytes, got {}", describe(arg(args, index))))
    };
    conn.account.announce(count(1)?, count(2)?);
    Ok(Outcome::Value(Janet::nil()))
}

/// `(native/http-tally config)`: the counters of a server, a struct
fn tally(args: &[Janet]) -> Result<Outcome, String> {
    let tally = &config_of(arg(args, 0))?.tally;
    let number = |cell: &Cell<u64>| Janet::number(cell.get() as f64);
    let methods = METHODS.iter().chain(&OTHERS);
    let requests: Vec<Janet> = methods
        .zip(&tally.requests)
        .flat_map(|(method, classes)| CLASSES.iter().zip(classes).map(move |(class, count)| (method, class, count)))
        .filter(|(_, _, count)| count.get() > 0)
        .map(|(method, class, count)| tuple(&[string(method), string(class), number(count)]))
        .collect();
    let refused: Vec<Janet> = tally
        .refused
        .borrow()
        .iter()
        .map(|(status, reason, count)| {
            tuple(&[string(&status.to_string()), string(reason), Janet::number(*count as f64)])
        })
        .collect();
    let bounds: Vec<Janet> = BOUNDS.iter().map(|bound| Janet::number(*bound)).collect();
    let buckets: Vec<Janet> = tally.buckets.iter().map(number).collect();
    Ok(Outcome::Value(structure(&[
        ("requests", tuple(&requests)),
        ("refused", tuple(&refused)),
        ("in-flight", number(&tally.in_flight)),
        ("sent", number(&tally.sent)),
        ("received", number(&tally.received)),
        ("bounds", tuple(&bounds)),
        ("buckets", tuple(&buckets)),
        ("seconds", Janet::number(tally.seconds.get())),
    ])))
}
