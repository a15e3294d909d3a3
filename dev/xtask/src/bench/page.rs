//! docs/benchmarks.md: what was measured, where, and which aims were met.

use std::fmt::Write;
use std::fs;

use kqnet_hosts::Result;

use super::aims::Aim;
use super::machine::Machine;
use super::measurements::Comparison;
use super::settings::Settings;
use super::{chart, table};
use crate::repo;

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
         Measured on {date}, on {cores} processors ({cpu}) with {kernel}, load {load} at the start, at commit {commit}.\n\
         {}.\n\n\
         Server and clients share the machine and talk over loopback. Each number is the median of {} rounds of {} s, and \
         in each round all servers took turns; the range is in brackets. The last column matters most: it is the median of \
         the ratios of two samples from the same round. The absolute numbers hold only for this machine at that hour.\n\n\
         To repeat it (wrk, strace and valgrind are packages of Debian):\n\n\
         ```sh\n\
         cargo xtask bench --spork FOLDER --halo2 FOLDER --circlet FOLDER   # the folders of servers to compare with; leave out what is missing\n\
         cargo xtask bench accept --rounds 1 --seconds 1                    # a quick look; --page writes this page\n\
         ```\n\n\
         ## Aims\n\n\
         | aim | measured | |\n| --- | --- | --- |\n",
        versions.join("; "),
        settings.rounds,
        settings.seconds,
    );
    for aim in aims {
        let _ = writeln!(out, "| {} | {} | {} |", aim.text, aim.shown(), aim.result());
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
            for [name, median, least, most, ratio] in table::rows(group) {
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
