//! The step that runs the tests in test/, on every host.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kqnet_hosts::Result;

use super::matrix::Files;
use super::parallel::in_parallel;
use super::plan::Plan;
use super::tally::Tally;
use crate::{process, repo, spork};

/// One test file on one host.
struct Case {
    host: String,
    janet: PathBuf,
    janet_path: PathBuf,
    /// The name of the file in test/, without its suffix.
    file: String,
    /// Whether files that would take minutes run for a shorter time.
    quick: bool,
}

/// Runs every file under test/ that the plan includes, on every host that is to run it.
pub fn tests(plan: &Plan) -> Result<Tally> {
    let files = files(plan)?;
    let mut total = Tally::default();
    let hosts: Vec<_> = plan.hosts.iter().filter(|(_, which)| files.iter().any(|file| which.include(file))).collect();
    let builds = plan.build(hosts.iter().map(|(host, _)| host));
    let mut cases = VecDeque::new();
    for (host, which) in hosts {
        match builds.get(host).and_then(|ready| Ok((ready.janet, spork::beside(&ready.module)?))) {
            Ok((janet, janet_path)) => cases.extend(files.iter().filter(|file| which.include(file)).map(|file| Case {
                host: host.to_string(),
                janet: janet.clone(),
                janet_path: janet_path.clone(),
                file: file.clone(),
                quick: *which != Files::Long,
            })),
            Err(message) => {
                eprintln!("FAIL  {host}: {message}");
                total += Tally::FAIL;
            }
        }
    }
    let deadline = plan.deadline;
    total += in_parallel(plan.jobs, cases, |case| case.run(deadline));
    Ok(total)
}

fn files(plan: &Plan) -> Result<Vec<String>> {
    let folder = repo::root().join("test");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|e| format!("cannot read {}: {e}", folder.display()))? {
        let name = entry
            .map_err(|e| format!("cannot read {}: {e}", folder.display()))?
            .file_name()
            .to_string_lossy()
            .into_owned();
        if let Some(stem) = name.strip_suffix(".janet").filter(|stem| plan.includes(stem)) {
            files.push(stem.to_owned());
        }
    }
    files.sort();
    Ok(files)
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.host, self.file)
    }
}

impl Case {
    fn run(&self, deadline: Duration) -> Tally {
        let start = Instant::now();
        let (count, why) = match self.output(deadline) {
            Ok((output, ended)) => result(&output, &ended),
            Err(message) => (Tally::FAIL, Some(message)),
        };
        let seconds = start.elapsed().as_secs_f64();
        let Case { host, file, .. } = self;
        match why {
            None => eprintln!("ok    {self}: {count} in {seconds:.1} s"),
            Some(why) => eprintln!(
                "{why}\nFAIL  {self}: {count} in {seconds:.1} s; to run it again: \
                 cargo xtask test --host {host} {file}"
            ),
        }
        count
    }

    /// Runs the file. Returns what it printed, and how it ended.
    fn output(&self, deadline: Duration) -> Result<(String, Ended)> {
        let folder = repo::target().join("test-output").join(&self.host);
        let log = folder.join(format!("{}.log", self.file));
        let cannot = |e: std::io::Error| format!("cannot write {}: {e}", log.display());
        fs::create_dir_all(&folder).map_err(cannot)?;
        // Written to a file and not to a pipe: a process that a test leaves behind would keep a pipe open.
        let out = File::create(&log).map_err(cannot)?;
        let err = out.try_clone().map_err(cannot)?;
        let mut command = Command::new(&self.janet);
        command
            .arg(format!("test/{}.janet", self.file))
            .current_dir(repo::root())
            .env("JANET_PATH", &self.janet_path)
            .env_remove("JANET_PROFILE")
            // For tests that measure, since a sanitizer changes memory, time and system calls.
            .env("KQNET_HOST", &self.host)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err);
        if self.quick {
            command.env("KQNET_TEST_QUICK", "1");
        }
        let status =
            process::run(&mut command, deadline).map_err(|e| format!("cannot run {}: {e}", self.janet.display()))?;
        let ended = match status {
            Some(status) if status.success() => Ended::Well,
            Some(status) => Ended::Badly(status.to_string()),
            None => Ended::Badly(format!("killed: it had not ended after {} s", deadline.as_secs())),
        };
        let bytes = fs::read(&log).map_err(|e| format!("cannot read {}: {e}", log.display()))?;
        Ok((String::from_utf8_lossy(&bytes).into_owned(), ended))
    }
}

enum Ended {
    Well,
    Badly(String),
}

/// How the run of a file counts, and what to print if it is a failure.
fn result(output: &str, ended: &Ended) -> (Tally, Option<String>) {
    let closing = Tally::closing(output);
    let mut count = closing.unwrap_or_default();
    let why = match (ended, closing) {
        (Ended::Well, Some(count)) if count.failed == 0 => return (count, None),
        (Ended::Well, Some(_)) => "failures".to_owned(),
        (Ended::Well, None) => "ended without the line `N passed, N failed, N skipped`".to_owned(),
        (Ended::Badly(how), _) => how.clone(),
    };
    count.failed = count.failed.max(1);
    (count, Some(format!("{output}\n{why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "2 passed, 0 failed, 1 skipped\n";

    #[test]
    fn a_file_that_ends_well_with_its_closing_line_passes() {
        assert_eq!(result(GOOD, &Ended::Well), (Tally { passed: 2, failed: 0, skipped: 1 }, None));
    }

    #[test]
    fn a_file_that_ends_otherwise_is_a_failure() {
        let badly = Ended::Badly("exit status: 1".to_owned());
        for (output, ended, passed) in [(GOOD, &badly, 2), ("", &Ended::Well, 0), ("", &badly, 0)] {
            let (count, why) = result(output, ended);
            assert_eq!((count.passed, count.failed), (passed, 1));
            assert!(why.is_some());
        }
    }
}
