//! Counts what a server does for each connection or request: system calls with strace, instructions with callgrind.
//!
//! Each count is the difference of two runs that differ only in how much they serve, so that starting up does not
//! count.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kqnet_hosts::Result;

use super::load::{self, End, Talk};
use super::server::Program;
use crate::{repo, tools};

/// What was counted for each connection or request, by name.
pub type Counts = BTreeMap<String, f64>;

/// The reason why something cannot be counted on this machine, if there is one.
pub fn cannot(tool: &str) -> Option<String> {
    (!tools::on_path(tool)).then(|| format!("{tool} is not installed (on Debian: apt-get install {tool})"))
}

/// System calls for each exchange, by name.
pub fn system_calls(program: &Program, talk: Talk, clients: usize, count: u64) -> Result<Counts> {
    let out = scratch("strace.out")?;
    let wrapper = ["strace", "-f", "-c", "-o"].map(OsString::from);
    difference(talk, clients, count, |served| {
        let wrapper: Vec<OsString> = wrapper.iter().cloned().chain([out.clone().into()]).collect();
        serve(program, &wrapper, talk, clients, served)?;
        Ok(parse_strace(&read(&out)?))
    })
}

/// Instructions for each exchange.
pub fn instructions(program: &Program, talk: Talk, clients: usize, count: u64) -> Result<f64> {
    let out = scratch("callgrind.out")?;
    let counts = difference(talk, clients, count, |served| {
        let mut file = OsString::from("--callgrind-out-file=");
        file.push(&out);
        serve(program, &["valgrind".into(), "--tool=callgrind".into(), file], talk, clients, served)?;
        parse_callgrind(&read(&out)?).ok_or_else(|| "callgrind wrote no sum".to_owned())
    })?;
    Ok(total(&counts))
}

/// Instructions for each thing that a command does `count` times. `command` makes one that does it so many times and ends.
pub fn of_command(count: usize, command: impl Fn(usize) -> Command) -> Result<f64> {
    let out = scratch("callgrind.out")?;
    let run = |count: usize| {
        let plain = command(count);
        let mut under = Command::new("valgrind");
        under.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", out.display()));
        under.arg(plain.get_program()).args(plain.get_args());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => under.env(name, value),
                None => under.env_remove(name),
            };
        }
        let ended = under.stdin(Stdio::null()).output().map_err(|e| format!("cannot run valgrind: {e}"))?;
        if !ended.status.success() {
            return Err(format!("under valgrind: {}", String::from_utf8_lossy(&ended.stderr).trim()));
        }
        parse_callgrind(&read(&out)?).map(|counts| total(&counts)).ok_or_else(|| "callgrind wrote no sum".to_owned())
    };
    Ok((run(2 * count)? - run(count)?) / count as f64)
}

/// System calls that a kernel with kqueue would get for each exchange, by name. A library compiled from calls.c counts
/// them on the emulated kqueue.
pub fn emulated_calls(program: &Program, library: &Path, talk: Talk, clients: usize, count: u64) -> Result<Counts> {
    let out = scratch("calls.out")?;
    let program = program.clone().env("LD_PRELOAD", library).env("KQNET_CALLS", &out);
    difference(talk, clients, count, |served| {
        serve(&program, &[], talk, clients, served)?;
        Ok(parse_calls(&read(&out)?))
    })
}

/// The sum of what was counted.
pub fn total(counts: &Counts) -> f64 {
    counts.values().sum()
}

fn difference(talk: Talk, clients: usize, count: u64, mut run: impl FnMut(u64) -> Result<Counts>) -> Result<Counts> {
    // Enough that both runs have the same number of connections, if these are kept.
    let is_kept = matches!(talk, Talk::Requests | Talk::InStep);
    let less = if is_kept { (count / 2).max(2 * clients as u64) } else { count / 2 };
    let (few, many) = (run(less)?, run(less + count)?);
    let per_one = |(name, all): (&String, &f64)| (name.clone(), (all - few.get(name).unwrap_or(&0.0)) / count as f64);
    Ok(many.iter().map(per_one).collect())
}

fn serve(program: &Program, wrapper: &[OsString], talk: Talk, clients: usize, count: u64) -> Result<()> {
    let server = program.start_under(wrapper, 1)?;
    let done = load::run(talk, &server.ports, clients, End::Count(count))?;
    server.finish()?;
    if done.failed > 0 {
        return Err(format!("{} failed at {} of {count}", program.name, done.failed));
    }
    Ok(())
}

fn scratch(name: &str) -> Result<PathBuf> {
    let folder = repo::target().join("bench");
    fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    Ok(folder.join(format!("{name}.{}", std::process::id())))
}

fn read(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path)
        .map_err(|e| format!("cannot read {}: {e}; see target/bench/server.log", path.display()))?;
    // A run that writes nothing must not be mistaken for the one before.
    fs::remove_file(path).map_err(|e| format!("cannot remove {}: {e}", path.display()))?;
    Ok(text)
}

/// Reads the lines of strace -c: share, seconds, time of a call, calls, errors if there are any, name.
fn parse_strace(text: &str) -> Counts {
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let name = (*fields.last()?).to_owned();
        Some((name, fields.get(3)?.parse().ok()?))
    };
    text.lines().filter_map(row).filter(|(name, _)| name != "total").collect()
}

fn parse_callgrind(text: &str) -> Option<Counts> {
    let sum = text.lines().find_map(|line| line.strip_prefix("summary: ").or(line.strip_prefix("totals: ")))?;
    Some(BTreeMap::from([("instructions".to_owned(), sum.trim().parse().ok()?)]))
}

fn parse_calls(text: &str) -> Counts {
    let row = |line: &str| {
        let (name, count) = line.split_once(' ')?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    text.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_strace_is_read() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
                    ------ ----------- ----------- --------- --------- ----------------\n \
                    50.00    0.000010           1        12         3 accept4\n \
                    50.00    0.000010           1         7           close\n\
                    ------ ----------- ----------- --------- --------- ----------------\n\
                    100.00    0.000020           1        19         3 total\n";
        let expected = [("accept4".to_owned(), 12.0), ("close".to_owned(), 7.0)];
        assert_eq!(parse_strace(text), BTreeMap::from(expected));
    }

    #[test]
    fn the_sum_of_callgrind_is_read() {
        assert_eq!(parse_callgrind("events: Ir\nsummary: 42\n").map(|counts| total(&counts)), Some(42.0));
    }
}
