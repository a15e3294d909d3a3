//! Results as a table for the terminal.

use std::fmt::Write;

use super::aims::Aim;
use super::measurements::{Comparison, Group, human, is_ours, ratio, spread};

/// The tables of all comparisons, and the aims that something was measured for.
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
        for (name, why) in &comparison.absent {
            let _ = writeln!(out, "  {name}: {why}");
        }
        for note in &comparison.notes {
            let _ = writeln!(out, "  {note}");
        }
        out.push('\n');
    }
    for aim in aims.iter().filter(|aim| aim.is_measured()) {
        let _ = writeln!(out, "{:<7} {}: {}", aim.result(), aim.text, aim.shown());
    }
    out
}

/// The cells of each row of a group: name, median, least, most, and the ratio of kqnet to it.
pub fn rows(group: &Group) -> Vec<[String; 5]> {
    let ours = group.rows.iter().find(|row| is_ours(&row.name));
    group
        .rows
        .iter()
        .filter_map(|row| {
            let of_row = spread(&row.samples)?;
            let compared = match ours {
                Some(ours) if !is_ours(&row.name) => ratio(ours, row).map(|r| format!("{:.2}", r.median)),
                _ => None,
            };
            let [median, least, most] = [of_row.median, of_row.least, of_row.most].map(human);
            let (least, most) = if row.samples.len() > 1 { (least, most) } else { Default::default() };
            Some([format!("  {}", row.name), median, least, most, compared.unwrap_or_default()])
        })
        .collect()
}
