//! Compiling for Linux on arm64.

use std::path::Path;
use std::process::{Command, Stdio};

use kqnet_hosts::{ARM64_COMPILER, Result};

use crate::{repo, tools};

/// The target, as cargo names it.
pub const TRIPLE: &str = "aarch64-unknown-linux-gnu";

/// Makes a command of cargo build for arm64.
pub fn set_up(cargo: &mut Command) -> Result<()> {
    tools::arm64()?;
    cargo
        .args(["--target", TRIPLE])
        .env("RUSTC", rustc()?)
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", ARM64_COMPILER)
        .env("CC_aarch64_unknown_linux_gnu", ARM64_COMPILER);
    Ok(())
}

/// The path of a compiler with the standard library for arm64. It is Debian's, since rustup cannot install one
/// everywhere.
pub fn rustc() -> Result<String> {
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
