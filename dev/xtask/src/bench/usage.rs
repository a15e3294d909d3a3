//! How much processor time and memory a process has used.

use std::fs;
use std::process::Command;

use kqnet_hosts::Result;

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Processor time, in seconds.
    pub cpu: f64,
    /// Resident memory, in bytes.
    pub resident: f64,
}

/// Asks the system about a process.
pub fn of(pid: u32) -> Result<Usage> {
    linux(pid).or_else(|| portable(pid)).ok_or_else(|| format!("the system does not say what process {pid} uses"))
}

/// Reads /proc, which has processor time in nanoseconds.
fn linux(pid: u32) -> Option<Usage> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        nanoseconds += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    let memory = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: f64 = memory.split_whitespace().nth(1)?.parse().ok()?;
    // SAFETY: sysconf has no memory preconditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as f64;
    Some(Usage { cpu: nanoseconds as f64 / 1e9, resident: pages * page })
}

/// Asks ps, which has processor time in hundredths of a second on macOS and the BSDs.
fn portable(pid: u32) -> Option<Usage> {
    let out = Command::new("ps").args(["-o", "time=,rss=", "-p", &pid.to_string()]).output().ok()?;
    parse_ps(&String::from_utf8_lossy(&out.stdout))
}

/// `[[hours:]minutes:]seconds KIB`
fn parse_ps(line: &str) -> Option<Usage> {
    let mut fields = line.split_whitespace();
    let cpu = fields.next()?.split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.parse::<f64>().ok()?))?;
    Some(Usage { cpu, resident: fields.next()?.parse::<f64>().ok()? * 1024.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_ps_is_read() {
        let usage = parse_ps("  1:02.50  2048\n").expect("a line of ps");
        assert_eq!((usage.cpu, usage.resident), (62.5, 2097152.0));
        assert!(parse_ps("").is_none());
    }
}
