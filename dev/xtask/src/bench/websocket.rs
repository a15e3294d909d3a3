//! Measures websockets: echoed messages in a second, and memory for each socket that waits.

use kqnet_hosts::Result;

use super::measurements::{Better, Comparison};
use super::others;
use super::server::Program;
use super::setup::{Bench, progress};
use super::websocket_load as load;

const CLIENTS: usize = 64;
const LABEL: &str = "64 websockets";
const IDLE: usize = 5000;

/// Measures websockets, if there is `kqnet/websocket`.
pub fn measure(bench: &Bench) -> Result<Vec<Comparison>> {
    if !bench.has("kqnet/websocket", "upgrade") {
        return Ok(Vec::new());
    }
    let mut rate = Comparison::new(
        "websocket-rate",
        "Echoed websocket messages in a second",
        "64 clients send a text message of 32 bytes, and the next when it has come back.",
        "messages/s",
        Better::More,
    );
    let mut cpu = Comparison::new(
        "websocket-cpu",
        "Processor time of the server for each echoed message",
        "In the same runs, in user space and in the kernel.",
        "µs",
        Better::Less,
    );
    let programs = programs(bench, &mut rate);
    for round in 1..=bench.settings.rounds {
        progress(&format!("websockets, round {round}"));
        for program in &programs {
            let mut server = program.start()?;
            let before = server.usage()?;
            let result = load::echoes(server.port(), CLIENTS, bench.time());
            let Some((messages, time)) = rate.take(LABEL, &program.name, result)? else { continue };
            let after = server.usage()?;
            rate.add(LABEL, &program.name, messages as f64 / time.as_secs_f64());
            cpu.add(LABEL, &program.name, (after.cpu - before.cpu) * 1e6 / messages as f64);
        }
    }
    Ok(vec![rate, cpu, memory(bench, &programs)?])
}

fn programs(bench: &Bench, comparison: &mut Comparison) -> Vec<Program> {
    let mut programs = vec![bench.http("websocket")];
    let found = [("Node, ws", others::node_websockets()), ("Python, websockets", others::python_websockets())];
    for (name, found) in found {
        // What cannot be started is left out, as what is not there.
        match found.and_then(|program: Program| program.start().map(|_| program)) {
            Ok(program) => programs.push(program),
            Err(why) => comparison.lacks(name, &why),
        }
    }
    programs
}

fn memory(bench: &Bench, programs: &[Program]) -> Result<Comparison> {
    let mut comparison = Comparison::new(
        "websocket-memory",
        "Resident memory for each websocket that waits",
        "How much the server's resident memory grew, divided by the sockets. No message was sent.",
        "KiB",
        Better::Less,
    );
    if let Some(why) = bench.cannot_hold(IDLE) {
        comparison.note(why);
        return Ok(comparison);
    }
    progress("memory of websockets");
    let label = format!("{IDLE} idle");
    for program in programs {
        let mut server = program.start()?;
        let before = server.settle()?;
        let Some(held) = comparison.take(&label, &program.name, load::open(server.port(), IDLE))? else { continue };
        let after = server.settle()?;
        drop(held);
        comparison.add(&label, &program.name, (after.resident - before.resident) / 1024.0 / IDLE as f64);
    }
    Ok(comparison)
}
