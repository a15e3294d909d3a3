//! Measures memory: of connections that wait, and over many requests.

use kqnet_hosts::Result;

use super::load;
use super::measurements::{Better, Comparison};
use super::setup::{Bench, progress};
use super::wrk::{self, Requests};

/// How many connections wait.
const HELD: usize = 10_000;
/// The memory of a server is measured after `WARM` requests, and after `MORE` more.
const WARM: f64 = 50_000.0;
const MORE: f64 = 300_000.0;

const HALF_HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: ";

/// What the connections have done before they wait.
#[derive(Clone, Copy)]
enum Before {
    Request,
    Nothing,
    HalfHead,
}

/// The conditions, and who is measured. spork/http and circlet close after a request.
const CONDITIONS: [(&str, Before, &[&str]); 3] = [
    ("after a request", Before::Request, &["bare", "kqnet", "nginx", "hyper", "go", "node", "uvicorn", "halo2"]),
    ("after nothing", Before::Nothing, &["bare", "kqnet", "nginx", "hyper", "go", "spork", "halo2", "circlet"]),
    ("after half a head", Before::HalfHead, &["kqnet", "nginx", "hyper", "go", "spork", "halo2"]),
];

/// Measures memory.
pub fn measure(bench: &Bench) -> Result<Vec<Comparison>> {
    Ok(vec![idle(bench)?, growth(bench)?])
}

fn idle(bench: &Bench) -> Result<Comparison> {
    let mut comparison = Comparison::new(
        "memory-idle",
        "Resident memory for each connection that waits",
        "How much the server's resident memory grew with 10,000 connections, divided by them. Each has had an answer to a \
         request and is kept, or has sent nothing yet, or half a head. nginx has some of the memory from its start.",
        "KiB",
        Better::Less,
    );
    if let Some(why) = bench.cannot_hold(HELD) {
        comparison.note(why);
        return Ok(comparison);
    }
    for (label, condition, servers) in CONDITIONS {
        progress(&format!("{HELD} connections {label}"));
        for program in bench.servers(servers, &mut comparison) {
            let mut server = program.start()?;
            let before = server.settle()?;
            let held = match condition {
                Before::Request => load::hold_kept(server.port(), HELD),
                Before::Nothing => load::hold(server.port(), HELD, b""),
                Before::HalfHead => load::hold(server.port(), HELD, HALF_HEAD),
            };
            let Some(held) = comparison.take(label, &program.name, held)? else { continue };
            let after = server.settle()?;
            drop(held);
            comparison.add(label, &program.name, (after.resident - before.resident) / 1024.0 / HELD as f64);
        }
    }
    Ok(comparison)
}

fn growth(bench: &Bench) -> Result<Comparison> {
    let mut comparison = Comparison::new(
        "memory-growth",
        "Resident memory over 300,000 requests",
        "After 50,000 requests on 64 connections (kept, if the server keeps them), and after 300,000 more.",
        "MiB",
        Better::Less,
    );
    if let Some(why) = wrk::cannot() {
        comparison.note(why);
        return Ok(comparison);
    }
    for program in bench.servers(&["bare", "kqnet", "spork", "halo2", "circlet"], &mut comparison) {
        progress(&format!("300,000 requests, {}", program.name));
        let mut server = program.start()?;
        let mut requests = 0.0;
        for (label, until) in [("after 50,000", WARM), ("after 300,000 more", WARM + MORE)] {
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
