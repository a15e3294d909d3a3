//! Counts what an HTTP request costs: system calls, and instructions in user space.

use kqnet_hosts::Result;

use super::counts;
use super::load::Talk;
use super::measurements::{Better, Comparison};
use super::server::Program;
use super::setup::{Bench, progress};

/// The row of kept connections in the comparison of instructions.
pub const KEPT: &str = "8 kept connections, in step";

/// Counts.
pub fn measure(bench: &Bench) -> Result<Vec<Comparison>> {
    Ok(vec![system_calls(bench)?, instructions(bench)?])
}

/// The loads that are counted: kept connections, and one for each request. Only servers that end with their input can be
/// counted. spork/http keeps no connection.
fn counted(bench: &Bench, comparison: &mut Comparison) -> [(&'static str, Talk, Vec<Program>); 2] {
    let kept = bench.servers(&["c", "bare", "kqnet", "hyper", "halo2"], comparison);
    let single = bench.servers(&["c-close", "bare-close", "kqnet", "hyper", "spork", "halo2"], comparison);
    [("64 kept connections, in step", Talk::InStep, kept), ("64, a connection each", Talk::Single, single)]
}

fn system_calls(bench: &Bench) -> Result<Comparison> {
    let mut comparison = Comparison::new(
        "http-calls",
        "System calls for each request",
        "Counted by strace, as the difference between two runs. The clients run in step: none asks again before \
         all 64 are answered, so the server waits for each request.",
        "system calls",
        Better::Less,
    );
    if let Some(why) = counts::cannot("strace") {
        comparison.note(why);
        return Ok(comparison);
    }
    progress("system calls");
    for (label, talk, programs) in counted(bench, &mut comparison) {
        for program in programs {
            let counted = counts::system_calls(&program, talk, 64, 4000)?;
            comparison.add(label, &program.name, counts::total(&counted));
        }
    }
    Ok(comparison)
}

fn instructions(bench: &Bench) -> Result<Comparison> {
    let mut comparison = Comparison::new(
        "http-instructions",
        "Instructions for each request, in user space",
        "Counted by callgrind, as the difference between two runs; the kernel's work is not included. 8 clients \
         run in step: with more clients, the cost of Janet's own search through its waits depends on the order \
         in which requests come.",
        "instructions",
        Better::Less,
    );
    if let Some(why) = counts::cannot("valgrind") {
        comparison.note(why);
        return Ok(comparison);
    }
    progress("instructions");
    for (label, talk, programs) in counted(bench, &mut comparison) {
        // A collection costs as much as a thousand requests, and comes once in thousands of them. So there must be several.
        let (label, clients, count) = if talk == Talk::InStep { (KEPT, 8, 40_000) } else { (label, 64, 4000) };
        for program in programs {
            comparison.add(label, &program.name, counts::instructions(&program, talk, clients, count)?);
        }
    }
    Ok(comparison)
}
