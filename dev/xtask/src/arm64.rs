//! `cargo xtask arm64`: the Janet tests on Linux for arm64, which QEMU runs.
//!
//! A Janet for arm64 has values of its own up to 1.41 (16 bytes), and no other test executes what is compiled for it.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use kqnet_hosts::{ARM64_COMPILER, Result};
use lexopt::{Arg, Parser};

use crate::{options, repo, test, tools};

/// The target, as cargo names it.
pub const TRIPLE: &str = "aarch64-unknown-linux-gnu";

/// The exit status that says that nothing could be tried.
const SKIPPED: u8 = 77;

/// Runs the tests. The exit status is 77 when a tool is missing and cannot be installed.
pub fn run(mut args: Parser) -> Result<ExitCode> {
    let mut filters = Vec::new();
    while let Some(arg) = args.next().map_err(|e| e.to_string())? {
        match arg {
            Arg::Value(filter) => filters.push(filter.to_string_lossy().into_owned()),
            other => return Err(options::unknown(&other, "parts of the names of files under test/")),
        }
    }
    if let Err(message) = tools::arm64().and_then(|()| rustc().map(drop)) {
        eprintln!("skipped: {message}");
        println!("0 passed, 0 failed, 1 skipped");
        return Ok(ExitCode::from(SKIPPED));
    }
    test::arm64(filters)
}

/// Makes a cargo build for arm64.
pub fn set_up(cargo: &mut Command) -> Result<()> {
    tools::arm64()?;
    cargo
        .args(["--target", TRIPLE])
        .env("RUSTC", rustc()?)
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", ARM64_COMPILER)
        .env("CC_aarch64_unknown_linux_gnu", ARM64_COMPILER);
    Ok(())
}

/// A compiler that has the standard library for arm64: Debian's, since rustup's is not to be had everywhere.
fn rustc() -> Result<String> {
    let out = Command::new(repo::root().join("dev/xtask/debian-rust.sh"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("cannot run dev/xtask/debian-rust.sh: {e}"))?;
    let rustc = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    let none = || "there is no Rust compiler for arm64: see above".to_owned();
    if !out.status.success() {
        return Err(none());
    }
    let library = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", TRIPLE])
        .output()
        .map_err(|e| format!("cannot run {rustc}: {e}"))?;
    let library = String::from_utf8_lossy(&library.stdout).trim().to_owned();
    if Path::new(&library).is_dir() { Ok(rustc) } else { Err(none()) }
}
