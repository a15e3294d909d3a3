//! Results as a table for the terminal, as JSON, and as pictures.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use kqnet_hosts::Result;

use super::figures::{Comparison, Group, human, ratio, spread};
use super::machine::Machine;
use super::page::Aim;
use super::{Settings, chart};

/// The row that others are compared with.
pub fn is_ours(row: &str) -> bool {
    row.starts_with("kqnet")
}

/// The tables of all comparisons, and the aims.
pub fn table(comparisons: &[Comparison], aims: &[Aim]) -> String {
    let mut out = String::new();
    for comparison in comparisons {
        let mut lines =
            vec![["".to_owned(), comparison.unit.to_owned(), "from".into(), "to".into(), "kqnet ÷ it".into()]];
        for group in &comparison.groups {
            lines.push([group.label.clone(), String::new(), String::new(), String::new(), String::new()]);
            lines.extend(rows(group));
        }
        let _ = writeln!(out, "{}", comparison.title);
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2), width(3), width(4)];
        for line in &lines {
            let [name, rest @ ..] = line;
            let _ = write!(out, "  {name:<0$}", widths[0]);
            for (cell, width) in rest.iter().zip(&widths[1..]) {
                let _ = write!(out, "  {cell:>width$}");
            }
            out.truncate(out.trim_end().len());
            out.push('\n');
        }
        for note in &comparison.notes {
            let _ = writeln!(out, "  {note}");
        }
        out.push('\n');
    }
    for aim in aims {
        let _ = writeln!(out, "{:<7} {}: {}", aim.verdict(), aim.text, aim.measured());
    }
    out
}

/// Name, median, range and ratio of each row.
pub fn rows(group: &Group) -> Vec<[String; 5]> {
    let ours = group.rows.iter().find(|row| is_ours(&row.name));
    group
        .rows
        .iter()
        .filter_map(|row| {
            let figures = spread(&row.samples)?;
            let compared = match ours {
                Some(ours) if !is_ours(&row.name) => ratio(ours, row).map(|r| format!("{:.2}", r.median)),
                _ => None,
            };
            let [median, least, most] = [figures.median, figures.least, figures.most].map(human);
            let (least, most) = if row.samples.len() > 1 { (least, most) } else { Default::default() };
            Some([format!("  {}", row.name), median, least, most, compared.unwrap_or_default()])
        })
        .collect()
}

/// Writes figures.json and the pictures.
pub fn write(folder: &Path, comparisons: &[Comparison], machine: &Machine, settings: &Settings) -> Result<()> {
    let put = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
    };
    put("figures.json", json(comparisons, machine, settings))?;
    for comparison in comparisons {
        put(&format!("{}.svg", comparison.name), chart::svg(comparison))?;
    }
    Ok(())
}

fn json(comparisons: &[Comparison], machine: &Machine, settings: &Settings) -> String {
    let object = |fields: Vec<(&str, String)>| {
        let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("{}:{value}", quoted(name))).collect();
        format!("{{{}}}", fields.join(","))
    };
    let list = |items: Vec<String>| format!("[{}]", items.join(","));
    let versions = machine.versions.iter().map(|(name, version)| (*name, quoted(version))).collect();
    let group = |group: &Group| {
        let row = |row: &super::figures::Row| {
            let samples = row.samples.iter().map(|sample| number(*sample)).collect();
            object(vec![("name", quoted(&row.name)), ("samples", list(samples))])
        };
        object(vec![("label", quoted(&group.label)), ("rows", list(group.rows.iter().map(row).collect()))])
    };
    let comparison = |comparison: &Comparison| {
        object(vec![
            ("name", quoted(comparison.name)),
            ("title", quoted(comparison.title)),
            ("unit", quoted(comparison.unit)),
            ("groups", list(comparison.groups.iter().map(group).collect())),
            ("notes", list(comparison.notes.iter().map(|note| quoted(note)).collect())),
        ])
    };
    let all = object(vec![
        ("date", quoted(&machine.date)),
        ("cpu", quoted(&machine.cpu)),
        ("cores", machine.cores.to_string()),
        ("kernel", quoted(&machine.kernel)),
        ("load", quoted(&machine.load)),
        ("commit", quoted(&machine.commit)),
        ("versions", object(versions)),
        ("rounds", settings.rounds.to_string()),
        ("seconds", settings.seconds.to_string()),
        ("comparisons", list(comparisons.iter().map(comparison).collect())),
    ]);
    all + "\n"
}

fn number(value: f64) -> String {
    if value.is_finite() { format!("{value}") } else { "null".to_owned() }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            letter if letter < ' ' => {
                let _ = write!(out, "\\u{:04x}", letter as u32);
            }
            letter => out.push(letter),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_as_json_has_it() {
        assert_eq!(quoted("a\"b\\c\n"), r#""a\"b\\c\u000a""#);
    }
}
