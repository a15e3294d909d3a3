//! The steps that need no Janet: the checks of the source, and the tests of the crates.

use std::process::Command;
use std::time::Instant;

use kqnet_hosts::{Host, KERNELS, Result};

use super::plan::Plan;
use super::tally::Tally;
use crate::repo;

/// The packages that cargo tests: all but the module and the bindings, which have no tests and need a header.
const TESTED: &[&str] = &["--workspace", "--exclude", "kqnet", "--exclude", "evil-janet"];

/// Whether kqueue is emulated, which it is on Linux only.
const EMULATED: bool = cfg!(target_os = "linux");
const NOT_EMULATED: &[&str] = if EMULATED { &[] } else { &["--exclude", "kqueue-emu"] };

/// Checks that `cargo fmt` would change nothing.
pub fn format(plan: &Plan) -> Result<Tally> {
    check(plan, "fmt", || {
        let mut cargo = repo::cargo();
        cargo.args(["fmt", "--all", "--check"]);
        Ok(cargo)
    })
}

/// Checks that clippy has no complaint about any crate. A quick run leaves out their tests.
pub fn clippy(plan: &Plan) -> Result<Tally> {
    let packages = [&["--workspace"], NOT_EMULATED].concat();
    let lints = ["--all-targets", "--", "-D", "warnings"];
    check(plan, "clippy", || clippy_command(&packages, if plan.is_quick_run() { &lints[1..] } else { &lints }))
}

/// Checks the same for the code that is compiled on systems with kqueue.
pub fn clippy_kqueue(plan: &Plan) -> Result<Tally> {
    if !EMULATED {
        return Ok(Tally::default());
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

/// Runs a command of cargo, and shows its output if it fails.
fn check(plan: &Plan, name: &str, command: impl FnOnce() -> Result<Command>) -> Result<Tally> {
    if !plan.includes(name) {
        return Ok(Tally::default());
    }
    let start = Instant::now();
    let out = command()?.output().map_err(|e| format!("cannot run cargo {name}: {e}"))?;
    if out.status.success() {
        eprintln!("ok    {name} in {:.1} s", start.elapsed().as_secs_f64());
        return Ok(Tally::PASS);
    }
    eprint!("{}", String::from_utf8_lossy(&out.stdout));
    eprint!("{}", String::from_utf8_lossy(&out.stderr));
    eprintln!("FAIL  {name}; to run it again: cargo xtask test {name}");
    Ok(Tally::FAIL)
}

/// The crates that only handle bytes. Their tests compile fast, and some of them run for as long as the environment says.
const PARSERS: [&str; 8] = [
    "--package",
    "kqnet-http1",
    "--package",
    "kqnet-multipart",
    "--package",
    "kqnet-proxy",
    "--package",
    "kqnet-websocket",
];

/// Runs every test of every crate. A quick run has fewer random cases, and only the crates of [`PARSERS`].
pub fn tests(plan: &Plan) -> Result<Tally> {
    if plan.is_quick_run() {
        return cargo_test(plan, "rust", &PARSERS, &[], &[("CASES", "3000")]);
    }
    cargo_test(plan, "rust", &[TESTED, NOT_EMULATED].concat(), &[], &[])
}

/// Runs the accept policy with the semantics of every kernel: on the simulated kernels with many random histories, and
/// on real sockets, also with few descriptors.
pub fn kernels(plan: &Plan) -> Result<Tally> {
    const PACKAGE: [&str; 4] = ["--package", "kqnet-accept", "--features", "emulated-kqueue"];
    if !EMULATED {
        return Ok(Tally::default());
    }
    let simulated = [&PACKAGE[..], &["--test", "kernels"]].concat();
    let mut total = cargo_test(plan, "kernels", &simulated, &[], &[("CASES", "20000")])?;
    total += cargo_test(plan, "kernels-room", &[&PACKAGE[..], &["--test", "room"]].concat(), &[], &[])?;
    let real = [&PACKAGE[..], &["--test", "system"]].concat();
    for kernel in KERNELS {
        total += cargo_test(plan, &format!("kernels-{kernel}"), &real, &[], &[("KQUEUE_EMU_KERNEL", kernel)])?;
    }
    Ok(total)
}

/// Compares the parsers with reference parsers on generated inputs, and on changed ones as a fuzzer would: on as many as 4
/// seconds allow for each test. `rust` has some of all.
pub fn agreement(plan: &Plan) -> Result<Tally> {
    let test = [&["--release"], &PARSERS[..], &["--test", "agreement", "--test", "fuzz"]].concat();
    // Linking each test with the profile's optimization would take longer than the tests.
    let variables = [("SECONDS", "4"), ("CARGO_PROFILE_RELEASE_LTO", "off")];
    cargo_test(plan, "agreement", &test, &["--include-ignored"], &variables)
}

/// Runs `cargo test` for these packages, with these arguments for the tests themselves and these environment variables.
fn cargo_test(
    plan: &Plan,
    name: &str,
    packages: &[&str],
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Result<Tally> {
    if !plan.includes(name) {
        return Ok(Tally::default());
    }
    let mut cargo = repo::cargo();
    cargo.arg("test").args(packages).arg("--no-fail-fast").arg("--").args(arguments).envs(variables.iter().copied());
    let start = Instant::now();
    let out = cargo.output().map_err(|e| format!("cannot run cargo test: {e}"))?;
    let stdout = String::from_utf8_lossy(&out.stdout);
    let mut count = Tally::cargo(&stdout);
    if out.status.success() {
        eprintln!("ok    {name}: {count} in {:.1} s", start.elapsed().as_secs_f64());
        return Ok(count);
    }
    // It counts as a failure too if it did not compile, or if a test ended the process.
    count.failed = count.failed.max(1);
    eprint!("{stdout}{}", String::from_utf8_lossy(&out.stderr));
    eprintln!("FAIL  {name}: {count}; to run it again: cargo xtask test {name}");
    let variables: String = variables.iter().map(|(variable, value)| format!("{variable}={value} ")).collect();
    for test in stdout.lines().filter_map(failed_test) {
        eprintln!("      to run one again: {variables}cargo test {} {test}", packages.join(" "));
    }
    Ok(count)
}

/// The name of the test in a line `test NAME ... FAILED`.
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
