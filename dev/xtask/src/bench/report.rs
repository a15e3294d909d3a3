//! Results as files under target/bench: JSON and pictures.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use kqnet_hosts::Result;

use super::chart;
use super::machine::Machine;
use super::measurements::{Comparison, Group, Row};
use super::settings::Settings;

/// Writes measurements.json and the pictures.
pub fn write(folder: &Path, comparisons: &[Comparison], machine: &Machine, settings: &Settings) -> Result<()> {
    let put = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
    };
    put("measurements.json", json(comparisons, machine, settings))?;
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
        let row = |row: &Row| {
            let samples = row.samples.iter().map(|sample| number(*sample)).collect();
            object(vec![("name", quoted(&row.name)), ("samples", list(samples))])
        };
        object(vec![("label", quoted(&group.label)), ("rows", list(group.rows.iter().map(row).collect()))])
    };
    let comparison = |comparison: &Comparison| {
        object(vec![
            ("name", quoted(&comparison.name)),
            ("title", quoted(&comparison.title)),
            ("unit", quoted(&comparison.unit)),
            ("groups", list(comparison.groups.iter().map(group).collect())),
            ("absent", list(comparison.absent.iter().map(|(name, why)| quoted(&format!("{name}: {why}"))).collect())),
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
