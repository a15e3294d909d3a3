//! What a run of `cargo xtask test` is to do, as the command line says.

use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use kqnet_hosts::{Host, Result};
use lexopt::{Arg, Parser};

use super::builds::Builds;
use super::matrix::{self, Files};
use crate::module::Code;
use crate::options;

/// What is to be run, and how.
pub struct Plan {
    /// Whether this is the quick run. Filters can ask for what is not in it.
    pub quick: bool,
    /// The hosts, and which files of test/ each runs.
    pub hosts: Vec<(Host, Files)>,
    /// How many cases run at the same time, as `jobs` says unless the command line does.
    pub jobs: usize,
    /// After how long a test file is killed.
    pub deadline: Duration,
    /// Parts of the names of what is run; everything if there are none.
    pub filters: Vec<String>,
    /// The interpreters and modules that the steps share.
    pub builds: Mutex<Builds>,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            quick: false,
            hosts: Vec::new(),
            jobs: jobs(thread::available_parallelism().map_or(1, usize::from)),
            deadline: Duration::from_secs(600),
            filters: Vec::new(),
            builds: Mutex::default(),
        }
    }
}

impl Plan {
    /// Reads the command line.
    pub fn parse(mut args: Parser) -> Result<Self> {
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
            plan.hosts = if plan.quick { matrix::quick() } else { matrix::full()? };
        }
        if all {
            plan.hosts.iter_mut().filter(|(_, files)| *files != Files::Long).for_each(|(_, files)| *files = Files::All);
        }
        Ok(plan)
    }

    /// Whether this is the quick run, and nothing but that.
    pub fn is_quick_run(&self) -> bool {
        self.quick && self.filters.is_empty()
    }

    /// How the module is compiled for a host.
    pub fn code(&self, host: &Host) -> Code {
        if self.is_quick_run() { Code::Unoptimized } else { matrix::code(host) }
    }

    /// Builds what these hosts need, unless it was built before. Returns what was built until now.
    pub fn build<'a>(&self, hosts: impl IntoIterator<Item = &'a Host>) -> MutexGuard<'_, Builds> {
        let mut builds = self.builds.lock().unwrap_or_else(|e| e.into_inner());
        builds.build(hosts, |host| self.code(host));
        builds
    }

    /// Whether a step or file of this name was asked for.
    pub fn includes(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }
}

/// How many cases run at the same time on so many processors: half as many again, since a file waits for most of its time.
fn jobs(processors: usize) -> usize {
    processors + processors.div_ceil(2)
}
