//! What a connection and a request cost, counted, not timed: it must not grow unnoticed.
//!
//! Instructions depend on the compilers, so they are compared with those of a server on core's functions in the same
//! run. Clients that keep their connections ask in step, so that the server waits before each request. System calls of
//! a connection are counted by test/syscalls.janet.

use std::time::Instant;

use kqnet_hosts::{Host, Loop, Result};

use super::Plan;
use super::count::Count;
use crate::bench::counts::{self, instructions, system_calls};
use crate::bench::load::Talk;
use crate::bench::{bytes, http_server};
use crate::spork;

const CLIENTS: usize = 64;
/// With many, Janet's own search of its waits costs the bare loop more or less, by the order in which requests come.
const FEW_CLIENTS: usize = 8;

/// How many connections or requests are counted: a few seconds' worth.
const STRACED: u64 = 64 * 64;
const GRINDED: u64 = 32 * 64;

/// The most that may be, a tenth above what was measured when it was set.
const CALLS_PER_REQUEST: f64 = 3.3;
const INSTRUCTIONS_PER_CONNECTION_TO_CORE: f64 = 1.33;
const INSTRUCTIONS_PER_REQUEST_TO_BARE_LOOP: f64 = 6.2;

/// How often what chance can only add to is counted again.
const TRIES: usize = 3;

/// Counts on the newest Janet with Linux's own loop.
pub fn tests(plan: &Plan) -> Result<Count> {
    let host = Host::default();
    if !plan.wants("counts") || plan.hosts.iter().all(|(one, _)| *one != host) {
        return Ok(Count::default());
    }
    let mut workshop = plan.workshop.borrow_mut();
    workshop.build([&host]);
    let ready = workshop.get(&host)?;
    let path = spork::beside(&ready.module)?;
    let server = |name: &str, kind: &str| http_server(name, &ready.janet, kind, &path);
    let bytes = |name: &str, kind: &str| bytes(name, &ready.janet, kind, &path);

    let mut total = Count::default();
    total += check("counts: system calls for each request", "strace", CALLS_PER_REQUEST, || {
        Ok(counts::total(&system_calls(&server("kqnet/http", "kqnet"), Talk::InStep, CLIENTS, STRACED)?))
    });
    total += check(
        "counts: instructions for each connection, to core's",
        "valgrind",
        INSTRUCTIONS_PER_CONNECTION_TO_CORE,
        || {
            let ours = instructions(&bytes("kqnet", "kqnet"), Talk::Bytes, CLIENTS, GRINDED)?;
            Ok(ours / instructions(&bytes("core", "core"), Talk::Bytes, CLIENTS, GRINDED)?)
        },
    );
    total += check(
        "counts: instructions for each request, to a bare loop's",
        "valgrind",
        INSTRUCTIONS_PER_REQUEST_TO_BARE_LOOP,
        || {
            let ours = instructions(&server("kqnet/http", "kqnet"), Talk::InStep, FEW_CLIENTS, GRINDED)?;
            Ok(ours / instructions(&server("bare Janet loop", "bare"), Talk::InStep, FEW_CLIENTS, GRINDED)?)
        },
    );
    Ok(total)
}

fn check(what: &str, tool: &str, most: f64, count: impl Fn() -> Result<f64>) -> Count {
    let skipped = if Loop::ALL[0] == Loop::Epoll { counts::cannot(tool) } else { Some("it is for Linux".to_owned()) };
    if let Some(why) = skipped {
        eprintln!("skip  {what}: {why}");
        return Count { skipped: 1, ..Count::default() };
    }
    let start = Instant::now();
    let mut least = f64::INFINITY;
    for _ in 0..TRIES {
        match count() {
            Ok(counted) => least = least.min(counted),
            Err(message) => {
                eprintln!("FAIL  {what}: {message}; to run it again: cargo xtask test counts");
                return Count::FAIL;
            }
        }
        if least <= most {
            eprintln!("ok    {what}: {least:.2} in {:.1} s", start.elapsed().as_secs_f64());
            return Count::PASS;
        }
    }
    eprintln!("FAIL  {what}: {least:.2}, not at most {most}; to run it again: cargo xtask test counts");
    Count::FAIL
}
