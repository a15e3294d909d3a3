//! What kqnet should reach in these measurements.

use super::costs;
use super::measurements::{self, Better, Comparison, Spread, human, spread};

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

    /// Whether there is a measurement for it.
    pub fn is_measured(&self) -> bool {
        self.measured.is_some()
    }

    /// The measurement and its range.
    pub fn shown(&self) -> String {
        match self.measured {
            Some(Spread { median, least, most }) if least < most => {
                format!("{} ({} to {})", human(median), human(least), human(most))
            }
            Some(Spread { median, .. }) => human(median),
            None => "not measured".to_owned(),
        }
    }
}

/// The aims, each with what was measured.
pub fn aims(comparisons: &[Comparison]) -> Vec<Aim> {
    let of = |name: &str| comparisons.iter().find(|comparison| comparison.name == name);
    let ratio = |name: &str, group: &str, row: &str, to: &str| of(name)?.ratio(group, row, to);
    let value = |name: &str, group: &str, row: &str| spread(&of(name)?.row(group, row)?.samples);
    let flat = of("growth-idle").and_then(|c| {
        let row = |group: &str| c.row(group, "kqnet/http");
        measurements::ratio(row("10000 idle")?, row("10 idle")?)
    });
    let ours = |name: &str, group: &str, to: &str| ratio(name, group, "kqnet/http", to);
    let rate = |group: &str, to: &str| ours("http-rate", group, to);
    let kept = |to: &str| rate("64 kept connections", to);
    let pipelined = |to: &str| rate("64, 16 pipelined", to);
    let file = |group: &str| ours("files-rate", group, "nginx");
    let least = |bound, text, measured| Aim { text, bound, better: Better::More, measured };
    let most = |bound, text, measured| Aim { text, bound, better: Better::Less, measured };
    let instructions = value("http-instructions", costs::KEPT, "kqnet/http");
    let memory = value("memory-idle", "after a request", "kqnet/http");
    let calls = value("accept-calls", "64 clients", "kqnet");
    vec![
        most(
            10_000.0,
            "Instructions for each request on a kept connection, in user space: at most 10,000",
            instructions,
        ),
        least(0.88, "Requests on 64 kept connections ÷ the bare Janet loop's: at least 0.88", kept("bare Janet loop")),
        least(0.95, "The same ÷ nginx's (`return 200`): at least 0.95", kept("nginx")),
        least(2.5, "The same ÷ spork/http's: at least 2.5", kept("spork/http")),
        least(1.8, "The same ÷ halo2's: at least 1.8", kept("halo2")),
        least(3.0, "Requests on 64 kept connections, 16 pipelined ÷ nginx's: at least 3", pipelined("nginx")),
        least(0.4, "The same ÷ hyper's: at least 0.4", pipelined("hyper")),
        least(
            0.9,
            "Static files of 1 MiB in a second ÷ nginx's with sendfile: at least 0.9",
            file("1 MiB, 16 clients"),
        ),
        least(
            0.9,
            "Static files of 100 MiB in a second ÷ nginx's with sendfile: at least 0.9",
            file("100 MiB, 4 clients"),
        ),
        least(0.9, "Bodies of 1 MiB from memory in a second ÷ hyper's: at least 0.9", rate("1 MiB down", "hyper")),
        most(3.0, "Memory for a kept connection that waits: at most 3 KiB", memory),
        most(1.05, "Processor time for each request with 10,000 idle connections ÷ with 10: at most 1.05", flat),
        least(
            1.0,
            "Requests with a connection for each ÷ spork/http's: at least 1.0",
            rate("64, a connection each", "spork/http"),
        ),
        most(5.2, "System calls for each accepted connection, 64 clients: at most 5.2", calls),
        most(
            0.85,
            "Processor time for each connection ÷ that of core's net/server (1.42.0), 64 clients: at most 0.85",
            ratio("accept-cpu", "64 clients", "kqnet", "core 1.42.0"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result<'a>(aims: &'a [Aim], words: &str) -> (&'static str, String, &'a str) {
        let aim = aims.iter().find(|aim| aim.text.starts_with(words)).expect("an aim");
        (aim.result(), aim.shown(), aim.text)
    }

    #[test]
    fn an_aim_is_met_by_the_median_of_the_ratios() {
        let mut rate = Comparison::new("http-rate", "", "", "", Better::More);
        for (ours, nginx) in [(290.0, 100.0), (310.0, 100.0), (600.0, 100.0)] {
            rate.add("64, 16 pipelined", "kqnet/http", ours);
            rate.add("64, 16 pipelined", "nginx", nginx);
        }
        let aims = aims(&[rate]);
        let (met, shown, _) = result(&aims, "Requests on 64 kept connections, 16 pipelined");
        assert_eq!((met, shown.as_str()), ("met", "3.10 (2.90 to 6.00)"));
        assert_eq!(result(&aims, "Memory").1, "not measured");
    }

    #[test]
    fn instructions_and_memory_are_compared_as_they_are() {
        let mut instructions = Comparison::new("http-instructions", "", "", "", Better::Less);
        instructions.add(costs::KEPT, "kqnet/http", 12_345.0);
        let mut memory = Comparison::new("memory-idle", "", "", "", Better::Less);
        memory.add("after a request", "kqnet/http", 2.9);
        let aims = aims(&[instructions, memory]);
        let (missed, shown, _) = result(&aims, "Instructions");
        assert_eq!((missed, shown.as_str()), ("missed", "12,345"));
        assert_eq!(result(&aims, "Memory").0, "met");
    }
}
