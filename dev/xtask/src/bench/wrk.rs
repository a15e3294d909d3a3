//! Runs wrk, which makes HTTP requests.

use std::process::{Command, Stdio};

use kqnet_hosts::Result;

use super::affinity::{self, Role};
use crate::{repo, tools};

/// What clients send.
#[derive(Clone, Copy, Debug)]
pub enum Requests {
    /// One after the other on kept connections.
    Kept,
    /// This many at a time on kept connections.
    Pipelined(u32),
    /// Each on a connection of its own, with `Connection: close`.
    Close,
    /// One after the other on kept connections, each with a body of this many bytes.
    Post(u32),
}

/// The result of a run.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// The number of answers.
    pub requests: f64,
    /// The duration in seconds.
    pub seconds: f64,
    /// Answers with a status from 400 up, and requests without one for 2 s.
    pub errors: f64,
    /// Latencies in microseconds: p50, p99, p99.9.
    pub latency: [f64; 3],
}

/// The reason why wrk cannot be run, if there is one.
pub fn cannot() -> Option<String> {
    (!tools::on_path("wrk")).then(|| "wrk is not installed (on Debian: apt-get install wrk)".to_owned())
}

/// Runs wrk on one thread.
pub fn run(port: u16, path: &str, clients: u32, seconds: u32, requests: Requests) -> Result<Done> {
    let mode = match requests {
        Requests::Kept => vec!["kept".to_owned()],
        Requests::Pipelined(count) => vec!["pipeline".to_owned(), count.to_string()],
        Requests::Close => vec!["close".to_owned()],
        Requests::Post(size) => vec!["post".to_owned(), size.to_string()],
    };
    let mut command = Command::new("wrk");
    affinity::pin(&mut command, Role::Clients);
    let out = command
        .args(["-t1", &format!("-c{clients}"), &format!("-d{seconds}s"), "-s"])
        .arg(repo::root().join("dev/xtask/bench/wrk.lua"))
        .arg(format!("http://127.0.0.1:{port}{path}"))
        .arg("--")
        .args(mode)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("cannot run wrk: {e}"))?;
    let text = String::from_utf8_lossy(&out.stdout);
    parse(&text).ok_or_else(|| format!("wrk gave no result: {text}{}", String::from_utf8_lossy(&out.stderr)))
}

fn parse(text: &str) -> Option<Done> {
    let line = text.lines().find_map(|line| line.strip_prefix("RESULT "))?;
    let numbers: Vec<f64> = line.split(' ').map(str::parse).collect::<std::result::Result<_, _>>().ok()?;
    let [requests, microseconds, errors, p50, p99, p999] = numbers[..] else { return None };
    Some(Done { requests, seconds: microseconds / 1e6, errors, latency: [p50, p99, p999] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_line_is_read() {
        let done = parse("Running 1s test\nRESULT 1000 2000000 0 5 6 7\n").expect("a result");
        assert_eq!((done.requests, done.seconds, done.errors, done.latency), (1000.0, 2.0, 0.0, [5.0, 6.0, 7.0]));
        assert!(parse("Running 1s test\n").is_none());
    }
}
