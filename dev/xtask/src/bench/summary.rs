//! The lines on top of docs/benchmarks.md that tell the most important results in words.

use super::measurements::{Comparison, Spread, human, spread};

/// The other servers, in the order in which they are named.
const OTHERS: [&str; 7] = ["bare Janet loop", "nginx", "hyper", "Go", "Node", "uvicorn", "spork/http"];

/// Up to three sentences, without those whose measurements are missing.
pub fn summary(comparisons: &[Comparison]) -> Vec<String> {
    let find = |name: &str| comparisons.iter().find(|comparison| comparison.name == name);
    let mut lines = Vec::new();
    if let Some(rate) = find("http-rate") {
        lines.extend(rate_line(rate, "64 kept connections", "On 64 kept connections,"));
        let pipelined = rate_line(rate, "64, 16 pipelined", "With 16 requests at a time on each of them,");
        let single = rate_line(rate, "64, a connection each", "With a new connection for each request,");
        let both: Vec<String> = pipelined.into_iter().chain(single).collect();
        if !both.is_empty() {
            lines.push(both.join(" "));
        }
    }
    let rest: Vec<String> =
        [find("files-rate").and_then(files), find("memory-idle").and_then(memory), find("growth-idle").and_then(idle)]
            .into_iter()
            .flatten()
            .collect();
    if !rest.is_empty() {
        lines.push(rest.join(" "));
    }
    lines
}

/// How many requests a second there are, and how many times those of the others that is.
fn rate_line(rate: &Comparison, group: &str, when: &str) -> Option<String> {
    let ours = median(rate, group, "kqnet/http")?;
    let others = times(rate, group, &OTHERS);
    let sentence = format!("{when} `kqnet/http` answers {} requests a second", human(rounded(ours)));
    Some(if others.is_empty() { format!("{sentence}.") } else { format!("{sentence}: {}.", list(&others)) })
}

/// How many times the others' samples ours are, in words.
fn times(comparison: &Comparison, group: &str, others: &[&str]) -> Vec<String> {
    let compared = others.iter().filter_map(|other| {
        let Spread { median, .. } = comparison.ratio(group, "kqnet/http", other)?;
        let name = if *other == "bare Janet loop" { "a bare Janet loop" } else { other };
        Some((name, median))
    });
    let word = |index: usize| if index == 0 { " times as many as " } else { " times " };
    compared.enumerate().map(|(index, (name, ratio))| format!("{}{}{name}", factor(ratio), word(index))).collect()
}

fn files(rate: &Comparison) -> Option<String> {
    let ratio = |group: &str| Some(factor(rate.ratio(group, "kqnet/http", "nginx")?.median));
    let parts: Vec<String> =
        [("1 KiB", "1 KiB, 64 clients"), ("1 MiB", "1 MiB, 16 clients"), ("100 MiB", "100 MiB, 4 clients")]
            .into_iter()
            .filter_map(|(size, group)| Some(format!("{} times nginx's at {size}", ratio(group)?)))
            .collect();
    (!parts.is_empty()).then(|| format!("Static files go out at a rate of {}.", list(&parts)))
}

fn memory(memory: &Comparison) -> Option<String> {
    let group = "after a request";
    let ours = median(memory, group, "kqnet/http")?;
    let others: Vec<String> = ["nginx", "hyper", "Go", "Node", "uvicorn"]
        .into_iter()
        .filter_map(|other| Some(format!("{other} {}", one_decimal(median(memory, group, other)?))))
        .collect();
    let beside = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
    Some(format!("A kept connection that waits takes {} KiB of memory{beside}.", one_decimal(ours)))
}

fn idle(growth: &Comparison) -> Option<String> {
    let row = |group: &str| growth.row(group, "kqnet/http");
    let Spread { median, .. } = super::measurements::ratio(row("10000 idle")?, row("10 idle")?)?;
    Some(format!(
        "With 10,000 of them, a request takes {} times the processor time that it takes with 10.",
        factor(median)
    ))
}

fn median(comparison: &Comparison, group: &str, row: &str) -> Option<f64> {
    spread(&comparison.row(group, row)?.samples).map(|spread| spread.median)
}

/// A factor with two digits, or with all before the point.
fn factor(ratio: f64) -> String {
    if ratio < 2.0 { format!("{ratio:.2}") } else { one_decimal(ratio) }
}

fn one_decimal(value: f64) -> String {
    if value < 9.95 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// A number with three digits that mean something.
fn rounded(value: f64) -> f64 {
    if value < 1000.0 {
        return value.round();
    }
    let unit = 10f64.powf(value.log10().floor() - 2.0);
    (value / unit).round() * unit
}

/// Items with commas, and "and" before the last.
fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::measurements::Better;
    use super::*;

    #[test]
    fn the_most_important_results_are_told_in_words() {
        let mut rate = Comparison::new("http-rate", "", "", "", Better::More);
        for (row, sample) in [("kqnet/http", 94_567.0), ("nginx", 100_000.0), ("Node", 35_000.0)] {
            rate.add("64 kept connections", row, sample);
        }
        rate.add("64, a connection each", "kqnet/http", 20_000.0);
        let mut memory = Comparison::new("memory-idle", "", "", "", Better::Less);
        memory.add("after a request", "kqnet/http", 2.96);
        memory.add("after a request", "Go", 17.4);
        assert_eq!(
            summary(&[rate, memory]),
            [
                "On 64 kept connections, `kqnet/http` answers 94,600 requests a second: 0.95 times as many as nginx and \
                 2.7 times Node.",
                "With a new connection for each request, `kqnet/http` answers 20,000 requests a second.",
                "A kept connection that waits takes 3.0 KiB of memory (Go 17).",
            ]
        );
    }

    #[test]
    fn nothing_is_said_of_what_was_not_measured() {
        assert!(summary(&[]).is_empty());
    }

    #[test]
    fn numbers_are_rounded_to_what_they_mean() {
        assert_eq!([94_567.0, 999_999.0, 1_234.0, 12.3].map(rounded), [94_600.0, 1_000_000.0, 1_230.0, 12.0]);
        assert_eq!([0.849, 1.999, 2.04, 12.34].map(factor), ["0.85", "2.00", "2.0", "12"]);
    }
}
