//! Measures how long the handler of a request takes to be found among many routes.

use std::process::Command;

use kqnet_hosts::Result;

use super::affinity::{self, Role};
use super::counts;
use super::measurements::{Better, Comparison};
use super::setup::{Bench, progress};
use crate::repo;

const ROUTES: [usize; 3] = [10, 100, 1000];
/// What is measured, how its rows are called, and for how many requests.
const ROUTERS: [(&str, &str, usize); 2] = [("kqnet", "kqnet/http", 20_000), ("pegs", "a list of PEGs", 400)];

/// Measures routes, if there is `http/routes`.
pub fn measure(bench: &Bench) -> Result<Vec<Comparison>> {
    if !bench.has("kqnet/http", "routes") {
        return Ok(Vec::new());
    }
    let mut time = Comparison::new(
        "routes-time",
        "Processor time to find the handler of a request among many routes",
        "The request is for the last route of the table, which has a parameter: `http/routes`, and beside it what a program \
         without it may do, which is to try one PEG after the other.",
        "µs",
        Better::Less,
    );
    for round in 1..=bench.settings.rounds {
        progress(&format!("routes, round {round}"));
        for routes in ROUTES {
            for (kind, name, requests) in ROUTERS {
                let mut command = router(bench, kind, routes, requests);
                affinity::pin(&mut command, Role::Server);
                let nanoseconds = said(&mut command)?;
                let sample: f64 =
                    nanoseconds.parse().map_err(|_| format!("routes.janet printed no number: {nanoseconds}"))?;
                time.add(&format!("{routes} routes"), name, sample / 1e3);
            }
        }
    }
    Ok(vec![time, instructions(bench)?])
}

fn instructions(bench: &Bench) -> Result<Comparison> {
    let mut comparison = Comparison::new(
        "routes-instructions",
        "Instructions to find the handler of a request among many routes",
        "Counted by callgrind, as the difference between two runs, without those of a handler that is called directly.",
        "instructions",
        Better::Less,
    );
    if let Some(why) = counts::cannot("valgrind") {
        comparison.note(why);
        return Ok(comparison);
    }
    progress("instructions of routes");
    let (kind, name, _) = ROUTERS[0];
    let counted =
        |kind: &str, routes: usize| counts::of_command(2000, |requests| router(bench, kind, routes, requests));
    let nothing = counted("nothing", ROUTES[0])?;
    for routes in ROUTES {
        comparison.add(&format!("{routes} routes"), name, counted(kind, routes)? - nothing);
    }
    Ok(comparison)
}

fn router(bench: &Bench, kind: &str, routes: usize, requests: usize) -> Command {
    let mut command = Command::new(&bench.janet);
    command
        .arg(repo::root().join("dev/xtask/bench/routes.janet"))
        .args([kind, &routes.to_string(), &requests.to_string()])
        .env("JANET_PATH", &bench.path)
        .env_remove("JANET_PROFILE");
    command
}

/// What a program prints.
fn said(command: &mut Command) -> Result<String> {
    let out = command.output().map_err(|e| format!("cannot run routes.janet: {e}"))?;
    if out.status.success() {
        return Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned());
    }
    Err(format!("routes.janet failed: {}", String::from_utf8_lossy(&out.stderr).trim()))
}
