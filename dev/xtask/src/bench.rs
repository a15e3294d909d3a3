//! `cargo xtask bench`: kqnet beside what its users would use instead.
//!
//! Each round measures all subjects in turn, so that what disturbs the machine for a while disturbs all of them. The
//! result is the ratios within each round. Absolute numbers hold for this machine only.
//!
//! From the bottom up:
//!
//! - `measurements`: comparisons, samples, and ratios. `settings`: the command line. `machine`: where it was measured.
//! - `usage`, `server`: a process that is measured. `load`, `wrk`: its clients. `counts`: what it does, counted.
//! - `programs`, `setup`: the servers that are measured.
//! - `accept`, `http`, `memory`, `growth`, `kqueue`: what is measured.
//! - `aims`, `table`, `chart`, `report`, `page`: how the results are shown.

mod accept;
mod aims;
mod chart;
pub mod counts;
mod growth;
mod http;
mod kqueue;
pub mod load;
mod machine;
mod measurements;
mod memory;
mod page;
pub mod programs;
mod report;
pub mod server;
mod settings;
mod setup;
mod table;
mod usage;
mod wrk;

use std::process::ExitCode;
use std::time::Instant;

use kqnet_hosts::Result;
use lexopt::Parser;

use crate::process;
use measurements::Comparison;
use settings::Settings;
use setup::Bench;

type Measure = fn(&Bench) -> Result<Vec<Comparison>>;

/// What can be measured, by name.
const MEASURES: [(&str, Measure); 5] = [
    ("accept", accept::measure),
    ("http", http::measure),
    ("memory", memory::measure),
    ("growth", growth::measure),
    ("kqueue", kqueue::measure),
];

/// Runs the command.
pub fn run(args: Parser) -> Result<ExitCode> {
    let settings = Settings::parse(args, &MEASURES.map(|(name, _)| name))?;
    process::end_groups_on_signals();
    let bench = Bench::new(settings)?;
    let machine = machine::describe();
    let start = Instant::now();
    let mut comparisons = Vec::new();
    let mut failures = Vec::new();
    for (name, measure) in MEASURES {
        let names = &bench.settings.names;
        if !names.is_empty() && names.iter().all(|included| included != name) {
            continue;
        }
        eprintln!("{name}");
        match measure(&bench) {
            Ok(measured) => comparisons.extend(measured),
            Err(message) => failures.push(format!("{name}: {message}")),
        }
    }
    let aims = aims::aims(&comparisons);
    print!("{}", table::table(&comparisons, &aims));
    report::write(&bench.scratch, &comparisons, &machine, &bench.settings)?;
    if bench.settings.page && failures.is_empty() {
        page::write(&comparisons, &aims, &machine, &bench.settings)?;
    }
    eprintln!("measured in {:.0} s; measurements.json and pictures are in target/bench", start.elapsed().as_secs_f64());
    for failure in &failures {
        eprintln!("error: {failure}");
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
