//! Describes the machine that was measured, in general terms that identify nobody.

use std::fs;
use std::process::Command;
use std::thread;

use kqnet_hosts::VERSIONS;

use super::others;
use crate::repo;

/// The machine, the programs on it, and the commit that was measured.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The day of the measurement.
    pub date: String,
    /// The model, as the system names it.
    pub cpu: String,
    /// The number of processors.
    pub cores: usize,
    /// The operating system and its release.
    pub kernel: String,
    /// The load average over the minute before the first measurement.
    pub load: String,
    /// The commit, and whether files were changed since.
    pub commit: String,
    /// The names and versions of the programs that matter.
    pub versions: Vec<(&'static str, String)>,
}

/// Asks the system, and the programs for their versions.
pub fn describe() -> Machine {
    let first = |text: String| text.lines().next().unwrap_or_default().trim().to_owned();
    let versions = [("rustc", "rustc", "-V"), ("C compiler", "cc", "--version"), ("wrk", "wrk", "-v")]
        .into_iter()
        .chain([("strace", "strace", "-V"), ("valgrind", "valgrind", "--version")])
        .map(|(name, program, option)| (name, first(said(program, &[option]))))
        .chain(others::versions())
        .map(|(name, version)| (name, if version.is_empty() { "not installed".to_owned() } else { version }))
        .chain([("Janet", format!("{} and 1.37.1", VERSIONS[VERSIONS.len() - 1]))])
        .collect();
    let changed = !said("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
    let commit = said("git", &["rev-parse", "--short", "HEAD"]);
    Machine {
        date: said("date", &["-u", "+%Y-%m-%d"]),
        cpu: cpu(),
        cores: thread::available_parallelism().map_or(1, usize::from),
        kernel: kernel(),
        load: load(),
        commit: format!("{commit}{}", if changed { ", with changes" } else { "" }),
        versions,
    }
}

/// What a program prints, or nothing if it is not installed.
fn said(program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program).args(arguments).current_dir(repo::root()).output();
    out.map_or_else(|_| String::new(), |out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

fn cpu() -> String {
    let linux = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = linux.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or_else(|| said("sysctl", &["-n", "machdep.cpu.brand_string"]), |(_, model)| model.to_owned())
}

/// The system and its release, without what a distribution or the machine's owner appended.
fn kernel() -> String {
    let (system, release) = (said("uname", &["-s"]), said("uname", &["-r"]));
    format!("{system} {}", release.split(['-', '+']).next().unwrap_or_default())
}

fn load() -> String {
    let linux = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    match linux.split_whitespace().next() {
        Some(load) => load.to_owned(),
        None => said("sysctl", &["-n", "vm.loadavg"]),
    }
}
