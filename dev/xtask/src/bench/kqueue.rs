//! Counts the system calls of the kqueue loop, on the emulation, beside those of epoll. Time would be the emulation's.

use std::path::PathBuf;

use kqnet_hosts::{Host, Loop, Result};

use super::counts;
use super::counts::Counts;
use super::load::Talk;
use super::measurements::{Better, Comparison};
use super::programs::{bytes, compile};
use super::setup::{Bench, progress};
use crate::{module, repo};

/// The emulated kernels that are counted: the most common one, and one that differs from it.
const KERNELS: [&str; 2] = ["xnu", "netbsd"];
const CLIENTS: [usize; 2] = [1, 64];

/// Counts calls.
pub fn measure(bench: &Bench) -> Result<Vec<Comparison>> {
    let mut all = Comparison::new(
        "kqueue-calls",
        "System calls for each connection, kqueue beside epoll",
        "On the emulated kqueue (dev/kqueue-emu): the server's calls that would be system calls on a kernel with kqueue. \
         On epoll: system calls, counted by strace. On every kernel here, kqnet accepts as on macOS, which has no \
         accept4: it makes an fcntl for each connection, and looks for room first. Core makes one accept4; on macOS it \
         makes two more fcntls.",
        "system calls",
        Better::Less,
    );
    let mut queue = Comparison::new(
        "kqueue-kevent",
        "Calls of the event queue for each connection",
        "How many of the calls above are kevent or, on epoll, epoll_wait and epoll_ctl.",
        "system calls",
        Better::Less,
    );
    if !Loop::ALL.iter().any(|l| l.is_emulated()) {
        all.note("The emulated kqueue is for Linux.".to_owned());
        return Ok(vec![all, queue]);
    }
    let mut add = |label: &str, name: &str, counted: &Counts| {
        let of_queue = counted.iter().filter(|(name, _)| name.contains("kevent") || name.contains("epoll"));
        all.add(label, name, counts::total(counted));
        queue.add(label, name, of_queue.map(|(_, count)| count).sum());
    };

    let epoll = [("core", "core 1.42.0"), ("kqnet", "kqnet")];
    if counts::cannot("strace").is_none() {
        for clients in CLIENTS {
            progress(&format!("epoll, {}", label(clients)));
            for (kind, name) in epoll {
                let program = bytes(name, &bench.janet, kind, &bench.path);
                let counted = counts::system_calls(&program, Talk::Bytes, clients, 4000)?;
                add(&format!("epoll, {}", label(clients)), name, &counted);
            }
        }
    }
    let library: PathBuf = bench.scratch.join("calls.so");
    compile("dev/xtask/bench/calls.c", &library, &["-shared", "-fPIC", "-ldl"])?;
    for kernel in KERNELS {
        let host = Host { event_loop: Loop::Kqueue, kernel: Some(kernel), ..Host::default() };
        let built = host.build(&repo::target())?;
        let path = module::build(&host, &built, module::Output::OnFailure)?;
        for clients in CLIENTS {
            let label = format!("kqueue as {kernel}, {}", label(clients));
            progress(&label);
            for (kind, name) in epoll {
                let program = bytes(name, &built.janet(), kind, &path);
                let counted = counts::emulated_calls(&program, &library, Talk::Bytes, clients, 4000)?;
                add(&label, name, &counted);
            }
        }
    }
    Ok(vec![all, queue])
}

fn label(clients: usize) -> String {
    if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") }
}
