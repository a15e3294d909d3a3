//! Measures HTTP: requests in a second, and the server's time for each.

use kqnet_hosts::Result;

use super::download;
use super::measurements::{Better, Comparison};
use super::setup::{Bench, progress};
use super::wrk::{self, Requests};

const MEGABYTE: u32 = 1024 * 1024;

/// What clients do.
#[derive(Clone, Copy)]
enum Load {
    /// wrk makes requests.
    Wrk(Requests),
    /// The clients of `download` fetch bodies.
    Download,
}

/// A load, and which servers answer it.
struct Scenario {
    label: &'static str,
    path: &'static str,
    clients: u32,
    load: Load,
    /// The keys of the servers. The loops that show a ceiling send the same answer to everything, so they are only where
    /// that is the right one.
    servers: &'static [&'static str],
    /// Whether latencies are shown.
    latency: bool,
}

const SCENARIOS: [Scenario; 7] = [
    Scenario {
        label: "64 kept connections",
        path: "/",
        clients: 64,
        load: Load::Wrk(Requests::Kept),
        servers: &["c", "bare", "kqnet", "nginx", "hyper", "go", "node", "uvicorn", "spork", "halo2", "circlet"],
        latency: true,
    },
    // Without the servers on Janet that only answer every other pipelined request: halo2, spork/http and circlet.
    Scenario {
        label: "64, 16 pipelined",
        path: "/",
        clients: 64,
        load: Load::Wrk(Requests::Pipelined(16)),
        servers: &["c", "kqnet", "nginx", "hyper", "go", "node", "uvicorn"],
        latency: false,
    },
    Scenario {
        label: "64, a connection each",
        path: "/",
        clients: 64,
        load: Load::Wrk(Requests::Close),
        servers: &[
            "c-close",
            "bare-close",
            "kqnet",
            "nginx",
            "hyper",
            "go",
            "node",
            "uvicorn",
            "spork",
            "halo2",
            "circlet",
        ],
        latency: true,
    },
    Scenario {
        label: "1 kept connection",
        path: "/",
        clients: 1,
        load: Load::Wrk(Requests::Kept),
        servers: &["bare", "kqnet", "nginx", "hyper"],
        latency: true,
    },
    Scenario {
        label: "1000 kept connections",
        path: "/",
        clients: 1000,
        load: Load::Wrk(Requests::Kept),
        servers: &["bare", "kqnet", "nginx", "hyper"],
        latency: false,
    },
    Scenario {
        label: "1 MiB down",
        path: "/1m",
        clients: 16,
        load: Load::Download,
        servers: &["kqnet", "hyper", "go", "node", "halo2"],
        latency: false,
    },
    Scenario {
        label: "1 MiB up",
        path: "/up",
        clients: 16,
        load: Load::Wrk(Requests::Post(MEGABYTE)),
        servers: &["kqnet", "hyper", "go", "node", "spork"],
        latency: false,
    },
];

/// What one load measured.
struct Sample {
    requests: f64,
    seconds: f64,
    errors: f64,
    latency: Option<[f64; 3]>,
}

/// Measures HTTP.
pub fn measure(bench: &Bench) -> Result<Vec<Comparison>> {
    let mut rate = Comparison::new(
        "http-rate",
        "HTTP requests in a second",
        "wrk runs on one thread. The answer is \"hello, world\", unless bodies of 1 MiB go up or down on 16 kept \
         connections; those that go down come from the server's memory, and the clients throw them away. nginx answers by \
         `return 200`, hyper runs on tokio with one thread, Go with GOMAXPROCS=1, and uvicorn with uvloop and httptools. \
         spork/http and circlet close after every response, so their clients connect again for each request; of pipelined \
         requests they only answer every other one, as halo2 does. The bare Janet loop sends the same bytes for whatever \
         it reads, and is the ceiling for a server on Janet's streams; the C loop does the same without Janet.",
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
            "Measured by wrk in the same runs. With 64 connections the server is always busy, so most of the time is spent \
             waiting for a turn.",
            "µs",
            Better::Less,
        )
    };
    let mut latencies = [
        latency("http-p50", "Latency of a request: the median"),
        latency("http-p99", "Latency of a request: 99 % are below"),
        latency("http-p999", "Latency of a request: 99.9 % are below"),
    ];
    let no_wrk = wrk::cannot();
    for scenario in &SCENARIOS {
        if let (Load::Wrk(_), Some(why)) = (scenario.load, &no_wrk) {
            rate.note(why.clone());
            continue;
        }
        let programs = bench.servers(scenario.servers, &mut rate);
        for round in 1..=bench.settings.rounds {
            progress(&format!("{}, round {round}", scenario.label));
            for program in &programs {
                let mut server = program.start()?;
                let before = server.usage()?;
                let result = load(bench, scenario, server.port());
                let Some(done) = rate.take(scenario.label, &program.name, result)? else { continue };
                let after = server.usage()?;
                if done.errors > 0.0 {
                    rate.note(format!("{}: {} requests failed at {}.", program.name, done.errors, scenario.label));
                }
                rate.add(scenario.label, &program.name, done.requests / done.seconds);
                cpu.add(scenario.label, &program.name, (after.cpu - before.cpu) * 1e6 / done.requests);
                for (comparison, sample) in latencies.iter_mut().zip(done.latency.into_iter().flatten()) {
                    comparison.add(scenario.label, &program.name, sample);
                }
            }
        }
    }
    let mut all = vec![rate, cpu];
    all.extend(latencies);
    Ok(all)
}

fn load(bench: &Bench, scenario: &Scenario, port: u16) -> Result<Sample> {
    let Scenario { path, clients, .. } = *scenario;
    match scenario.load {
        Load::Wrk(requests) => {
            let done = wrk::run(port, path, clients, bench.settings.seconds, requests)?;
            if done.requests == 0.0 {
                return Err("no request was answered".to_owned());
            }
            let latency = scenario.latency.then_some(done.latency);
            Ok(Sample { requests: done.requests, seconds: done.seconds, errors: done.errors, latency })
        }
        Load::Download => {
            let done = download::run(port, path, clients as usize, bench.time())?;
            let requests = done.bytes as f64 / f64::from(MEGABYTE);
            Ok(Sample { requests, seconds: done.time.as_secs_f64(), errors: 0.0, latency: None })
        }
    }
}
