//! Measures how costs grow with the number of listeners, and with the number of idle connections.

use kqnet_hosts::Result;

use super::load::{self, End, Talk};
use super::measurements::{Better, Comparison};
use super::setup::{Bench, progress};
use super::wrk::{self, Requests};
use crate::tools;

const LISTENERS: [usize; 3] = [1, 10, 100];
const IDLE: [usize; 3] = [10, 1000, 10_000];
const SPARE: u64 = 200;

/// Measures how costs grow.
pub fn measure(bench: &Bench) -> Result<Vec<Comparison>> {
    Ok(vec![listeners(bench)?, idle(bench)?])
}

fn listeners(bench: &Bench) -> Result<Comparison> {
    let mut comparison = Comparison::new(
        "growth-listeners",
        "Processor time for each connection with more listeners",
        "64 clients, spread over the listeners of one process (with 100 listeners, 100 clients).",
        "µs",
        Better::Less,
    );
    let programs = bench.bytes()?;
    for round in 1..=bench.settings.rounds {
        progress(&format!("listeners, round {round}"));
        for count in LISTENERS {
            // Without the C loop, which has only one listener.
            for program in programs.iter().skip(1) {
                let label = if count == 1 { "1 listener".to_owned() } else { format!("{count} listeners") };
                let mut server = program.start_under(&[], count)?;
                let before = server.usage()?;
                let done = load::run(Talk::Bytes, &server.ports, count.max(64), End::Time(bench.time()))?;
                let after = server.usage()?;
                comparison.add(&label, &program.name, (after.cpu - before.cpu) * 1e6 / done.count as f64);
            }
        }
    }
    Ok(comparison)
}

fn idle(bench: &Bench) -> Result<Comparison> {
    let mut comparison = Comparison::new(
        "growth-idle",
        "Processor time for each request with more idle connections",
        "64 kept connections make requests while the other connections are open and send nothing.",
        "µs",
        Better::Less,
    );
    if !tools::on_path("wrk") {
        comparison.note("wrk is not installed (on Debian: apt-get install wrk)".to_owned());
        return Ok(comparison);
    }
    for round in 1..=bench.settings.rounds {
        progress(&format!("idle connections, round {round}"));
        for count in IDLE {
            if bench.descriptors < count as u64 + SPARE {
                let least = count as u64 + SPARE;
                comparison.note(format!("{count} connections need a limit of {least} descriptors: ulimit -n {least}"));
                continue;
            }
            for program in [bench.http("bare"), bench.http("kqnet")] {
                let mut server = program.start()?;
                let held = load::hold(server.port(), count, b"")?;
                let before = server.settle()?;
                let done = wrk::run(server.port(), "/", 64, bench.settings.seconds, Requests::Kept)?;
                let after = server.usage()?;
                drop(held);
                let label = format!("{count} idle");
                comparison.add(&label, &program.name, (after.cpu - before.cpu) * 1e6 / done.requests);
            }
        }
    }
    Ok(comparison)
}
