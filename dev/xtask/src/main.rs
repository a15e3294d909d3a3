//! `cargo xtask`: build interpreters and modules, serve the demo, run the tests.
//!
//! One file for each command. Standard output carries a command's result only; progress goes to standard error.

mod arm64;
mod bench;
mod burst;
mod cross;
mod module;
mod options;
mod process;
mod repo;
mod serve;
mod spork;
mod test;
mod tools;

use std::process::ExitCode;

use kqnet_hosts::{KERNELS, Loop, Result, VERSIONS};
use lexopt::{Arg, Parser};

use crate::options::HostOptions;

/// `{…}` stands for what there is to choose from, default first.
const USAGE: &str = "\
usage: cargo xtask COMMAND

  host     print the path of a Janet interpreter, building it if need be
  module   print a folder for JANET_PATH that holds kqnet, built for that interpreter
             --janet V      {versions}
             --loop L       the event loop: {loops}
             --kernel K     whose kqueue an emulated loop has: {kernels}
             --no-nanbox    16-byte values, as arm64 has them up to 1.41
             --asan         with AddressSanitizer
             --arm64        for Linux on arm64, run by QEMU
  serve    serve the demo site with kqnet on the newest Janet
             --port N       8000 unless given
  test     run every test
             --quick        the Rust tests, and the Janet tests on the newest Janet only, without the longest
             --all          every Janet test on every host: hours
             --host NAME    the Janet tests on this host only, such as 1.37.1-poll or 1.42.0-kqueue-xnu (repeatable)
             --jobs N       so many Janet test files at once (the number of processors)
             --deadline S   seconds after which a Janet test file is killed (600)
             FILTER...      only what has one of these in its name: fmt, clippy, rust, kernels, agreement, counts,
                            burst, or a file under test/
  burst    connect bursts of clients to a server that is stopped, let it go on, and print as one line of JSON
           how many it answers
             --server S     core (net/server) or kqnet
             --bursts N     20 unless given
             --clients N    of each burst, 20 unless given
             and the options of host
  bench    measure kqnet beside core's net/server and other HTTP servers
             --rounds N     5 unless given
             --seconds S    for each measurement, 2 unless given
             --page         all, and write docs/benchmarks.md
             --spork F --halo2 F --circlet F   the folders of those that are to be measured too
             NAME...        only these: accept, http, memory, growth, kqueue
  cross    compile and link for macOS, FreeBSD and NetBSD, and check the symbols left to the host
             TARGET...      only these targets
  arm64    run the Janet tests on Linux for arm64, with QEMU
             FILTER...      only files under test/ that have one of these in their names";

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
        "bench" => bench::run(args),
        "cross" => cross::run(args),
        "arm64" => arm64::run(args),
        "help" => {
            println!("{}", usage());
            Ok(ExitCode::SUCCESS)
        }
        other => {
            Err(format!("no command {other}: there are host, module, serve, test, burst, bench, cross, arm64, help"))
        }
    }
}
