//! Measures how costs grow with the number of listeners, and with the number of idle connections.

use kqnet_hosts::Result;

use super::load::{self, End, Talk};
use super::measurements::{Better, Comparison};
use super::setup::{Bench, progress};
use super::wrk::{self, Requests};

const LISTENERS: [usize; 2] = [1, 100];
const IDLE: [usize; 2] = [10, 10_000];

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
            // Without the C loop, which has only one listener, and without the older Janet.
            for program in programs.iter().skip(2) {
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
    if let Some(why) = wrk::cannot() {
        comparison.note(why);
        return Ok(comparison);
    }
    let programs = bench.servers(&["bare", "kqnet", "nginx"], &mut comparison);
    for round in 1..=bench.settings.rounds {
        progress(&format!("idle connections, round {round}"));
        for count in IDLE {
            if let Some(why) = bench.cannot_hold(count) {
                comparison.note(why);
                continue;
            }
            for program in &programs {
                let mut server = program.start()?;
                let held = load::hold_kept(server.port(), count)?;
                let before = server.settle()?;
                let label = format!("{count} idle");
                let result = wrk::run(server.port(), "/", 64, bench.settings.seconds, Requests::Kept);
                let Some(done) = comparison.take(&label, &program.name, result)? else { continue };
                let after = server.usage()?;
                drop(held);
                comparison.add(&label, &program.name, (after.cpu - before.cpu) * 1e6 / done.requests);
            }
        }
    }
    Ok(comparison)
}
