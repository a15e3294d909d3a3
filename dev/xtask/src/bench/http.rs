//! Measures HTTP: requests in a second, and the cost of each.

use kqnet_hosts::Result;

use super::counts;
use super::load::Talk;
use super::measurements::{Better, Comparison};
use super::server::Program;
use super::setup::{Bench, progress};
use super::wrk::{self, Requests};
use crate::tools;

const MEGABYTE: u32 = 1024 * 1024;

/// A load, and which servers answer it.
struct Scenario {
    label: &'static str,
    path: &'static str,
    clients: u32,
    requests: Requests,
    /// Which loops show a ceiling. They send the same answer to everything, so only where that is the right one.
    ceilings: Ceilings,
    /// Whether latencies are measured.
    latency: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ceilings {
    Kept,
    Pipelined,
    Close,
    None,
}

const fn kept(label: &'static str, clients: u32) -> Scenario {
    Scenario { label, path: "/", clients, requests: Requests::Kept, ceilings: Ceilings::Kept, latency: true }
}

const fn body(label: &'static str, path: &'static str, requests: Requests) -> Scenario {
    Scenario { label, path, clients: 64, requests, ceilings: Ceilings::None, latency: false }
}

const SCENARIOS: [Scenario; 9] = [
    kept("1 kept connection", 1),
    kept("64 kept connections", 64),
    kept("1000 kept connections", 1000),
    Scenario {
        label: "64, 16 pipelined",
        path: "/",
        clients: 64,
        requests: Requests::Pipelined(16),
        ceilings: Ceilings::Pipelined,
        latency: false,
    },
    Scenario {
        label: "64, a connection each",
        path: "/",
        clients: 64,
        requests: Requests::Close,
        ceilings: Ceilings::Close,
        latency: true,
    },
    body("1 KiB down", "/1k", Requests::Kept),
    body("1 MiB down", "/1m", Requests::Kept),
    body("1 KiB up", "/up", Requests::Post(1024)),
    body("1 MiB up", "/up", Requests::Post(MEGABYTE)),
];

/// Measures HTTP.
pub fn measure(bench: &Bench) -> Result<Vec<Comparison>> {
    if !tools::on_path("wrk") {
        return Err("wrk is not installed (on Debian: apt-get install wrk)".to_owned());
    }
    let mut rate = Comparison::new(
        "http-rate",
        "HTTP requests in a second",
        "wrk runs on one thread beside the server. The answer is \"hello, world\", unless bodies go up or down on 64 kept \
         connections. spork/http and circlet close after every response, so their clients connect again for each request. \
         The bare Janet loop sends the same bytes for whatever it reads, and is the ceiling for a server on Janet's \
         streams; the C loop does the same without Janet.",
        "requests/s",
        Better::More,
    );
    let mut cpu = Comparison::new(
        "http-cpu",
        "Processor time of the server for each request",
        "The server's own processor time in the same runs, in user space and in the kernel, divided by the requests.",
        "µs",
        Better::Less,
    );
    let latency = |name, title| {
        Comparison::new(
            name,
            title,
            "Measured by wrk in the same runs. With 64 or more connections the server is always busy, so most of \
             the time is spent waiting for a turn.",
            "µs",
            Better::Less,
        )
    };
    let mut latencies = [
        latency("http-p50", "Latency of a request: the median"),
        latency("http-p99", "Latency of a request: 99 % are below"),
        latency("http-p999", "Latency of a request: 99.9 % are below"),
    ];
    let (_, missing) = bench.peers();
    missing.into_iter().for_each(|why| rate.note(why));
    rate.note(
        "halo2 and spork/http only answer every other pipelined request, so they were left out there.".to_owned(),
    );

    for scenario in &SCENARIOS {
        for round in 1..=bench.settings.rounds {
            progress(&format!("{}, round {round}", scenario.label));
            for program in programs(bench, scenario)? {
                let mut server = program.start()?;
                let before = server.usage()?;
                let done =
                    wrk::run(server.port(), scenario.path, scenario.clients, bench.settings.seconds, scenario.requests);
                let (done, after) = (done?, server.usage()?);
                if done.errors > 0.0 {
                    rate.note(format!("{}: {} requests failed at {}", program.name, done.errors, scenario.label));
                }
                if done.requests == 0.0 {
                    rate.note(format!("{}: no request was answered at {}", program.name, scenario.label));
                    continue;
                }
                rate.add(scenario.label, &program.name, done.requests / done.seconds);
                cpu.add(scenario.label, &program.name, (after.cpu - before.cpu) * 1e6 / done.requests);
                if scenario.latency {
                    for (comparison, sample) in latencies.iter_mut().zip(done.latency) {
                        comparison.add(scenario.label, &program.name, sample);
                    }
                }
            }
        }
    }
    let mut all = vec![rate, cpu];
    all.extend(latencies);
    all.extend([system_calls(bench)?, instructions(bench)?]);
    Ok(all)
}

fn programs(bench: &Bench, scenario: &Scenario) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    match scenario.ceilings {
        Ceilings::Kept => programs.extend([bench.c_loop("http")?, bench.http("bare")]),
        Ceilings::Pipelined => programs.push(bench.c_loop("http")?),
        Ceilings::Close => programs.extend([bench.c_loop("http-close")?, bench.http("bare-close")]),
        Ceilings::None => {}
    }
    programs.push(bench.http("kqnet"));
    if scenario.ceilings != Ceilings::Pipelined {
        programs.extend(bench.peers().0.into_iter().map(|peer| bench.http(peer)));
    }
    Ok(programs)
}

/// The loads that are counted: kept connections, and one for each request. spork/http keeps none, and circlet does not
/// end with its input.
fn counted(bench: &Bench) -> Result<Vec<(&'static str, Talk, Vec<Program>)>> {
    let (there, _) = bench.peers();
    let peers = |names: &[&str]| -> Vec<Program> {
        there.iter().filter(|name| names.contains(name)).map(|name| bench.http(name)).collect()
    };
    let mut kept = vec![bench.c_loop("http")?, bench.http("bare"), bench.http("kqnet")];
    kept.extend(peers(&["halo2"]));
    let mut single = vec![bench.c_loop("http-close")?, bench.http("bare-close"), bench.http("kqnet")];
    single.extend(peers(&["spork", "halo2"]));
    Ok(vec![("64 kept connections, in step", Talk::InStep, kept), ("64, a connection each", Talk::Single, single)])
}

fn system_calls(bench: &Bench) -> Result<Comparison> {
    let mut comparison = Comparison::new(
        "http-calls",
        "System calls for each request",
        "Counted by strace, as the difference between two runs. The clients run in step: none asks again before \
         all 64 are answered, so the server waits for each request.",
        "system calls",
        Better::Less,
    );
    if let Some(why) = counts::cannot("strace") {
        comparison.note(why);
        return Ok(comparison);
    }
    progress("system calls");
    for (label, talk, programs) in counted(bench)? {
        for program in programs {
            let counted = counts::system_calls(&program, talk, 64, 4000)?;
            comparison.add(label, &program.name, counts::total(&counted));
        }
    }
    Ok(comparison)
}

fn instructions(bench: &Bench) -> Result<Comparison> {
    let mut comparison = Comparison::new(
        "http-instructions",
        "Instructions for each request, in user space",
        "Counted by callgrind, as the difference between two runs; the kernel's work is not included. 8 clients \
         run in step: with more clients, the cost of Janet's own search through its waits depends on the order \
         in which requests come.",
        "instructions",
        Better::Less,
    );
    if let Some(why) = counts::cannot("valgrind") {
        comparison.note(why);
        return Ok(comparison);
    }
    progress("instructions");
    for (label, talk, programs) in counted(bench)? {
        let (label, clients) = if talk == Talk::InStep { ("8 kept connections, in step", 8) } else { (label, 64) };
        for program in programs {
            comparison.add(label, &program.name, counts::instructions(&program, talk, clients, 4000)?);
        }
    }
    Ok(comparison)
}
