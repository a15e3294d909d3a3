//! What kqnet should reach in these measurements.

use super::measurements::{self, Better, Comparison, Spread, spread};

/// Something that kqnet should reach.
pub struct Aim {
    /// What is to be reached, in words.
    pub text: &'static str,
    bound: f64,
    better: Better,
    measured: Option<Spread>,
}

impl Aim {
    /// Whether it was met, in one word.
    pub fn result(&self) -> &'static str {
        match (self.measured, self.better) {
            (None, _) => "unknown",
            (Some(measured), Better::Less) if measured.median <= self.bound => "met",
            (Some(measured), Better::More) if measured.median >= self.bound => "met",
            _ => "missed",
        }
    }

    /// The measurement and its range.
    pub fn shown(&self) -> String {
        match self.measured {
            Some(Spread { median, least, most }) if least < most => {
                format!("{median:.2} ({least:.2} to {most:.2})")
            }
            Some(Spread { median, .. }) => format!("{median:.2}"),
            None => "not measured".to_owned(),
        }
    }
}

/// The aims, each with what was measured.
pub fn aims(comparisons: &[Comparison]) -> Vec<Aim> {
    let of = |name: &str| comparisons.iter().find(|comparison| comparison.name == name);
    let ratio = |name: &str, group: &str, row: &str, to: &str| of(name)?.ratio(group, row, to);
    let calls = of("accept-calls").and_then(|c| spread(&c.row("64 clients", "kqnet")?.samples));
    let flat = of("growth-idle").and_then(|c| {
        let row = |group: &str| c.row(group, "kqnet/http");
        measurements::ratio(row("10000 idle")?, row("10 idle")?)
    });
    let kept = |to: &str| ratio("http-rate", "64 kept connections", "kqnet/http", to);
    let aim = |text, better, bound, measured| Aim { text, bound, better, measured };
    vec![
        aim("System calls for each accepted connection, 64 clients: at most 5.2", Better::Less, 5.2, calls),
        aim(
            "Processor time for each connection, relative to core's net/server (1.42.0), 64 clients: at most 0.85",
            Better::Less,
            0.85,
            ratio("accept-cpu", "64 clients", "kqnet", "core 1.42.0"),
        ),
        aim(
            "Requests on 64 kept connections, relative to the bare Janet loop: at least 0.7",
            Better::More,
            0.7,
            kept("bare Janet loop"),
        ),
        aim("The same, relative to spork/http: at least 2.5", Better::More, 2.5, kept("spork/http")),
        aim("The same, relative to halo2: at least 1.8", Better::More, 1.8, kept("halo2")),
        aim(
            "Requests with a connection for each, relative to spork/http: at least 1.0",
            Better::More,
            1.0,
            ratio("http-rate", "64, a connection each", "kqnet/http", "spork/http"),
        ),
        aim(
            "Processor time for each request with 10,000 idle connections, relative to 10: at most 1.1",
            Better::Less,
            1.1,
            flat,
        ),
    ]
}
