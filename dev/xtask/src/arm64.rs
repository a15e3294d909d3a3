//! `cargo xtask arm64`: runs the Janet tests on Linux for arm64, with QEMU.
//!
//! Up to Janet 1.41 a value has 16 bytes on arm64, and no other test runs code that is compiled for arm64.

use std::process::ExitCode;

use kqnet_hosts::Result;
use lexopt::{Arg, Parser};

use crate::{arm64_build, options, test, tools};

/// The exit status for tests that could not be tried.
const SKIPPED: u8 = 77;

/// Runs the tests. The exit status is 77 if a tool is missing and cannot be installed.
pub fn run(mut args: Parser) -> Result<ExitCode> {
    let mut filters = Vec::new();
    while let Some(arg) = args.next().map_err(|e| e.to_string())? {
        match arg {
            Arg::Value(filter) => filters.push(filter.to_string_lossy().into_owned()),
            other => return Err(options::unknown(&other, "parts of the names of files under test/")),
        }
    }
    if let Err(message) = tools::arm64().and_then(|()| arm64_build::rustc().map(drop)) {
        eprintln!("skipped: {message}");
        println!("0 passed, 0 failed, 1 skipped");
        return Ok(ExitCode::from(SKIPPED));
    }
    test::arm64(filters)
}
