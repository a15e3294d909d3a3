//! The tools that a fresh machine does not have.
//!
//! They are found or installed, or the error names the command that installs them.

use std::env;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use kqnet_hosts::{ARM64_COMPILER, ARM64_EMULATOR, ARM64_LIBRARIES, Result};

use crate::process;

/// Finds or installs a C compiler.
pub fn c_compiler() -> Result<()> {
    if kqnet_hosts::compiler().is_some() {
        return Ok(());
    }
    install("a C compiler", &["gcc", "libc6-dev"])?;
    kqnet_hosts::compiler().map(drop).ok_or_else(|| "there is still no C compiler on the PATH".to_owned())
}

/// Finds or installs what is needed to compile programs for Linux on arm64, and to run them.
pub fn arm64() -> Result<()> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("this needs Linux on x86_64".to_owned());
    }
    let missing = || {
        [ARM64_COMPILER, ARM64_EMULATOR].into_iter().find(|program| !on_path(program)).or_else(|| {
            let header = Path::new(ARM64_LIBRARIES).join("include/stdio.h");
            (!header.is_file()).then_some("libc's headers for arm64")
        })
    };
    let Some(what) = missing() else { return Ok(()) };
    install(what, &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user"])?;
    missing().map_or(Ok(()), |what| Err(format!("there is still no {what}")))
}

fn install(what: &str, packages: &[&str]) -> Result<()> {
    let packages = packages.join(" ");
    if cfg!(target_os = "macos") {
        return Err(format!("{what} was not found; install it with: xcode-select --install"));
    }
    let commands = ["apt-get update".to_owned(), format!("apt-get install -y --no-install-recommends {packages}")];
    if !on_path("apt-get") {
        return Err(format!("{what} was not found; install it (on Debian: {})", commands.join(" && ")));
    }
    if !process::is_root() {
        let typed = commands.map(|c| format!("sudo {c}")).join(" && ");
        return Err(format!("{what} was not found; install it with: {typed}"));
    }
    eprintln!("{what} was not found: installing {packages}");
    for command in &commands {
        let mut words = command.split(' ');
        let status = Command::new(words.next().unwrap_or_default())
            .args(words)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(io::stderr())
            .status()
            .map_err(|e| format!("cannot run {command}: {e}"))?;
        if !status.success() {
            return Err(format!("{command} failed ({status}); {what} is needed"));
        }
    }
    Ok(())
}

/// Whether a program is on the PATH.
pub fn on_path(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}
