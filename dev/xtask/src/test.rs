//! `cargo xtask test`: every test, and one line at the end that sums them.

mod bindings;
mod burst;
mod c_api;
mod count;
mod counts;
mod janet;
mod matrix;
mod rust;
mod workshop;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Display;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use kqnet_hosts::{Host, Result};
use lexopt::{Arg, Parser};

use crate::{options, process, tools};
use count::Count;
use matrix::Files;
use workshop::Workshop;

/// A part of a run, which does nothing where it was not asked for.
type Step = fn(&Plan) -> Result<Count>;

/// What the command line asks for.
struct Plan {
    quick: bool,
    /// The hosts, and what of test/ each runs.
    hosts: Vec<(Host, Files)>,
    jobs: usize,
    deadline: Duration,
    filters: Vec<String>,
    workshop: RefCell<Workshop>,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            quick: false,
            hosts: Vec::new(),
            jobs: thread::available_parallelism().map_or(1, usize::from),
            deadline: Duration::from_secs(600),
            filters: Vec::new(),
            workshop: RefCell::default(),
        }
    }
}

impl Plan {
    fn parse(mut args: Parser) -> Result<Self> {
        let mut plan = Plan::default();
        let mut all = false;
        while let Some(arg) = args.next().map_err(|e| e.to_string())? {
            match arg {
                Arg::Long("quick") => plan.quick = true,
                Arg::Long("all") => all = true,
                Arg::Long("host") => plan.hosts.push(matrix::alone(&options::text(&mut args)?)?),
                Arg::Long("jobs") => plan.jobs = options::number(&mut args, "--jobs", 1)?,
                Arg::Long("deadline") => {
                    plan.deadline = Duration::from_secs(options::number(&mut args, "--deadline", 1)?);
                }
                Arg::Value(filter) => plan.filters.push(filter.to_string_lossy().into_owned()),
                other => {
                    let allowed = "--quick, --all, --host, --jobs, --deadline, and parts of names";
                    return Err(options::unknown(&other, allowed));
                }
            }
        }
        if plan.hosts.is_empty() {
            plan.hosts = if plan.quick { matrix::quick()? } else { matrix::full()? };
        }
        if all {
            plan.hosts.iter_mut().filter(|(_, files)| *files != Files::Long).for_each(|(_, files)| *files = Files::All);
        }
        Ok(plan)
    }

    /// Whether a step or file of this name was asked for.
    fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }
}

/// Runs what was asked for; fails when one test did, or none ran.
pub fn run(args: Parser) -> Result<ExitCode> {
    let plan = Plan::parse(args)?;
    let mut steps: Vec<Step> = rust::STEPS.to_vec();
    steps.extend([bindings::tests as Step, c_api::tests, counts::tests, burst::tests, janet::tests]);
    run_steps(&plan, &steps)
}

/// Runs files of test/ on the hosts for arm64; those that have one of these in their names, or all of the choice.
pub fn arm64(filters: Vec<String>) -> Result<ExitCode> {
    let plan = Plan { hosts: matrix::arm64()?, filters, ..Plan::default() };
    run_steps(&plan, &[janet::tests])
}

fn run_steps(plan: &Plan, steps: &[Step]) -> Result<ExitCode> {
    process::end_groups_on_signals();
    process::raise_descriptor_limit();
    tools::c_compiler()?;

    let start = Instant::now();
    let mut total = Count::default();
    for step in steps {
        total += step(plan)?;
    }
    if total == Count::default() {
        return Err(format!("no test has one of these in its name: {}", plan.filters.join(", ")));
    }
    eprintln!("done in {:.0} s", start.elapsed().as_secs_f64());
    println!("{total}");
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs each case, some at a time. Some measure or race, so one that fails is run again when all are done, on its own:
/// what it finds then counts. Those that pass then are named at the end, since they may have found something rare.
fn in_parallel<T: Send + Display>(jobs: usize, cases: VecDeque<T>, run: impl Fn(&T) -> Count + Sync) -> Count {
    let cases = Mutex::new(cases);
    let total = Mutex::new(Count::default());
    let again = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let next = cases.lock().unwrap_or_else(|e| e.into_inner()).pop_front();
                    let Some(case) = next else { break };
                    let count = run(&case);
                    if count.failed == 0 {
                        *total.lock().unwrap_or_else(|e| e.into_inner()) += count;
                    } else {
                        again.lock().unwrap_or_else(|e| e.into_inner()).push(case);
                    }
                }
            });
        }
    });
    let mut total = total.into_inner().unwrap_or_else(|e| e.into_inner());
    let mut only_alone = Vec::new();
    for case in again.into_inner().unwrap_or_else(|e| e.into_inner()) {
        eprintln!("once more, on its own: {case}");
        let count = run(&case);
        if count.failed == 0 {
            only_alone.push(case.to_string());
        }
        total += count;
    }
    if !only_alone.is_empty() {
        eprintln!("failed among others and passed on their own: {}", only_alone.join(", "));
    }
    total
}
