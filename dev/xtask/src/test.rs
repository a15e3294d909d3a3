//! `cargo xtask test`: every test. [`STEPS`] is a full run from its beginning to its end. [`QUICK`] is what a quick run does.
//!
//! - `plan`: what the command line asks for. `matrix`: which hosts there are, and which files of test/ each runs.
//! - `builds`: interpreters and modules, built once for all steps. `parallel`: many tests at the same time. `tally`:
//!   how many passed, failed and were skipped.
//! - `rust`, `workflow`, `msrv`, `bindings`, `c_api`, `counts`, `burst`, `janet`: the steps.

mod bindings;
mod builds;
mod burst;
mod c_api;
mod counts;
mod janet;
pub mod matrix;
mod msrv;
mod parallel;
mod plan;
mod rust;
mod tally;
mod workflow;

use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use kqnet_hosts::Result;
use lexopt::Parser;

use crate::{process, tools};
use plan::Plan;
use tally::Tally;

/// A part of a run. It does nothing if the filters exclude it.
type Step = fn(&Plan) -> Result<Tally>;

/// A full run, in its order.
const STEPS: [Step; 13] = [
    // The source.
    rust::format,
    rust::clippy,
    rust::clippy_kqueue,
    workflow::tests,
    // The crates, which need no Janet.
    rust::tests,
    rust::kernels,
    rust::agreement,
    msrv::tests,
    // The module, and its costs.
    bindings::tests,
    c_api::tests,
    counts::tests,
    // Servers on every host.
    burst::tests,
    janet::tests,
];

/// A quick run, for two processors: while one list compiles, the other one waits for servers.
const QUICK: [&[Step]; 2] = [&[rust::format, rust::clippy, rust::tests], &[janet::tests]];

/// Runs what the command line asks for. The exit status is 1 if a test failed.
///
/// # Errors
/// Returns an error if nothing matches the filters, or if something that the tests need is missing.
pub fn run(args: Parser) -> Result<ExitCode> {
    let plan = Plan::parse(args)?;
    if plan.is_quick_run() { run_steps(&plan, &QUICK) } else { run_steps(&plan, &[&STEPS]) }
}

/// Runs the files of test/ on the hosts for arm64: those with one of the filters in their names, or all that are meant
/// for it.
///
/// # Errors
/// As for [`run`].
pub fn arm64(filters: Vec<String>) -> Result<ExitCode> {
    let plan = Plan { hosts: matrix::arm64()?, filters, ..Plan::default() };
    run_steps(&plan, &[&[janet::tests]])
}

/// Runs lists of steps at the same time.
fn run_steps(plan: &Plan, lists: &[&[Step]]) -> Result<ExitCode> {
    process::end_groups_on_signals();
    process::raise_descriptor_limit();
    tools::c_compiler()?;

    let start = Instant::now();
    let mut total = Tally::default();
    let run = |steps: &[Step]| {
        steps.iter().try_fold(Tally::default(), |mut sum, step| {
            sum += step(plan)?;
            Ok(sum)
        })
    };
    let results: Vec<Result<Tally>> = thread::scope(|scope| {
        let threads: Vec<_> = lists.iter().map(|&steps| scope.spawn(move || run(steps))).collect();
        threads
            .into_iter()
            .map(|one| one.join().unwrap_or_else(|_| Err("a step panicked: see above".to_owned())))
            .collect()
    });
    for result in results {
        total += result?;
    }
    if total == Tally::default() {
        return Err(format!("no test has one of these in its name: {}", plan.filters.join(", ")));
    }
    eprintln!("done in {:.0} s", start.elapsed().as_secs_f64());
    println!("{total}");
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
