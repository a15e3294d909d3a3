//! The statistics of an HTTP server: counts of requests, refusals, bytes and times, for `http/metrics`.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use janetrs::Janet;
use kqnet_accept::shared::{Claim, HTTP_WORDS, Words, add};

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

/// The words of the counters: the gauge, the other numbers, the histogram, the requests, and the refusals, each of which has its
/// status, its count and its reason.
const IN_FLIGHT: usize = 0;
const SENT: usize = 1;
const RECEIVED: usize = 2;
const SECONDS: usize = 3;
const BUCKETS: usize = 4;
const REQUESTS: usize = BUCKETS + BOUNDS.len() + 1;
const REFUSED: usize = REQUESTS + (METHODS.len() + OTHERS.len()) * CLASSES.len();
const REASON_WORDS: usize = 12;
const REFUSAL_WORDS: usize = 2 + REASON_WORDS;
const REFUSED_END: usize = REFUSED + MAX_REASONS * REFUSAL_WORDS;
const _: () = assert!(REFUSED_END <= HTTP_WORDS, "the shared page has too few words for an HTTP server");

/// The counters of one server. They are part of its configuration, which its connections share.
#[derive(Default)]
pub struct Statistics {
    own: Words<HTTP_WORDS>,
    /// The counters that other workers of the supervisor can see, which take the place of its own.
    shared: Cell<Option<&'static Counters>>,
    /// It keeps other listeners from counting in the same words.
    claim: OnceCell<Rc<Claim>>,
}

type Counters = [AtomicU64; HTTP_WORDS];

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// The words of a reason, as much of it as there is room for.
fn reason_words(reason: &str) -> [u64; REASON_WORDS] {
    let mut words = [0; REASON_WORDS];
    for (word, bytes) in words.iter_mut().zip(reason.as_bytes().chunks(8)) {
        let mut eight = [0; 8];
        eight[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_ne_bytes(eight);
    }
    words
}

/// The text in the words of a reason.
fn reason_text(words: &[AtomicU64]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| get(word).to_ne_bytes()).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The refusals that were counted, each with its status, its count and its reason.
fn refusals(counters: &Counters) -> impl Iterator<Item = &[AtomicU64]> {
    counters[REFUSED..REFUSED_END].chunks_exact(REFUSAL_WORDS)
}

impl Statistics {
    /// Counts in the words of an area from now on.
    pub fn count_in(&self, claim: Rc<Claim>) {
        self.shared.set(claim.serve_http());
        // A server has one listener.
        let _ = self.claim.set(claim);
    }

    fn counters(&self) -> &Counters {
        match self.shared.get() {
            Some(counters) => counters,
            None => &self.own,
        }
    }

    /// Counts bytes of a request's body.
    pub fn count_received(&self, count: usize) {
        add(&self.counters()[RECEIVED], count as u64);
    }

    /// Counts a request that the server itself refused.
    pub fn count_refusal(&self, status: u16, reason: &str) {
        let reason = reason_words(reason);
        for refusal in refusals(self.counters()) {
            let known = get(&refusal[0]);
            if known == 0 {
                for (word, value) in refusal[2..].iter().zip(reason) {
                    word.store(value, Ordering::Relaxed);
                }
                // A process that sees the status sees the reason too.
                refusal[0].store(status.into(), Ordering::Release);
            } else if known != u64::from(status) || refusal[2..].iter().map(get).ne(reason) {
                continue;
            }
            add(&refusal[1], 1);
            return;
        }
    }

    /// Counts a request whose head is complete.
    pub fn begin_request(&self) {
        add(&self.counters()[IN_FLIGHT], 1);
    }

    /// Counts a request that has ended.
    pub fn end_request(&self, account: &Account, took: Duration) {
        let counters = self.counters();
        let class = usize::from(account.status / 100);
        let class = if class < CLASSES.len() { class } else { 0 };
        add(&counters[REQUESTS + account.method.0 * CLASSES.len() + class], 1);
        add(&counters[SENT], account.sent);
        if account.is_in_flight {
            let in_flight = get(&counters[IN_FLIGHT]).saturating_sub(1);
            counters[IN_FLIGHT].store(in_flight, Ordering::Relaxed);
            let took = took.as_secs_f64();
            let bucket = BOUNDS.iter().position(|bound| took <= *bound).unwrap_or(BOUNDS.len());
            add(&counters[BUCKETS + bucket], 1);
            let seconds = f64::from_bits(get(&counters[SECONDS])) + took;
            counters[SECONDS].store(seconds.to_bits(), Ordering::Relaxed);
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
    Ok(Outcome::Value(describe_counters(config::get(&config)?.statistics.counters())))
}

/// The statistics of a server as a struct, from its counters, which may be another process's.
pub fn describe_counters(counters: &Counters) -> Janet {
    let number = |counter: &AtomicU64| Janet::number(get(counter) as f64);
    let methods = METHODS.iter().chain(&OTHERS);
    let requests: Vec<Janet> = methods
        .flat_map(|method| CLASSES.iter().map(move |class| (method, class)))
        .zip(&counters[REQUESTS..REFUSED])
        .filter(|(_, count)| get(count) > 0)
        .map(|((method, class), count)| tuple(&[string(method), string(class), number(count)]))
        .collect();
    let refused: Vec<Janet> = refusals(counters)
        .map(|refusal| (refusal[0].load(Ordering::Acquire), &refusal[1], &refusal[2..]))
        .filter(|(status, _, _)| *status > 0)
        .map(|(status, count, reason)| {
            tuple(&[string(&status.to_string()), string(&reason_text(reason)), number(count)])
        })
        .collect();
    let bounds: Vec<Janet> = BOUNDS.iter().map(|bound| Janet::number(*bound)).collect();
    let buckets: Vec<Janet> = counters[BUCKETS..REQUESTS].iter().map(number).collect();
    structure(&[
        ("requests", tuple(&requests)),
        ("refused", tuple(&refused)),
        ("in-flight", number(&counters[IN_FLIGHT])),
        ("sent", number(&counters[SENT])),
        ("received", number(&counters[RECEIVED])),
        ("bounds", tuple(&bounds)),
        ("buckets", tuple(&buckets)),
        ("seconds", Janet::number(f64::from_bits(get(&counters[SECONDS])))),
    ])
}
