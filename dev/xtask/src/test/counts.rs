//! What a connection and a request cost, counted, not timed: it must not grow unnoticed.
//!
//! Instructions depend on the compilers, so they are compared with those of a server on core's functions in the same
//! run. Clients that keep their connections ask in step, so that the server waits before each request. System calls of
//! a connection on Linux are counted by test/syscalls.janet.

use std::fs;
use std::time::Instant;

use kqnet_hosts::{Host, KERNELS, Loop, Result};

use super::Plan;
use super::count::Count;
use crate::bench::counts::{self, instructions, system_calls};
use crate::bench::load::Talk;
use crate::bench::programs::{bytes, compile, http_server};
use crate::{repo, spork};

const CLIENTS: usize = 64;
/// With many, Janet's own search of its waits costs the bare loop more or less, by the order in which requests come.
const FEW_CLIENTS: usize = 8;

/// How many connections or requests are counted: a few seconds' worth.
const STRACED: u64 = 64 * 64;
const GRINDED: u64 = 32 * 64;

/// The most that may be, a tenth above what was measured when it was set.
const CALLS_PER_REQUEST: f64 = 3.3;
const CALLS_TO_ACCEPT_ON_XNU: f64 = 3.4;
const INSTRUCTIONS_PER_CONNECTION_TO_CORE: f64 = 1.33;
const INSTRUCTIONS_PER_REQUEST_TO_BARE_LOOP: f64 = 6.2;

/// How often what chance can only add to is counted again.
const TRIES: usize = 3;

/// Counts on the newest Janet: with Linux's own loop, and with kqueue as macOS has it.
pub fn tests(plan: &Plan) -> Result<Count> {
    let mut total = on_linux(plan)?;
    total += on_xnu(plan)?;
    Ok(total)
}

fn is_wanted(plan: &Plan, host: &Host) -> bool {
    plan.wants("counts") && plan.hosts.iter().any(|(one, _)| one == host)
}

/// System calls that accepting makes on XNU beside those of the queues, with the close of the connection. Those of the
/// queues, and how often the server reads too early, depend on how fast the clients are.
fn on_xnu(plan: &Plan) -> Result<Count> {
    let host = Host { event_loop: Loop::Kqueue, kernel: Some(KERNELS[0]), ..Host::default() };
    if !is_wanted(plan, &host) || !host.event_loop.is_emulated() {
        return Ok(Count::default());
    }
    let mut workshop = plan.workshop.borrow_mut();
    workshop.build([&host]);
    let ready = workshop.get(&host)?;
    let server = bytes("kqnet", &ready.janet, "kqnet", &ready.module);
    let folder = repo::target().join("bench");
    fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    let library = folder.join("calls-test.so");
    compile("dev/xtask/bench/calls.c", &library, &["-shared", "-fPIC", "-ldl"])?;
    Ok(check("counts: system calls to accept a connection on XNU", None, CALLS_TO_ACCEPT_ON_XNU, || {
        let counted = counts::emulated_calls(&server, &library, Talk::Bytes, CLIENTS, STRACED)?;
        let of_accepting = ["accept", "fcntl", "close", "other"].map(|name| counted.get(name).copied().unwrap_or(0.0));
        Ok(of_accepting.iter().sum())
    }))
}

fn on_linux(plan: &Plan) -> Result<Count> {
    let host = Host::default();
    if !is_wanted(plan, &host) {
        return Ok(Count::default());
    }
    let mut workshop = plan.workshop.borrow_mut();
    workshop.build([&host]);
    let ready = workshop.get(&host)?;
    let path = spork::beside(&ready.module)?;
    let server = |name: &str, kind: &str| http_server(name, &ready.janet, kind, &path);
    let bytes = |name: &str, kind: &str| bytes(name, &ready.janet, kind, &path);

    let mut total = Count::default();
    total += check("counts: system calls for each request", Some("strace"), CALLS_PER_REQUEST, || {
        Ok(counts::total(&system_calls(&server("kqnet/http", "kqnet"), Talk::InStep, CLIENTS, STRACED)?))
    });
    total += check(
        "counts: instructions for each connection, to core's",
        Some("valgrind"),
        INSTRUCTIONS_PER_CONNECTION_TO_CORE,
        || {
            let ours = instructions(&bytes("kqnet", "kqnet"), Talk::Bytes, CLIENTS, GRINDED)?;
            Ok(ours / instructions(&bytes("core", "core"), Talk::Bytes, CLIENTS, GRINDED)?)
        },
    );
    total += check(
        "counts: instructions for each request, to a bare loop's",
        Some("valgrind"),
        INSTRUCTIONS_PER_REQUEST_TO_BARE_LOOP,
        || {
            let ours = instructions(&server("kqnet/http", "kqnet"), Talk::InStep, FEW_CLIENTS, GRINDED)?;
            Ok(ours / instructions(&server("bare Janet loop", "bare"), Talk::InStep, FEW_CLIENTS, GRINDED)?)
        },
    );
    Ok(total)
}

fn check(what: &str, tool: Option<&str>, most: f64, count: impl Fn() -> Result<f64>) -> Count {
    let skipped = match Loop::ALL[0] {
        Loop::Epoll => tool.and_then(counts::cannot),
        _ => Some("it is for Linux".to_owned()),
    };
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
