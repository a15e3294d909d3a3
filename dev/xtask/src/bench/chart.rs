//! Draws a comparison as a picture: bars with their ranges, and a scale for each group.

use std::fmt::Write;

use super::measurements::{Better, Comparison, human, is_ours, spread};

const WIDTH: f64 = 720.0;
/// Where bars begin and where the longest ends.
const LEFT: f64 = 150.0;
const RIGHT: f64 = 560.0;
const TOP: f64 = 62.0;
const HEADING: f64 = 26.0;
const BAR: f64 = 22.0;
const GAP: f64 = 12.0;

const INK: &str = "#222";
const FAINT: &str = "#666";
const OURS: &str = "#2a6f97";
const OTHERS: &str = "#b8c4cc";
/// What no server can reach: the loops that show the ceiling.
const CEILINGS: &str = "#dde3e7";

/// The comparison as SVG.
pub fn svg(comparison: &Comparison) -> String {
    let mut body = String::new();
    let mut y = TOP;
    for group in &comparison.groups {
        let spreads: Vec<_> = group.rows.iter().filter_map(|row| Some((row, spread(&row.samples)?))).collect();
        let most = spreads.iter().map(|(_, s)| s.most).fold(f64::MIN_POSITIVE, f64::max);
        let length = |value: f64| (value.max(0.0) / most) * (RIGHT - LEFT);
        text(&mut body, 16.0, y + 15.0, "start", INK, "bold", &group.label);
        y += HEADING;
        for (row, of_row) in spreads {
            let color = match row.name.as_str() {
                name if is_ours(name) => OURS,
                name if name.ends_with("loop") => CEILINGS,
                _ => OTHERS,
            };
            let middle = y + BAR / 2.0;
            text(&mut body, LEFT - 8.0, middle + 4.5, "end", INK, "normal", &row.name);
            let _ = writeln!(
                body,
                "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{color}\"/>",
                y + 3.0,
                length(of_row.median).max(1.0),
                BAR - 6.0
            );
            if row.samples.len() > 1 {
                let _ = writeln!(
                    body,
                    "<line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" stroke=\"{INK}\"/>",
                    LEFT + length(of_row.least),
                    LEFT + length(of_row.most)
                );
            }
            let end = LEFT + length(of_row.most.max(of_row.median)) + 8.0;
            text(&mut body, end, middle + 4.5, "start", INK, "normal", &human(of_row.median));
            y += BAR;
        }
        y += GAP;
    }
    let better = match comparison.better {
        Better::More => "longer is better",
        Better::Less => "shorter is better",
    };
    let mut head = String::new();
    text(&mut head, 16.0, 26.0, "start", INK, "bold", &comparison.title);
    let has_range = comparison.groups.iter().flat_map(|group| &group.rows).any(|row| row.samples.len() > 1);
    let range = if has_range { "; the line is from the least to the most of the rounds" } else { "" };
    let subtitle = format!("{}; {better}{range}", comparison.unit);
    text(&mut head, 16.0, 46.0, "start", FAINT, "normal", &subtitle);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" height=\"{y}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{head}{body}</svg>\n"
    )
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, color: &str, weight: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{color}\" font-weight=\"{weight}\">{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_bar_and_its_median() {
        let mut comparison = Comparison::new("x", "A < B", "", "µs", Better::Less);
        comparison.add("one", "kqnet", 10.0);
        comparison.add("one", "core", 20.0);
        let svg = svg(&comparison);
        assert_eq!(svg.matches("<rect x=").count(), 2);
        assert!(svg.contains(">20.0</text>") && svg.contains("A &lt; B"));
    }
}
