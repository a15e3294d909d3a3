//! `cargo xtask test`: every test, and one line at the end that sums them.

mod count;
mod janet;
mod rust;

use std::process::ExitCode;
use std::time::Duration;

use kqnet_hosts::{Host, Result};
use lexopt::{Arg, Parser};

use crate::{options, process, tools};
use count::Count;

/// What the command line asks for.
struct Plan {
    quick: bool,
    hosts: Vec<Host>,
    jobs: usize,
    deadline: Duration,
    filters: Vec<String>,
}

impl Plan {
    fn parse(mut args: Parser) -> Result<Self> {
        let mut plan = Plan {
            quick: false,
            hosts: Vec::new(),
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
            deadline: Duration::from_secs(300),
            filters: Vec::new(),
        };
        let mut emulated = false;
        while let Some(arg) = args.next().map_err(|e| e.to_string())? {
            match arg {
                Arg::Long("quick") => plan.quick = true,
                Arg::Long("emulated") => emulated = true,
                Arg::Long("host") => plan.hosts.push(host_named(&options::text(&mut args)?)?),
                Arg::Long("jobs") => plan.jobs = options::number(&mut args, "--jobs", 1)?,
                Arg::Long("deadline") => {
                    plan.deadline = Duration::from_secs(options::number(&mut args, "--deadline", 1)?);
                }
                Arg::Value(filter) => plan.filters.push(filter.to_string_lossy().into_owned()),
                other => {
                    return Err(options::unknown(
                        &other,
                        "--quick, --emulated, --host, --jobs, --deadline, and parts of names",
                    ));
                }
            }
        }
        if plan.hosts.is_empty() {
            plan.hosts = if plan.quick { vec![Host::default()] } else { Host::matrix() };
        }
        if emulated {
            plan.hosts.extend(Host::emulated());
        }
        Ok(plan)
    }

    /// Whether a step or file of this name was asked for.
    fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }
}

fn host_named(name: &str) -> Result<Host> {
    let mut hosts = Host::matrix();
    hosts.extend(Host::emulated());
    let names: Vec<String> = hosts.iter().map(Host::to_string).collect();
    hosts
        .into_iter()
        .find(|host| host.to_string() == name)
        .ok_or_else(|| format!("no host {name}: there are {}", names.join(", ")))
}

/// Runs what was asked for; fails when one test did, or none ran.
pub fn run(args: Parser) -> Result<ExitCode> {
    let plan = Plan::parse(args)?;
    process::end_groups_on_signals();
    tools::c_compiler()?;
    tools::libclang()?;

    let mut total = Count::default();
    for step in [rust::fmt, rust::clippy, rust::clippy_kqueue, rust::tests, janet::tests] {
        total += step(&plan)?;
    }
    if total == Count::default() {
        return Err(format!("no test has one of these in its name: {}", plan.filters.join(", ")));
    }
    println!("{total}");
    Ok(if total.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
