//! `cargo xtask`: the development commands.
//!
//! Standard output carries only a command's result; progress goes to standard error.
//!
//! Each command has a file: `module`, `serve`, `test`, `burst`, `bench`, `cross`, `arm64`, `docs`; `host` is in this
//! one. They are built on
//!
//! - `options`: options that several commands share. `repo`: where things are in the repository.
//! - `process`: child processes. `tools`: finding and installing compilers.
//! - `spork`: which spork is used. `arm64_build`: compiling for arm64.

mod arm64;
mod arm64_build;
mod bench;
mod burst;
mod cross;
mod docs;
mod module;
mod options;
mod process;
mod repo;
mod serve;
mod spork;
mod test;
mod tools;

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use kqnet_hosts::{KERNELS, Loop, Result, VERSIONS};
use lexopt::{Arg, Parser};

use crate::options::HostOptions;

/// The braces stand for the possible values, which begin with the default.
const USAGE: &str = "\
usage: cargo xtask COMMAND

  host     print the path of a Janet interpreter, which is built if it is missing
  module   print a folder for JANET_PATH that holds kqnet, built for that interpreter
             --janet V      {versions}
             --loop L       the event loop: {loops}
             --kernel K     the kernel that an emulated kqueue loop imitates: {kernels}
             --no-nanbox    16-byte values, as on arm64 up to 1.41
             --asan         with AddressSanitizer
             --arm64        for Linux on arm64, run by QEMU
  serve    serve the demo with kqnet on the newest Janet: live statistics, a guest book, and two servers, one of which
           stalls
             --port N       8000 by default
  test     run every test
             --quick        what shows most in two minutes: the format, clippy without the tests, the tests of the parsers, and
                            the core of the Janet tests on the newest Janet, with a module that is not optimized
             --all          every Janet test on every host, which takes hours
             --host NAME    only this host, such as 1.37.1-poll or 1.42.0-kqueue-xnu (may be repeated)
             --jobs N       how many Janet test files run at a time (by default, half as many again as processors)
             --deadline S   seconds after which a Janet test file is killed (600 by default)
             FILTER...      only steps and files under test/ that have one of these in their names; the steps are fmt,
                            clippy, workflow, rust, kernels, agreement, msrv, bindings, c-api, counts, burst
  burst    connect bursts of clients to a stopped server, continue it, and print as one line of JSON how many
           clients it answers
             --server S     core (net/server) or kqnet
             --bursts N     20 by default
             --clients N    clients in each burst, 20 by default
             and the options of host
  bench    measure kqnet beside core's net/server and other HTTP servers
             --rounds N     5 by default
             --seconds S    the length of a measurement, 1 by default
             --page         write docs/benchmarks.md, with what earlier runs measured for names that are left out
             --page-only    write the page again from what earlier runs measured, and measure nothing
             --spork F --halo2 F --circlet F   folders of other servers to measure; spork is also found by $SPORK
             NAME...        only some of http, files, routes, websocket, costs, accept, memory, growth, kqueue
  cross    compile and link for macOS, FreeBSD and NetBSD, and check which symbols are left to the host
             TARGET...      only these targets
  arm64    run the Janet tests on Linux for arm64, with QEMU
             FILTER...      only files under test/ that have one of these in their names
  docs     write docs/api.md from the docstrings";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> String {
    let versions: Vec<_> = VERSIONS.into_iter().rev().collect();
    let loops: Vec<_> = Loop::ALL.iter().map(|l| l.name()).collect();
    USAGE
        .replace("{versions}", &versions.join(", "))
        .replace("{loops}", &loops.join(", "))
        .replace("{kernels}", &KERNELS.join(", "))
}

fn run() -> Result<ExitCode> {
    let mut args = Parser::from_env();
    let command = match args.next().map_err(|e| e.to_string())? {
        Some(Arg::Value(name)) => name.to_string_lossy().into_owned(),
        Some(Arg::Long("help") | Arg::Short('h')) => "help".to_owned(),
        Some(other) => return Err(options::unknown(&other, "a command: see cargo xtask help")),
        None => {
            eprintln!("{}", usage());
            return Ok(ExitCode::from(2));
        }
    };
    match command.as_str() {
        "host" => {
            let host = HostOptions::parse(args)?;
            tools::c_compiler()?;
            println!("{}", host.build(&repo::target())?.janet().display());
            Ok(ExitCode::SUCCESS)
        }
        "module" => {
            let host = HostOptions::parse(args)?;
            tools::c_compiler()?;
            let built = host.build(&repo::target())?;
            let folder = module::build(&host, &built, module::Output::Shown)?;
            println!("{}", folder.display());
            Ok(ExitCode::SUCCESS)
        }
        "serve" => serve::run(args),
        "test" => test::run(args),
        "burst" => burst::run(args),
        "bench" if cfg!(debug_assertions) => Err(run_optimized()),
        "bench" => bench::run(args),
        "cross" => cross::run(args),
        "arm64" => arm64::run(args),
        "docs" => docs::run(args),
        "help" => {
            println!("{}", usage());
            Ok(ExitCode::SUCCESS)
        }
        other => Err(format!(
            "no command {other}; the commands are host, module, serve, test, burst, bench, cross, arm64, docs, help"
        )),
    }
}

/// Becomes this program as it is compiled in the profile `load`, whose clients are fast. All other commands do without,
/// since compiling it takes three times as long. Returns only if that fails.
fn run_optimized() -> String {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let error = Command::new(cargo)
        .args(["run", "--quiet", "--profile", "load", "--package", "xtask", "--manifest-path"])
        .arg(repo::root().join("Cargo.toml"))
        .arg("--")
        .args(env::args_os().skip(1))
        .exec();
    format!("cannot run cargo: {error}")
}
