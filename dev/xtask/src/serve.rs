//! `cargo xtask serve`: serves the demo with the newest Janet. The entries of its guest book are in `target/guest-book`.
//!
//! The demo also shows core's `net/server` and kqnet on a Janet that has janet#1560, so that Janet and kqnet for it are built
//! too. If that is not possible, the demo says why.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use kqnet_hosts::{Host, Result};
use lexopt::{Arg, Parser};

use crate::test::matrix::STALLING;
use crate::{module, options, process, repo, spork, tools};

/// Replaces this process by the demo's Janet program, which prints its address once it listens. It ends the servers that it
/// starts, and they end by themselves if it is killed.
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
    process::raise_descriptor_limit();
    let host = Host::default();
    let built = host.build(&repo::target())?;
    let folder = module::build(&host, &built, module::Output::Shown)?;
    let mut demo = Command::new(built.janet());
    demo.arg(repo::root().join("demo/site.janet"))
        .arg(port.to_string())
        .arg(repo::target().join("guest-book"))
        .env("JANET_PATH", spork::beside(&folder)?);
    for name in ["KQNET_DEMO_JANET", "KQNET_DEMO_MODULES", "KQNET_DEMO_WITHOUT"] {
        demo.env_remove(name);
    }
    match stalling() {
        Ok((janet, modules)) => demo.env("KQNET_DEMO_JANET", janet).env("KQNET_DEMO_MODULES", modules),
        Err(reason) => {
            eprintln!("The demo goes without the two servers for bursts: {reason}");
            demo.env("KQNET_DEMO_WITHOUT", reason)
        }
    };
    let error = demo.exec();
    Err(format!("cannot run {}: {error}", built.janet().display()))
}

/// The interpreter whose servers stall, and the folder with kqnet for it. Both are built if they are missing.
fn stalling() -> Result<(PathBuf, PathBuf)> {
    let host = Host::named(STALLING)?;
    let built = host.build(&repo::target())?;
    Ok((built.janet(), module::build(&host, &built, module::Output::Shown)?))
}
