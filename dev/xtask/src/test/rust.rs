//! The tests that need no Janet, and the checks of the source.

use std::process::Command;

use kqnet_hosts::{Host, KERNELS, Result};

use super::count::Count;
use super::{Plan, Step};
use crate::repo;

/// All of them, in the order in which they are run.
pub const STEPS: [Step; 6] = [fmt, clippy, clippy_kqueue, tests, kernels, agreement];

/// What cargo tests: not the module and the bindings, which have no tests and need a header.
const TESTED: &[&str] = &["--workspace", "--exclude", "kqnet", "--exclude", "evil-janet"];

/// The emulation of kqueue is for Linux.
const EMULATED: bool = cfg!(target_os = "linux");
const NOT_EMULATED: &[&str] = if EMULATED { &[] } else { &["--exclude", "kqueue-emu"] };

/// The source is as `cargo fmt` leaves it.
fn fmt(plan: &Plan) -> Result<Count> {
    check(plan, "fmt", || {
        let mut cargo = repo::cargo();
        cargo.args(["fmt", "--all", "--check"]);
        Ok(cargo)
    })
}

/// No lint of any crate says anything.
fn clippy(plan: &Plan) -> Result<Count> {
    let packages = [&["--workspace"], NOT_EMULATED].concat();
    check(plan, "clippy", || clippy_command(&packages, &["--all-targets", "--", "-D", "warnings"]))
}

/// Nor of the code that is compiled on systems with kqueue.
fn clippy_kqueue(plan: &Plan) -> Result<Count> {
    if !EMULATED {
        return Ok(Count::default());
    }
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

/// Every test of every crate.
fn tests(plan: &Plan) -> Result<Count> {
    cargo_test(plan, "rust", &[TESTED, NOT_EMULATED].concat(), &[], &[])
}

/// The accept policy on the semantics of every kernel: simulated, with 100,000 histories, and on real sockets, with few
/// descriptors too.
fn kernels(plan: &Plan) -> Result<Count> {
    const PACKAGE: [&str; 4] = ["--package", "kqnet-accept", "--features", "emulated-kqueue"];
    if !EMULATED {
        return Ok(Count::default());
    }
    let cases = if plan.quick { "2000" } else { "20000" };
    let simulated = [&PACKAGE[..], &["--test", "kernels"]].concat();
    let mut total = cargo_test(plan, "kernels", &simulated, &[], &[("CASES", cases)])?;
    total += cargo_test(plan, "kernels-room", &[&PACKAGE[..], &["--test", "room"]].concat(), &[], &[])?;
    let real = [&PACKAGE[..], &["--test", "system"]].concat();
    for kernel in KERNELS {
        total += cargo_test(plan, &format!("kernels-{kernel}"), &real, &[], &[("KQUEUE_EMU_KERNEL", kernel)])?;
    }
    Ok(total)
}

/// The HTTP parsers against the reference ones, for as many requests as 20 seconds allow.
fn agreement(plan: &Plan) -> Result<Count> {
    let seconds = if plan.quick { "2" } else { "20" };
    let test = ["--release", "--package", "kqnet-http1", "--test", "agreement"];
    cargo_test(plan, "agreement", &test, &["--ignored"], &[("SECONDS", seconds)])
}

/// `cargo test`, which is run with these arguments, those for the tests themselves, and these variables.
fn cargo_test(
    plan: &Plan,
    name: &str,
    packages: &[&str],
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Result<Count> {
    if !plan.wants(name) {
        return Ok(Count::default());
    }
    let mut cargo = repo::cargo();
    cargo.arg("test").args(packages).arg("--no-fail-fast").arg("--").args(arguments).envs(variables.iter().copied());
    let out = cargo.output().map_err(|e| format!("cannot run cargo test: {e}"))?;
    let stdout = String::from_utf8_lossy(&out.stdout);
    let mut count = Count::cargo(&stdout);
    if out.status.success() {
        eprintln!("ok    {name}: {count}");
        return Ok(count);
    }
    // It did not compile, or a test took the process with it.
    count.failed = count.failed.max(1);
    eprint!("{stdout}{}", String::from_utf8_lossy(&out.stderr));
    eprintln!("FAIL  {name}: {count}; to run it again: cargo xtask test {name}");
    let variables: String = variables.iter().map(|(variable, value)| format!("{variable}={value} ")).collect();
    for test in stdout.lines().filter_map(failed_test) {
        eprintln!("      to run one again: {variables}cargo test {} {test}", packages.join(" "));
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
