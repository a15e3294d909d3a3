//! The statistics of listeners: of this VM, and of all workers of a supervisor.

use std::rc::Rc;

use janetrs::Janet;
use kqnet_accept::Stats;
use kqnet_accept::shared::{Area, Words};

use super::handlers::sweep;
use crate::boundary::{Function, Outcome, native};
use crate::http::describe_counters;
use crate::listener::ListenerRef;
use crate::value::{arg, string, structure, tuple};
use crate::{shared, stream, vm};

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] = &[
    native!("stats", "listener", stats),
    native!("listeners", "", listeners),
    native!("shared-statistics", "", shared_statistics),
];

/// Begins the statistics of a listener, unless they have begun. In a worker, they go on where those of the worker before it in
/// the same slot ended.
pub(super) fn begin(vm: &mut vm::Vm, listener: ListenerRef) {
    if listener.since.get().is_some() {
        return;
    }
    listener.begin_statistics();
    let Some(claim) = shared::claim(&listener.name) else { return };
    if let Some(since) = listener.since.get() {
        claim.set_since(since);
    }
    listener.since.set(Some(claim.since()));
    if let Some(counters) = claim.counters() {
        vm.engine.count_in(listener.token, Words::Shared(counters));
    }
    listener.claim.replace(Some(Rc::new(claim)));
}

/// Makes a struct of statistics, with some more fields.
fn describe(name: &str, since: f64, stats: &Stats, more: &[(&str, Janet)]) -> Janet {
    let number = |count: u64| Janet::number(count as f64);
    let pauses = [("error", stats.paused_error), ("full", stats.paused_full), ("rate", stats.paused_rate)];
    let errors: Vec<_> = stats.errors.iter().map(|(errno, count)| (errno.name(), number(*count))).collect();
    let errors: Vec<_> = errors.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    let mut pairs = vec![
        ("address", string(name)),
        ("accepted", number(stats.accepted)),
        ("active", number(stats.active.into())),
        ("peak", number(stats.peak.into())),
        ("batches", number(stats.batches)),
        ("largest-batch", number(stats.largest_batch.into())),
        ("aborted", number(stats.aborted)),
        ("pauses", structure(&pauses.map(|(why, pauses)| (why, number(pauses.count))))),
        ("paused", structure(&pauses.map(|(why, pauses)| (why, Janet::number(pauses.time.as_secs_f64()))))),
        ("errors", structure(&errors)),
        ("since", Janet::number(since)),
    ];
    pairs.extend_from_slice(more);
    structure(&pairs)
}

/// Returns the statistics of a listener as a struct, or nil if it has none.
fn stats(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    let mut result = Janet::nil();
    vm::with_existing(|vm| {
        let Some(listener) = vm.known(stream) else { return };
        sweep(vm, listener);
        let Some(since) = listener.since.get() else { return };
        let Some(stats) = vm.engine.stats(listener.token) else { return };
        result = describe(&listener.name, since, &stats, &[]);
    });
    Ok(Outcome::Value(result))
}

/// Returns the listening streams that have statistics.
fn listeners(_args: &[Janet]) -> Result<Outcome, String> {
    let mut streams = Vec::new();
    vm::with_existing(|vm| streams = vm.streams());
    Ok(Outcome::Value(tuple(&streams)))
}

/// Returns the statistics of the listeners of all workers, or nil if this process is no worker. They are structs like those of
/// `stats`, with the number of the worker's slot as :worker, and, if there was an HTTP server, its statistics as :http, like
/// those of `http-statistics`.
fn shared_statistics(_args: &[Janet]) -> Result<Outcome, String> {
    let Some(page) = shared::page() else { return Ok(Outcome::Value(Janet::nil())) };
    let of_area = |slot: usize, area: Area| {
        let stats = Stats::read(area.counters()?);
        let more = [
            ("worker", string(&(slot + 1).to_string())),
            ("http", area.http().map_or_else(Janet::nil, describe_counters)),
        ];
        Some(describe(&area.name(), area.since(), &stats, &more))
    };
    let all: Vec<_> = (0..page.used())
        .flat_map(|slot| page.areas(slot).map(move |area| (slot, area)))
        .filter_map(|(slot, area)| of_area(slot, area))
        .collect();
    Ok(Outcome::Value(tuple(&all)))
}
