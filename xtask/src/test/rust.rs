//! The tests that need no Janet, and the checks of the source.

use std::process::Command;

use kqnet_hosts::{Host, Result};

use super::Plan;
use super::count::Count;
use crate::repo;

/// The source is as `cargo fmt` leaves it.
pub fn fmt(plan: &Plan) -> Result<Count> {
    check(plan, "fmt", || {
        let mut cargo = repo::cargo();
        cargo.args(["fmt", "--all", "--check"]);
        Ok(cargo)
    })
}

/// No lint of any crate says anything.
pub fn clippy(plan: &Plan) -> Result<Count> {
    let lints = ["--all-targets", "--", "-D", "warnings"];
    check(plan, "clippy", || clippy_command(&["--workspace"], &lints))
}

/// Nor of the code that is compiled on systems with kqueue.
pub fn clippy_kqueue(plan: &Plan) -> Result<Count> {
    let packages = ["--package", "kqnet", "--package", "kqnet-accept", "--features", "kqnet/emulated-kqueue"];
    check(plan, "clippy-kqueue", || clippy_command(&packages, &["--", "-D", "warnings"]))
}

fn clippy_command(packages: &[&str], lints: &[&str]) -> Result<Command> {
    let mut cargo = repo::cargo();
    cargo
        .args(["clippy", "--quiet"])
        .args(packages)
        .args(lints)
        .env("JANET_HEADERPATH", Host::default().build(&repo::target())?.headers());
    Ok(cargo)
}

/// A command that says nothing when all is well.
fn check(plan: &Plan, name: &str, command: impl FnOnce() -> Result<Command>) -> Result<Count> {
    if !plan.wants(name) {
        return Ok(Count::default());
    }
    let out = command()?.output().map_err(|e| format!("cannot run cargo {name}: {e}"))?;
    if out.status.success() {
        eprintln!("ok    {name}");
        return Ok(Count::PASS);
    }
    eprint!("{}", String::from_utf8_lossy(&out.stdout));
    eprint!("{}", String::from_utf8_lossy(&out.stderr));
    eprintln!("FAIL  {name}; to run it again: cargo xtask test {name}");
    Ok(Count::FAIL)
}

/// `cargo test` of every crate but the module and the bindings, which have none and need a header.
pub fn tests(plan: &Plan) -> Result<Count> {
    const COMMAND: [&str; 7] =
        ["test", "--workspace", "--exclude", "kqnet", "--exclude", "evil-janet", "--no-fail-fast"];
    if !plan.wants("rust") {
        return Ok(Count::default());
    }
    let out = repo::cargo().args(COMMAND).output().map_err(|e| format!("cannot run cargo test: {e}"))?;
    let stdout = String::from_utf8_lossy(&out.stdout);
    let mut count = Count::cargo(&stdout);
    if out.status.success() {
        eprintln!("ok    rust: {count}");
        return Ok(count);
    }
    // It did not compile, or a test took the process with it.
    count.failed = count.failed.max(1);
    eprint!("{stdout}{}", String::from_utf8_lossy(&out.stderr));
    eprintln!("FAIL  rust: {count}; to run it again: cargo xtask test rust");
    for test in stdout.lines().filter_map(failed_test) {
        eprintln!("      to run one again: cargo test --workspace --exclude kqnet --exclude evil-janet {test}");
    }
    Ok(count)
}

/// The test's name in `test NAME ... FAILED`.
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_test_is_named() {
        assert_eq!(failed_test("test queue::wakes ... FAILED"), Some("queue::wakes"));
        assert_eq!(failed_test("test queue::wakes ... ok"), None);
    }
}
