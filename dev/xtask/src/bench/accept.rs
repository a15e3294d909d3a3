//! Measures accepting: connections in a second, and the cost of each.

use kqnet_hosts::Result;

use super::counts;
use super::load::{self, End, Talk};
use super::measurements::{Better, Comparison, percentile};
use super::setup::{Bench, progress};

const CLIENTS: [usize; 2] = [1, 64];
/// The number of connections in a burst, and of bursts in a round.
const BURST: usize = 1000;
const BURSTS: usize = 10;
/// The condition in which all clients have connected and asked before the server looks.
const WAITING: &str = "1000 that wait";

/// Measures accepting.
pub fn measure(bench: &Bench) -> Result<Vec<Comparison>> {
    let (rate, cpu) = rates(bench)?;
    Ok(vec![rate, cpu, system_calls(bench)?, instructions(bench)?, bursts(bench)?])
}

fn group(clients: usize) -> String {
    if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") }
}

fn rates(bench: &Bench) -> Result<(Comparison, Comparison)> {
    let mut rate = Comparison::new(
        "accept-rate",
        "Connections accepted in a second",
        "Each client connects, sends a byte, waits for the answer and the end, and connects again. The clients \
         run on one thread, and if the server is fast, they set the pace.",
        "connections/s",
        Better::More,
    );
    let mut cpu = Comparison::new(
        "accept-cpu",
        "Processor time of the server for each connection",
        "The server's own processor time in the same runs, in user space and in the kernel, divided by the connections. It was also measured with 1000 clients that had connected and asked while \
         the server was stopped, so that they do not set the pace.",
        "µs",
        Better::Less,
    );
    let programs = bench.bytes()?;
    for clients in CLIENTS {
        for round in 1..=bench.settings.rounds {
            progress(&format!("{}, round {round}", group(clients)));
            for program in &programs {
                let mut server = program.start()?;
                let before = server.usage()?;
                let done = load::run(Talk::Bytes, &server.ports, clients, End::Time(bench.time()))?;
                let after = server.usage()?;
                if done.failed > 0 {
                    rate.note(format!("{}: {} connections failed at {}", program.name, done.failed, group(clients)));
                }
                rate.add(&group(clients), &program.name, done.count as f64 / done.time.as_secs_f64());
                cpu.add(&group(clients), &program.name, (after.cpu - before.cpu) * 1e6 / done.count as f64);
            }
        }
    }
    for round in 1..=bench.settings.rounds {
        progress(&format!("{WAITING}, round {round}"));
        for program in &programs {
            let mut server = program.start()?;
            let port = server.port();
            let before = server.usage()?;
            for _ in 0..BURSTS {
                let clients = server.stopped(|| load::hold(port, BURST, b"?"))?;
                load::receive(clients)?;
            }
            let used = server.settle()?.cpu - before.cpu;
            cpu.add(WAITING, &program.name, used * 1e6 / (BURSTS * BURST) as f64);
        }
    }
    Ok((rate, cpu))
}

fn system_calls(bench: &Bench) -> Result<Comparison> {
    let mut comparison = Comparison::new(
        "accept-calls",
        "System calls for each connection",
        "Counted by strace, as the difference between two runs, from accepting to closing: receiving a byte, \
         sending one and closing are three of these calls.",
        "system calls",
        Better::Less,
    );
    if let Some(why) = counts::cannot("strace") {
        comparison.note(why);
        return Ok(comparison);
    }
    for clients in CLIENTS {
        progress(&format!("system calls, {}", group(clients)));
        for program in bench.bytes()? {
            let counted = counts::system_calls(&program, Talk::Bytes, clients, 4000)?;
            comparison.add(&group(clients), &program.name, counts::total(&counted));
        }
    }
    Ok(comparison)
}

fn instructions(bench: &Bench) -> Result<Comparison> {
    let mut comparison = Comparison::new(
        "accept-instructions",
        "Instructions for each connection, in user space",
        "Counted by callgrind, as the difference between two runs; the kernel's work is not included.",
        "instructions",
        Better::Less,
    );
    if let Some(why) = counts::cannot("valgrind") {
        comparison.note(why);
        return Ok(comparison);
    }
    progress("instructions");
    for program in bench.bytes()? {
        let counted = counts::instructions(&program, Talk::Bytes, 64, 4000)?;
        comparison.add("64 clients", &program.name, counted);
    }
    Ok(comparison)
}

fn bursts(bench: &Bench) -> Result<Comparison> {
    let mut comparison = Comparison::new(
        "accept-burst",
        "Time until the last of a burst of 1000 is answered",
        "1000 clients connect at once, and each sends a byte and waits for one. The time is measured from the \
         first connect to the last answer; the rows are the median and the 99th percentile of a round's bursts.",
        "ms",
        Better::Less,
    );
    let programs = bench.bytes()?;
    for round in 1..=bench.settings.rounds {
        progress(&format!("bursts, round {round}"));
        for program in &programs {
            let server = program.start()?;
            let mut times = Vec::new();
            for _ in 0..BURSTS {
                let done = load::run(Talk::Bytes, &server.ports, BURST, End::Count(BURST as u64))?;
                times.push(done.time.as_secs_f64() * 1e3);
            }
            for (label, share) in [("median", 0.5), ("p99", 0.99)] {
                comparison.add(label, &program.name, percentile(&times, share).unwrap_or(f64::NAN));
            }
        }
    }
    Ok(comparison)
}
