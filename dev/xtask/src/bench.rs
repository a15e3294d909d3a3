//! `cargo xtask bench`: kqnet beside what its users would use instead.
//!
//! Each round measures all subjects in turn, so that what disturbs the machine for a while disturbs all of them. The
//! result is the ratios within each round. Absolute numbers hold for this machine only.
//!
//! From the bottom up:
//!
//! - `measurements`: comparisons, samples, and ratios. `settings`: the command line. `machine`: where it was measured.
//! - `affinity`: a processor for the server, and one for the clients.
//! - `usage`, `server`: a process that is measured. `load`, `download`, `websocket_load`, `wrk`: its clients. `counts`: what
//!   it does, counted.
//! - `programs`, `others`, `setup`: the servers that are measured.
//! - `accept`, `http`, `files`, `routes`, `websocket`, `costs`, `memory`, `growth`, `kqueue`: what is measured.
//! - `parts`: what earlier runs measured. `aims`, `summary`, `table`, `chart`, `picture`, `report`, `page`: how the results
//!   are shown.

mod accept;
mod affinity;
mod aims;
mod chart;
mod costs;
pub mod counts;
mod download;
mod files;
mod growth;
mod http;
mod kqueue;
pub mod load;
mod machine;
mod measurements;
mod memory;
mod others;
mod page;
mod parts;
mod picture;
pub mod programs;
mod report;
mod routes;
pub mod server;
mod settings;
mod setup;
mod summary;
mod table;
mod usage;
mod websocket;
mod websocket_load;
mod wrk;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use kqnet_hosts::Result;
use lexopt::Parser;

use crate::{process, repo};
use machine::Machine;
use measurements::Comparison;
use parts::{Part, Run};
use settings::Settings;
use setup::Bench;

type Measure = fn(&Bench) -> Result<Vec<Comparison>>;

/// What can be measured, by name.
const MEASURES: [(&str, Measure); 9] = [
    ("http", http::measure),
    ("files", files::measure),
    ("routes", routes::measure),
    ("websocket", websocket::measure),
    ("costs", costs::measure),
    ("accept", accept::measure),
    ("memory", memory::measure),
    ("growth", growth::measure),
    ("kqueue", kqueue::measure),
];

/// Runs the command.
pub fn run(args: Parser) -> Result<ExitCode> {
    let settings = Settings::parse(args, &MEASURES.map(|(name, _)| name))?;
    if settings.page_only {
        // Nothing is built, so that the page can be made again where the servers are missing.
        write_page(&repo::target().join("bench/parts"), &machine::describe())?;
        return Ok(ExitCode::SUCCESS);
    }
    process::end_groups_on_signals();
    let bench = Bench::new(settings)?;
    let settings = &bench.settings;
    let machine = machine::describe();
    let folder = bench.scratch.join("parts");
    let run = Run {
        date: machine.date.clone(),
        commit: machine.commit.clone(),
        load: machine.load.clone(),
        rounds: settings.rounds,
        seconds: settings.seconds,
    };
    let start = Instant::now();
    let mut measured = Vec::new();
    let mut failures = Vec::new();
    for (name, measure) in MEASURES {
        if !settings.names.is_empty() && settings.names.iter().all(|included| included != name) {
            continue;
        }
        eprintln!("{name}");
        let begin = Instant::now();
        match measure(&bench) {
            Ok(comparisons) => {
                let part = Part { name: name.to_owned(), run: run.clone(), comparisons };
                parts::write(&folder, &part)?;
                measured.push(part);
            }
            Err(message) => failures.push(format!("{name}: {message}")),
        }
        eprintln!("  {name} took {:.0} s", begin.elapsed().as_secs_f64());
    }
    let comparisons: Vec<Comparison> = measured.iter().flat_map(|part| part.comparisons.clone()).collect();
    let aims = aims::aims(&comparisons);
    print!("{}", table::table(&comparisons, &aims));
    report::write(&bench.scratch, &comparisons, &machine, settings)?;
    if settings.page && failures.is_empty() {
        write_page(&folder, &machine)?;
    }
    eprintln!("measured in {:.0} s; measurements.json and pictures are in target/bench", start.elapsed().as_secs_f64());
    for failure in &failures {
        eprintln!("error: {failure}");
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes the page in the order of a whole run, with what earlier runs measured in place of what this one has left out.
fn write_page(folder: &Path, machine: &Machine) -> Result<()> {
    let mut parts = Vec::new();
    for (name, _) in MEASURES {
        parts.extend(parts::read(folder, name)?);
    }
    if parts.is_empty() {
        return Err(format!("nothing was measured yet: there is nothing in {}", folder.display()));
    }
    page::write(&parts, machine)
}
