//! The statistics of an HTTP server: counts of requests, refusals, bytes and times, for `http/metrics`.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use janetrs::Janet;

use super::account::Account;
use super::config;
use crate::boundary::{Function, Outcome, native};
use crate::value::{arg, string, structure, tuple};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[native!("http-statistics", "config", statistics)];

/// The methods that are counted by name. A client could make up any number of others.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];

/// The label of other methods, and that of requests that could not be read.
const OTHERS: [&str; 2] = ["other", "unknown"];

const OTHER: usize = METHODS.len();
const UNKNOWN: usize = METHODS.len() + 1;

/// The classes of status codes, by their first digit. The class `none` is for requests to which nothing was sent.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// The upper bounds of the histogram of durations, in seconds.
const BOUNDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The most reasons for refusals that are counted separately. Fewer exist, and a handler cannot add any.
const MAX_REASONS: usize = 64;

/// The method of a request, as it is counted.
#[derive(Clone, Copy)]
pub struct Method(usize);

impl Method {
    /// The method with this name.
    pub fn of(name: &[u8]) -> Self {
        Self(METHODS.iter().position(|known| known.as_bytes() == name).unwrap_or(OTHER))
    }
}

impl Default for Method {
    /// The method of a request that could not be read.
    fn default() -> Self {
        Self(UNKNOWN)
    }
}

/// The counters of one server. They are part of its configuration, which its connections share.
#[derive(Default)]
pub struct Statistics {
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

impl Statistics {
    /// Counts bytes of a request's body.
    pub fn count_received(&self, count: usize) {
        add(&self.received, count as u64);
    }

    /// Counts a request that the server itself refused.
    pub fn count_refusal(&self, status: u16, reason: &str) {
        let mut refused = self.refused.borrow_mut();
        if let Some((_, _, count)) = refused.iter_mut().find(|(known, text, _)| *known == status && text == reason) {
            *count += 1;
        } else if refused.len() < MAX_REASONS {
            refused.push((status, reason.to_owned(), 1));
        }
    }

    /// Counts a request whose head is complete.
    pub fn begin_request(&self) {
        add(&self.in_flight, 1);
    }

    /// Counts a request that has ended.
    pub fn end_request(&self, account: &Account, took: Duration) {
        let class = CLASSES.get(usize::from(account.status / 100)).map_or(0, |_| usize::from(account.status / 100));
        add(&self.requests[account.method.0][class], 1);
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

/// `(native/http-statistics config)`: Returns the statistics of a server, a struct:
///
/// * `:requests`: tuples of method, class of status, and count;
/// * `:refused`: tuples of status, reason and count;
/// * `:in-flight`: how many requests are being answered;
/// * `:sent`, `:received`: bytes of bodies;
/// * `:bounds`, `:buckets`: the upper bounds of the histogram of durations, in seconds, and the counts, with one more for
///   longer times;
/// * `:seconds`: the sum of the durations.
fn statistics(args: &[Janet]) -> Result<Outcome, String> {
    let config = arg(args, 0);
    let statistics = &config::get(&config)?.statistics;
    let number = |cell: &Cell<u64>| Janet::number(cell.get() as f64);
    let methods = METHODS.iter().chain(&OTHERS);
    let requests: Vec<Janet> = methods
        .zip(&statistics.requests)
        .flat_map(|(method, classes)| CLASSES.iter().zip(classes).map(move |(class, count)| (method, class, count)))
        .filter(|(_, _, count)| count.get() > 0)
        .map(|(method, class, count)| tuple(&[string(method), string(class), number(count)]))
        .collect();
    let refused: Vec<Janet> = statistics
        .refused
        .borrow()
        .iter()
        .map(|(status, reason, count)| {
            tuple(&[string(&status.to_string()), string(reason), Janet::number(*count as f64)])
        })
        .collect();
    let bounds: Vec<Janet> = BOUNDS.iter().map(|bound| Janet::number(*bound)).collect();
    let buckets: Vec<Janet> = statistics.buckets.iter().map(number).collect();
    Ok(Outcome::Value(structure(&[
        ("requests", tuple(&requests)),
        ("refused", tuple(&refused)),
        ("in-flight", number(&statistics.in_flight)),
        ("sent", number(&statistics.sent)),
        ("received", number(&statistics.received)),
        ("bounds", tuple(&bounds)),
        ("buckets", tuple(&buckets)),
        ("seconds", Janet::number(statistics.seconds.get())),
    ])))
}
