//! `cargo xtask serve`: serves the demo, a guest book, with the newest Janet. Its entries are in `target/guest-book`.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use kqnet_hosts::{Host, Result};
use lexopt::{Arg, Parser};

use crate::{module, options, repo, spork, tools};

/// Replaces this process by the demo's Janet program, which prints its address once it listens.
pub fn run(mut args: Parser) -> Result<ExitCode> {
    let mut port: u16 = 8000;
    while let Some(arg) = args.next().map_err(|e| e.to_string())? {
        match arg {
            Arg::Long("port") => {
                let value = options::text(&mut args)?;
                port = value.parse().map_err(|_| format!("--port takes a number from 0 to 65535, not {value}"))?;
            }
            other => return Err(options::unknown(&other, "--port")),
        }
    }
    tools::c_compiler()?;
    let host = Host::default();
    let built = host.build(&repo::target())?;
    let folder = module::build(&host, &built, module::Output::Shown)?;
    let error = Command::new(built.janet())
        .arg(repo::root().join("demo/site.janet"))
        .arg(port.to_string())
        .arg(repo::target().join("guest-book"))
        .env("JANET_PATH", spork::beside(&folder)?)
        .exec();
    Err(format!("cannot run {}: {error}", built.janet().display()))
}
