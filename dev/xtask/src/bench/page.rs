//! docs/benchmarks.md: what was measured, where, and which aims were met.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use kqnet_hosts::Result;

use super::aims::{Aim, aims};
use super::machine::Machine;
use super::measurements::Comparison;
use super::parts::{Part, Run};
use super::summary::summary;
use super::{affinity, chart, picture, table};
use crate::repo;

/// Writes the page and its pictures.
pub fn write(parts: &[Part], machine: &Machine) -> Result<()> {
    let comparisons: Vec<Comparison> = parts.iter().flat_map(|part| part.comparisons.clone()).collect();
    let folder = repo::root().join("docs");
    let pictures = folder.join("benchmarks");
    fs::create_dir_all(&pictures).map_err(|e| format!("cannot make {}: {e}", pictures.display()))?;
    remove_pictures(&pictures)?;
    for comparison in &comparisons {
        let path = pictures.join(format!("{}.svg", comparison.name));
        fs::write(&path, chart::svg(comparison)).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    write_readme_pictures(parts, &pictures)?;
    let path = folder.join("benchmarks.md");
    let findings = repo::root().join("dev/xtask/bench/findings.md");
    let findings = fs::read_to_string(&findings).map_err(|e| format!("cannot read {}: {e}", findings.display()))?;
    let text = page(parts, &aims(&comparisons), &summary(&comparisons), machine) + "\n" + &findings;
    fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// Writes the README's picture, for light and for dark pages.
fn write_readme_pictures(parts: &[Part], folder: &Path) -> Result<()> {
    for part in parts {
        for rate in part.comparisons.iter().filter(|comparison| comparison.name == "http-rate") {
            for colors in &picture::COLORS {
                let Some(svg) = picture::svg(rate, &part.run, colors) else { continue };
                let path = folder.join(format!("readme-{}.svg", colors.name));
                fs::write(&path, svg).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
            }
        }
    }
    Ok(())
}

/// Removes the pictures of the page before.
fn remove_pictures(folder: &Path) -> Result<()> {
    let files = fs::read_dir(folder).map_err(|e| format!("cannot read {}: {e}", folder.display()))?;
    for path in files.flatten().map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == "svg")) {
        fs::remove_file(&path).map_err(|e| format!("cannot remove {}: {e}", path.display()))?;
    }
    Ok(())
}

fn page(parts: &[Part], aims: &[Aim], summary: &[String], machine: &Machine) -> String {
    let mut out = String::new();
    let Machine { cpu, cores, kernel, versions, .. } = machine;
    let versions: Vec<String> = versions.iter().map(|(name, version)| format!("{name}: {version}")).collect();
    out += "<!-- Made by cargo xtask bench --page; the last part is dev/xtask/bench/findings.md. -->\n# Benchmarks\n\n\
            How fast kqnet is beside the servers that one would use instead, how that was measured, and where it is not ahead.\n\n";
    for line in summary {
        let _ = writeln!(out, "- {line}");
    }
    let apart = if affinity::is_possible() { ", a processor each," } else { "" };
    let _ = write!(
        out,
        "\n{} On {cores} processors ({cpu}) with {kernel}.\n{}.\n\n\
         Server and clients share the machine{apart} and talk over loopback. Each number is the median of the rounds, and in \
         each round all servers took turns; the range is in brackets. The last column matters most: it is the median of the \
         ratios of two samples from the same round. The absolute numbers hold only for this machine at that hour.\n\n\
         To repeat it (wrk, strace, valgrind, nginx, nodejs and golang-go are packages of Debian; what is missing is left out, \
         and the tables say how to install it):\n\n\
         ```sh\n\
         cargo xtask bench --page --spork FOLDER --halo2 FOLDER   # everything; the folders of servers to compare with\n\
         cargo xtask bench http files --page                      # only these anew, the rest from earlier runs\n\
         cargo xtask bench http --rounds 1 --seconds 1            # a quick look\n\
         cargo xtask bench --page-only                            # the page again, from earlier runs\n\
         ```\n\n\
         ## Aims\n\n\
         | aim | measured | |\n| --- | --- | --- |\n",
        measured(parts),
        versions.join("; "),
    );
    for aim in aims {
        let _ = writeln!(out, "| {} | {} | {} |", aim.text, aim.shown(), aim.result());
    }
    for comparison in parts.iter().flat_map(|part| &part.comparisons) {
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
        for (name, why) in &comparison.absent {
            let _ = writeln!(out, "|  | {name} | {why} |  |");
        }
    }
    out
}

/// When everything was measured, and how: in one sentence if it was one run, or else in one for each run.
fn measured(parts: &[Part]) -> String {
    let mut runs: Vec<(&Run, Vec<&str>)> = Vec::new();
    for part in parts {
        match runs.iter_mut().find(|(run, _)| **run == part.run) {
            Some((_, names)) => names.push(&part.name),
            None => runs.push((&part.run, vec![&part.name])),
        }
    }
    let is_one = runs.len() == 1;
    let sentences: Vec<String> = runs
        .into_iter()
        .map(|(Run { date, commit, load, rounds, seconds }, names)| {
            let rounds = if *rounds == 1 { "1 round".to_owned() } else { format!("{rounds} rounds") };
            let what = if is_one { String::new() } else { format!(" ({})", names.join(", ")) };
            format!(
                "Measured{what} on {date} at commit {commit}, in {rounds} of {seconds} s, load {load} at the start."
            )
        })
        .collect();
    sentences.join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::measurements::Better;
    use super::*;

    fn part(name: &str, rounds: usize) -> Part {
        let mut comparison = Comparison::new(name, "A title", "About it.", "µs", Better::Less);
        comparison.add("a group", "kqnet", 1.0);
        comparison.add("a group", "other", 2.0);
        comparison.lacks("nginx", "not installed: apt-get install nginx");
        let [date, commit, load] = ["2026-01-01", "abc", "0.1"].map(str::to_owned);
        let run = Run { date, commit, load, rounds, seconds: 1 };
        Part { name: name.to_owned(), run, comparisons: vec![comparison] }
    }

    #[test]
    fn runs_are_told_apart_only_where_there_are_several() {
        let once = measured(&[part("a", 5), part("b", 5)]);
        assert_eq!(once, "Measured on 2026-01-01 at commit abc, in 5 rounds of 1 s, load 0.1 at the start.");
        let twice = measured(&[part("a", 5), part("b", 3), part("c", 5)]);
        assert!(twice.starts_with("Measured (a, c) on") && twice.contains("Measured (b) on"), "{twice}");
    }

    #[test]
    fn a_server_that_is_not_installed_has_a_row() {
        let machine = Machine {
            date: String::new(),
            cpu: "a processor".to_owned(),
            cores: 2,
            kernel: "Linux 6.1".to_owned(),
            load: String::new(),
            commit: String::new(),
            versions: Vec::new(),
        };
        let text = page(&[part("a", 5)], &[], &["It is fast.".to_owned()], &machine);
        assert!(text.contains("\n- It is fast.\n"));
        assert!(text.contains("| a group | kqnet | 1.00 |  |\n|  | other | 2.00 | 0.50 |\n"), "{text}");
        assert!(text.contains("|  | nginx | not installed: apt-get install nginx |  |\n"), "{text}");
    }
}
