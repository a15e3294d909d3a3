//! Measures memory: of connections that wait, and over many requests.

use kqnet_hosts::Result;

use super::load;
use super::measurements::{Better, Comparison};
use super::server::Program;
use super::setup::{Bench, progress};
use super::wrk::{self, Requests};
use crate::tools;

const IDLE: [usize; 2] = [1000, 10_000];
/// Descriptors beside those of the held connections: what a process opens for itself, and a few connections.
const SPARE: u64 = 100;
/// The memory of a server is measured after `WARM` requests, and after `MORE` more.
const WARM: f64 = 100_000.0;
const MORE: f64 = 1_000_000.0;

const HALF_HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: ";

/// Measures memory.
pub fn measure(bench: &Bench) -> Result<Vec<Comparison>> {
    Ok(vec![idle(bench)?, growth(bench)?])
}

fn servers(bench: &Bench) -> Vec<Program> {
    let mut programs = vec![bench.http("bare"), bench.http("kqnet")];
    programs.extend(bench.peers().0.into_iter().map(|peer| bench.http(peer)));
    programs
}

fn idle(bench: &Bench) -> Result<Comparison> {
    let mut comparison = Comparison::new(
        "memory-idle",
        "Resident memory for each connection that waits",
        "How much the server's resident memory grew, divided by the connections. The clients have sent nothing, \
         or half a head.",
        "KiB",
        Better::Less,
    );
    for count in IDLE {
        if bench.descriptors < count as u64 + SPARE {
            let least = count as u64 + SPARE;
            comparison.note(format!("{count} connections need a limit of {least} descriptors: ulimit -n {least}"));
            continue;
        }
        for (what, bytes) in [("idle", &b""[..]), ("half a head", HALF_HEAD)] {
            let label = format!("{count}, {what}");
            progress(&label);
            for program in servers(bench) {
                let mut server = program.start()?;
                let before = server.settle()?;
                let held = load::hold(server.port(), count, bytes)?;
                let after = server.settle()?;
                drop(held);
                comparison.add(&label, &program.name, (after.resident - before.resident) / 1024.0 / count as f64);
            }
        }
    }
    Ok(comparison)
}

fn growth(bench: &Bench) -> Result<Comparison> {
    let mut comparison = Comparison::new(
        "memory-growth",
        "Resident memory over a million requests",
        "After 100,000 requests on 64 connections (kept, if the server keeps them), and after a million more.",
        "MiB",
        Better::Less,
    );
    if !tools::on_path("wrk") {
        comparison.note("wrk is not installed (on Debian: apt-get install wrk)".to_owned());
        return Ok(comparison);
    }
    for program in servers(bench) {
        progress(&format!("a million requests, {}", program.name));
        let mut server = program.start()?;
        let mut requests = 0.0;
        for (label, until) in [("after 100,000", WARM), ("after a million more", WARM + MORE)] {
            while requests < until {
                let done = wrk::run(server.port(), "/", 64, bench.settings.seconds, Requests::Kept)?;
                if done.requests == 0.0 {
                    return Err(format!("{} stopped answering after {requests} requests", program.name));
                }
                requests += done.requests;
            }
            comparison.add(label, &program.name, server.settle()?.resident / 1024.0 / 1024.0);
        }
    }
    Ok(comparison)
}
