//! Whether every crate compiles with the oldest supported Rust, which is `rust-version` in Cargo.toml.
//!
//! That Rust is Debian's: dev/xtask/oldest-rust.sh downloads it into target/cross.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use kqnet_hosts::{Host, Result};

use super::plan::Plan;
use super::tally::Tally;
use crate::repo;

/// The oldest supported Rust, such as 1.85.
const OLDEST: &str = env!("CARGO_PKG_RUST_VERSION");

/// Whether that Rust can be had on this system at all.
const IS_POSSIBLE: bool = cfg!(all(target_os = "linux", target_arch = "x86_64"));

/// Checks all crates and their tests.
pub fn tests(plan: &Plan) -> Result<Tally> {
    if !IS_POSSIBLE || !plan.includes("msrv") {
        return Ok(Tally::default());
    }
    let start = Instant::now();
    let Some(rust) = oldest_rust()? else {
        eprintln!("skip  msrv: there is no Rust {OLDEST} here: see above");
        return Ok(Tally::SKIP);
    };
    let out = Command::new(rust.join("cargo"))
        .args(["check", "--quiet", "--locked", "--workspace", "--all-targets"])
        .current_dir(repo::root())
        .env("RUSTC", rust.join("rustc"))
        .env("CARGO_TARGET_DIR", repo::target().join("msrv"))
        .env("JANET_HEADERPATH", Host::default().build(&repo::target())?.headers())
        .output()
        .map_err(|e| format!("cannot run cargo {OLDEST}: {e}"))?;
    if out.status.success() {
        eprintln!("ok    msrv: Rust {OLDEST} in {:.1} s", start.elapsed().as_secs_f64());
        return Ok(Tally::PASS);
    }
    eprint!("{}", String::from_utf8_lossy(&out.stderr));
    eprintln!("FAIL  msrv: Rust {OLDEST} does not compile it; to run it again: cargo xtask test msrv");
    Ok(Tally::FAIL)
}

/// Returns the folder of its programs, or `None` if they cannot be downloaded.
fn oldest_rust() -> Result<Option<PathBuf>> {
    let out = Command::new("bash")
        .arg(repo::root().join("dev/xtask/oldest-rust.sh"))
        .arg(OLDEST)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("cannot run dev/xtask/oldest-rust.sh: {e}"))?;
    match out.status.code() {
        Some(0) => Ok(Some(PathBuf::from(String::from_utf8_lossy(&out.stdout).trim()))),
        Some(77) => Ok(None),
        _ => Err(format!("dev/xtask/oldest-rust.sh failed ({})", out.status)),
    }
}
