//! The step that checks what a connection and a request cost, so that it cannot grow unnoticed.
//!
//! Costs are counted, not timed.
//! Instructions depend on the compilers, so they are compared with those of a server on core's functions in the same
//! run. Clients with kept connections ask in step, so that the server waits before each request. test/syscalls.janet
//! counts the system calls of a connection on Linux.

use std::fs;
use std::time::Instant;

use kqnet_hosts::{Host, KERNELS, Loop, Result};

use super::plan::Plan;
use super::tally::Tally;
use crate::bench::counts::{self, instructions, system_calls};
use crate::bench::load::Talk;
use crate::bench::programs::{bytes, compile, http_server};
use crate::{repo, spork};

const CLIENTS: usize = 64;
/// With many clients, the bare loop's cost depends on the order in which requests come, since Janet searches its list
/// of waits.
const FEW_CLIENTS: usize = 8;

/// How many connections or requests are counted, which takes a few seconds.
const UNDER_STRACE: u64 = 64 * 64;
const UNDER_CALLGRIND: u64 = 32 * 64;
/// There are several collections in so many requests. The first makes all later requests cheaper (src/spare_tables.rs).
const REQUESTS_UNDER_CALLGRIND: u64 = 256 * 64;

/// The highest allowed costs, a twentieth to a tenth above what was measured when they were set.
const CALLS_PER_REQUEST: f64 = 2.2;
const CALLS_TO_ACCEPT_ON_XNU: f64 = 3.4;
const INSTRUCTIONS_PER_CONNECTION_TO_CORE: f64 = 1.33;
const INSTRUCTIONS_PER_REQUEST_TO_BARE_LOOP: f64 = 1.5;

/// How many times to count before a cost is too high: noise only raises it.
const TRIES: usize = 3;

/// Counts on the newest Janet, with Linux's own loop and with macOS's kqueue.
pub fn tests(plan: &Plan) -> Result<Tally> {
    let mut total = on_linux(plan)?;
    total += on_xnu(plan)?;
    Ok(total)
}

fn is_included(plan: &Plan, host: &Host) -> bool {
    plan.includes("counts") && plan.hosts.iter().any(|(one, _)| one == host)
}

/// Counts the system calls that accepting and closing make on XNU. Those of the event queues, and reads that come too
/// early, are left out: they depend on the speed of the clients.
fn on_xnu(plan: &Plan) -> Result<Tally> {
    let host = Host { event_loop: Loop::Kqueue, kernel: Some(KERNELS[0]), ..Host::default() };
    if !is_included(plan, &host) || !host.event_loop.is_emulated() {
        return Ok(Tally::default());
    }
    let ready = plan.build([&host]).get(&host)?;
    let server = bytes("kqnet", &ready.janet, "kqnet", &ready.module);
    let folder = repo::target().join("bench");
    fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    let library = folder.join("calls-test.so");
    compile("dev/xtask/bench/calls.c", &library, &["-shared", "-fPIC", "-ldl"])?;
    Ok(check("counts: system calls to accept a connection on XNU", None, CALLS_TO_ACCEPT_ON_XNU, || {
        let counted = counts::emulated_calls(&server, &library, Talk::Bytes, CLIENTS, UNDER_STRACE)?;
        let of_accepting = ["accept", "fcntl", "close", "other"].map(|name| counted.get(name).copied().unwrap_or(0.0));
        Ok(of_accepting.iter().sum())
    }))
}

fn on_linux(plan: &Plan) -> Result<Tally> {
    let host = Host::default();
    if !is_included(plan, &host) {
        return Ok(Tally::default());
    }
    let ready = plan.build([&host]).get(&host)?;
    let path = spork::beside(&ready.module)?;
    let server = |name: &str, kind: &str| http_server(name, &ready.janet, kind, &path);
    let bytes = |name: &str, kind: &str| bytes(name, &ready.janet, kind, &path);

    let mut total = Tally::default();
    total += check("counts: system calls for each request", Some("strace"), CALLS_PER_REQUEST, || {
        Ok(counts::total(&system_calls(&server("kqnet/http", "kqnet"), Talk::InStep, CLIENTS, UNDER_STRACE)?))
    });
    total += check(
        "counts: instructions for each connection, to core's",
        Some("valgrind"),
        INSTRUCTIONS_PER_CONNECTION_TO_CORE,
        || {
            let ours = instructions(&bytes("kqnet", "kqnet"), Talk::Bytes, CLIENTS, UNDER_CALLGRIND)?;
            Ok(ours / instructions(&bytes("core", "core"), Talk::Bytes, CLIENTS, UNDER_CALLGRIND)?)
        },
    );
    total += check(
        "counts: instructions for each request, to a bare loop's",
        Some("valgrind"),
        INSTRUCTIONS_PER_REQUEST_TO_BARE_LOOP,
        || {
            let of =
                |name, kind| instructions(&server(name, kind), Talk::InStep, FEW_CLIENTS, REQUESTS_UNDER_CALLGRIND);
            Ok(of("kqnet/http", "kqnet")? / of("bare Janet loop", "bare")?)
        },
    );
    Ok(total)
}

fn check(what: &str, tool: Option<&str>, most: f64, count: impl Fn() -> Result<f64>) -> Tally {
    let skipped = match Loop::ALL[0] {
        Loop::Epoll => tool.and_then(counts::cannot),
        _ => Some("it is for Linux".to_owned()),
    };
    if let Some(why) = skipped {
        eprintln!("skip  {what}: {why}");
        return Tally { skipped: 1, ..Tally::default() };
    }
    let start = Instant::now();
    let mut least = f64::INFINITY;
    for _ in 0..TRIES {
        match count() {
            Ok(counted) => least = least.min(counted),
            Err(message) => {
                eprintln!("FAIL  {what}: {message}; to run it again: cargo xtask test counts");
                return Tally::FAIL;
            }
        }
        if least <= most {
            eprintln!("ok    {what}: {least:.2} in {:.1} s", start.elapsed().as_secs_f64());
            return Tally::PASS;
        }
    }
    eprintln!("FAIL  {what}: {least:.2}, not at most {most}; to run it again: cargo xtask test counts");
    Tally::FAIL
}
