//! docs/benchmarks.md: what was measured, where, and which aims were met.

use std::fmt::Write;
use std::fs;

use kqnet_hosts::Result;

use super::figures::{Better, Comparison, Spread, spread};
use super::machine::Machine;
use super::{Settings, chart, report};
use crate::repo;

/// Something that kqnet should reach.
pub struct Aim {
    /// In words.
    pub text: &'static str,
    bound: f64,
    better: Better,
    figure: Option<Spread>,
}

impl Aim {
    /// In one word.
    pub fn verdict(&self) -> &'static str {
        match (self.figure, self.better) {
            (None, _) => "unknown",
            (Some(figure), Better::Less) if figure.median <= self.bound => "met",
            (Some(figure), Better::More) if figure.median >= self.bound => "met",
            _ => "missed",
        }
    }

    /// The figure and its range.
    pub fn measured(&self) -> String {
        match self.figure {
            Some(Spread { median, least, most }) if least < most => {
                format!("{median:.2} ({least:.2} to {most:.2})")
            }
            Some(Spread { median, .. }) => format!("{median:.2}"),
            None => "not measured".to_owned(),
        }
    }
}

/// How the aims were met by what was measured.
pub fn aims(comparisons: &[Comparison]) -> Vec<Aim> {
    let of = |name: &str| comparisons.iter().find(|comparison| comparison.name == name);
    let ratio = |name: &str, group: &str, row: &str, to: &str| of(name)?.ratio(group, row, to);
    let calls = of("accept-calls").and_then(|c| spread(&c.row("64 clients", "kqnet")?.samples));
    let flat = of("growth-idle").and_then(|c| {
        let row = |group: &str| c.row(group, "kqnet/http");
        super::figures::ratio(row("10000 idle")?, row("10 idle")?)
    });
    let kept = |to: &str| ratio("http-rate", "64 kept connections", "kqnet/http", to);
    let aim = |text, better, bound, figure| Aim { text, bound, better, figure };
    vec![
        aim("System calls for each accepted connection, 64 clients: at most 5.2", Better::Less, 5.2, calls),
        aim(
            "Processor time for each connection, to core's net/server (1.42.0), 64 clients: at most 0.85",
            Better::Less,
            0.85,
            ratio("accept-cpu", "64 clients", "kqnet", "core 1.42.0"),
        ),
        aim(
            "Requests on 64 kept connections, to the bare Janet loop: at least 0.7",
            Better::More,
            0.7,
            kept("bare Janet loop"),
        ),
        aim("The same, to spork/http: at least 2.5", Better::More, 2.5, kept("spork/http")),
        aim("The same, to halo2: at least 1.8", Better::More, 1.8, kept("halo2")),
        aim(
            "Requests with a connection for each, to spork/http: at least 1.0",
            Better::More,
            1.0,
            ratio("http-rate", "64, a connection each", "kqnet/http", "spork/http"),
        ),
        aim(
            "Processor time for each request with 10,000 idle connections, to that with 10: at most 1.1",
            Better::Less,
            1.1,
            flat,
        ),
    ]
}

/// Writes the page and its pictures.
pub fn write(comparisons: &[Comparison], aims: &[Aim], machine: &Machine, settings: &Settings) -> Result<()> {
    let folder = repo::root().join("docs");
    let pictures = folder.join("benchmarks");
    fs::create_dir_all(&pictures).map_err(|e| format!("cannot make {}: {e}", pictures.display()))?;
    for comparison in comparisons {
        let path = pictures.join(format!("{}.svg", comparison.name));
        fs::write(&path, chart::svg(comparison)).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    let path = folder.join("benchmarks.md");
    let text = page(comparisons, aims, machine, settings)?;
    fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

fn page(comparisons: &[Comparison], aims: &[Aim], machine: &Machine, settings: &Settings) -> Result<String> {
    let mut out = String::new();
    let Machine { date, cpu, cores, kernel, load, commit, versions } = machine;
    let versions: Vec<String> = versions.iter().map(|(name, version)| format!("{name}: {version}")).collect();
    let _ = write!(
        out,
        "<!-- Made by cargo xtask bench --page; the last part is dev/xtask/bench/findings.md. -->\n\
         # Benchmarks\n\n\
         Measured on {date}, on {cores} processors ({cpu}) with {kernel}, load {load} as it began, at commit {commit}.\n\
         {}.\n\n\
         Server and clients share the machine, over loopback. Each figure is the median of {} rounds of {} s, in which all \
         subjects took their turns; the range is in brackets. What counts is the last column, the median of the ratios of \
         figures of the same round: absolute figures are of this machine and this hour.\n\n\
         To repeat it (wrk, strace and valgrind are packages of Debian):\n\n\
         ```sh\n\
         cargo xtask bench --spork FOLDER --halo2 FOLDER --circlet FOLDER   # checkouts or installations, as far as there\n\
         cargo xtask bench accept --rounds 1 --seconds 1                    # a quick look; --page writes this page\n\
         ```\n\n\
         ## Aims\n\n\
         | aim | measured | |\n| --- | --- | --- |\n",
        versions.join("; "),
        settings.rounds,
        settings.seconds,
    );
    for aim in aims {
        let _ = writeln!(out, "| {} | {} | {} |", aim.text, aim.measured(), aim.verdict());
    }
    for comparison in comparisons {
        let Comparison { name, title, about, unit, .. } = comparison;
        let _ = write!(out, "\n## {title}\n\n{about}\n");
        comparison.notes.iter().for_each(|note| {
            let _ = write!(out, "\n{note}\n");
        });
        if comparison.groups.is_empty() {
            continue;
        }
        let _ = write!(
            out,
            "\n![{title}](benchmarks/{name}.svg)\n\n| | | {unit} | kqnet ÷ it |\n| --- | --- | ---: | ---: |\n"
        );
        for group in &comparison.groups {
            let mut label = group.label.as_str();
            for [name, median, least, most, ratio] in report::rows(group) {
                let range = if least.is_empty() { String::new() } else { format!(" ({least} to {most})") };
                let _ = writeln!(out, "| {label} | {} | {median}{range} | {ratio} |", name.trim());
                label = "";
            }
        }
    }
    let findings = repo::root().join("dev/xtask/bench/findings.md");
    let findings = fs::read_to_string(&findings).map_err(|e| format!("cannot read {}: {e}", findings.display()))?;
    out.push('\n');
    out += &findings;
    Ok(out)
}
