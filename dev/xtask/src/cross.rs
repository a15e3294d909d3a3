//! `cargo xtask cross`: compiles and links for other systems.

use std::process::{Command, ExitCode};

use kqnet_hosts::{Host, Result};
use lexopt::{Arg, Parser};

use crate::{options, repo, tools};

const TARGETS: [&str; 4] =
    ["aarch64-apple-darwin", "x86_64-apple-darwin", "x86_64-unknown-freebsd", "x86_64-unknown-netbsd"];

/// Runs cross.sh with the newest Janet's header. The exit status is 77 if a download was impossible.
pub fn run(mut args: Parser) -> Result<ExitCode> {
    let mut targets = Vec::new();
    while let Some(arg) = args.next().map_err(|e| e.to_string())? {
        match &arg {
            Arg::Value(target) => match TARGETS.into_iter().find(|t| *t == target.as_os_str()) {
                Some(known) => targets.push(known),
                None => return Err(options::unknown(&arg, &TARGETS.join(", "))),
            },
            _ => return Err(options::unknown(&arg, &TARGETS.join(", "))),
        }
    }
    if targets.is_empty() {
        targets = TARGETS.to_vec();
    }
    tools::c_compiler()?;
    // The newest header has the same value layout on arm64 and x86_64. In older ones it differs, which a link check
    // cannot see.
    let built = Host::default().build(&repo::target())?;
    let status = Command::new("bash")
        .arg(repo::root().join("dev/xtask/cross.sh"))
        .args(targets)
        .env("JANET", built.janet())
        .env("JANET_HEADERPATH", built.headers())
        .current_dir(repo::root())
        .status()
        .map_err(|e| format!("cannot run bash: {e}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}
