//! The statistics of listeners.

use janetrs::Janet;

use super::handlers::sweep;
use crate::boundary::{Function, Outcome, native};
use crate::value::{arg, string, structure, tuple};
use crate::{stream, vm};

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] = &[native!("stats", "listener", stats), native!("listeners", "", listeners)];

/// Returns the statistics of a listener as a struct, or nil if it has none.
fn stats(args: &[Janet]) -> Result<Outcome, String> {
    let stream = stream::get(arg(args, 0))?;
    let mut result = Janet::nil();
    vm::with_existing(|vm| {
        let Some(listener) = vm.known(stream) else { return };
        sweep(vm, listener);
        let Some(since) = listener.since.get() else { return };
        let (token, name) = (listener.token, listener.name.clone());
        let Some(stats) = vm.engine.stats(token) else { return };
        let number = |count: u64| Janet::number(count as f64);
        let pauses = [("error", stats.paused_error), ("full", stats.paused_full), ("rate", stats.paused_rate)];
        let errors: Vec<_> = stats.errors.iter().map(|(errno, count)| (errno.name(), number(*count))).collect();
        let errors: Vec<_> = errors.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        result = structure(&[
            ("address", string(&name)),
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
        ]);
    });
    Ok(Outcome::Value(result))
}

/// Returns the listening streams that have statistics.
fn listeners(_args: &[Janet]) -> Result<Outcome, String> {
    let mut streams = Vec::new();
    vm::with_existing(|vm| streams = vm.streams());
    Ok(Outcome::Value(tuple(&streams)))
}
