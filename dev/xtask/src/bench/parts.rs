//! Keeps what was measured in target/bench/parts, so that a page can be made from several runs.
//!
//! Each part is a file of lines. The first word of a line tells what it is, and its fields are separated by tabs.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use kqnet_hosts::Result;

use super::measurements::{Better, Comparison, Group, Row};

/// What one benchmark measured in one run.
#[derive(Clone, Debug)]
pub struct Part {
    /// The name of the benchmark.
    pub name: String,
    /// When it was measured and how.
    pub run: Run,
    /// The results.
    pub comparisons: Vec<Comparison>,
}

/// When something was measured, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The day.
    pub date: String,
    /// The commit, and whether files were changed since.
    pub commit: String,
    /// The load average before the first measurement.
    pub load: String,
    /// How many times everything was measured.
    pub rounds: usize,
    /// How long one measurement took, in seconds.
    pub seconds: u32,
}

/// Writes a part, in place of the one of an earlier run.
pub fn write(folder: &Path, part: &Part) -> Result<()> {
    fs::create_dir_all(folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    let path = folder.join(&part.name);
    fs::write(&path, text(part)).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

/// Reads the part of a benchmark, if it was measured before.
pub fn read(folder: &Path, name: &str) -> Result<Option<Part>> {
    let path = folder.join(name);
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    match parse(name, &text) {
        Some(part) => Ok(Some(part)),
        None => Err(format!("{} cannot be read: measure {name} again", path.display())),
    }
}

fn text(part: &Part) -> String {
    let mut out = String::new();
    let mut line = |fields: &[&str]| {
        let fields: Vec<String> = fields.iter().map(|field| field.replace(['\t', '\n'], " ")).collect();
        let _ = writeln!(out, "{}", fields.join("\t"));
    };
    let Run { date, commit, load, rounds, seconds } = &part.run;
    line(&["run", date, commit, load, &rounds.to_string(), &seconds.to_string()]);
    for comparison in &part.comparisons {
        let Comparison { name, title, about, unit, better, groups, absent, notes } = comparison;
        let better = if *better == Better::More { "more" } else { "less" };
        line(&["comparison", name, title, about, unit, better]);
        for group in groups {
            line(&["group", &group.label]);
            for row in &group.rows {
                let samples: Vec<String> = row.samples.iter().map(f64::to_string).collect();
                line(&["row", &row.name, &samples.join(" ")]);
            }
        }
        for (name, why) in absent {
            line(&["absent", name, why]);
        }
        for note in notes {
            line(&["note", note]);
        }
    }
    out
}

fn parse(name: &str, text: &str) -> Option<Part> {
    let mut lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let ["run", date, commit, load, rounds, seconds] = lines.next()?[..] else { return None };
    let [date, commit, load] = [date, commit, load].map(str::to_owned);
    let run = Run { date, commit, load, rounds: rounds.parse().ok()?, seconds: seconds.parse().ok()? };
    let mut comparisons: Vec<Comparison> = Vec::new();
    for line in lines {
        if let ["comparison", name, title, about, unit, better] = line[..] {
            let better = if better == "more" { Better::More } else { Better::Less };
            comparisons.push(Comparison::new(name, title, about, unit, better));
            continue;
        }
        let comparison = comparisons.last_mut()?;
        match line[..] {
            ["group", label] => comparison.groups.push(Group { label: label.to_owned(), rows: Vec::new() }),
            ["row", name, samples] => {
                let samples = samples.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>().ok()?;
                comparison.groups.last_mut()?.rows.push(Row { name: name.to_owned(), samples });
            }
            ["absent", name, why] => comparison.lacks(name, why),
            ["note", note] => comparison.note(note.to_owned()),
            _ => return None,
        }
    }
    Some(Part { name: name.to_owned(), run, comparisons })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part() -> Part {
        let mut comparison = Comparison::new("x", "X", "How it\twas\nmeasured.", "µs", Better::Less);
        comparison.add("one", "kqnet", 1.5);
        comparison.add("one", "kqnet", 2.25);
        comparison.add("one", "other", 3.0);
        comparison.add("two", "kqnet", 1e9);
        comparison.lacks("absent", "not installed");
        comparison.note("a note".to_owned());
        let [date, commit, load] = ["2026-01-01", "abc, with changes", "0.1"].map(str::to_owned);
        let run = Run { date, commit, load, rounds: 2, seconds: 1 };
        Part { name: "p".to_owned(), run, comparisons: vec![comparison] }
    }

    #[test]
    fn a_part_is_read_as_it_was_written() {
        let before = part();
        let after = parse("p", &text(&before)).expect("a part");
        assert_eq!(after.run, before.run);
        let (after, before) = (&after.comparisons[0], &before.comparisons[0]);
        assert_eq!(after.about, "How it was measured.");
        assert_eq!(after.row("one", "kqnet").map(|row| row.samples.clone()), Some(vec![1.5, 2.25]));
        assert_eq!(after.row("two", "kqnet").map(|row| row.samples.clone()), Some(vec![1e9]));
        assert_eq!((&after.absent, &after.notes, after.better), (&before.absent, &before.notes, before.better));
    }

    #[test]
    fn a_broken_part_is_refused() {
        let whole = text(&part());
        for broken in
            ["", "row\ta\t1\n", &whole.replace("row\tkqnet\t1.5", "row\tkqnet\tx"), &whole.replace("note", "?")]
        {
            assert!(parse("p", broken).is_none(), "{broken}");
        }
    }
}
