//! Draws the README's picture: how many requests the servers answer in a second, once for light pages and once for dark ones.

use std::fmt::Write;

use super::measurements::{Comparison, human, is_ours, spread};
use super::parts::Run;

const GROUP: &str = "64 kept connections";
const WIDTH: f64 = 720.0;
/// Where bars begin, and where the longest ends.
const LEFT: f64 = 120.0;
const RIGHT: f64 = 620.0;
const TOP: f64 = 40.0;
const ROW: f64 = 30.0;
const BAR: f64 = 18.0;

/// The colors of a picture, which has no background of its own.
pub struct Colors {
    /// What the name of the picture's file ends with.
    pub name: &'static str,
    ink: &'static str,
    faint: &'static str,
    ours: &'static str,
    others: &'static str,
}

/// One for each background on which the README is shown.
pub const COLORS: [Colors; 2] = [
    Colors { name: "light", ink: "#1f2328", faint: "#59636e", ours: "#0969da", others: "#afb8c1" },
    Colors { name: "dark", ink: "#f0f6fc", faint: "#9198a1", ours: "#4493f8", others: "#5b6570" },
];

/// The picture as SVG, or nothing if kqnet was not measured. The loops that show a ceiling are no servers that one could use,
/// so they are left out.
pub fn svg(rate: &Comparison, run: &Run, colors: &Colors) -> Option<String> {
    let group = rate.groups.iter().find(|group| group.label == GROUP)?;
    let mut bars: Vec<(&str, f64)> = group
        .rows
        .iter()
        .filter(|row| !row.name.ends_with("loop"))
        .filter_map(|row| Some((row.name.as_str(), spread(&row.samples)?.median)))
        .collect();
    bars.iter().find(|(name, _)| is_ours(name))?;
    bars.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let most = bars.first()?.1.max(f64::MIN_POSITIVE);
    let Colors { ink, faint, ours, others, .. } = colors;
    let mut body = String::new();
    let mut y = TOP;
    for (name, median) in bars {
        let (color, weight) = if is_ours(name) { (ours, "bold") } else { (others, "normal") };
        let width = ((RIGHT - LEFT) * median / most).max(1.0);
        let (baseline, top) = (y + ROW / 2.0 + 5.0, y + (ROW - BAR) / 2.0);
        let _ = writeln!(
            body,
            "<text x=\"{:.1}\" y=\"{baseline:.1}\" text-anchor=\"end\" fill=\"{ink}\" font-weight=\"{weight}\">{name}</text>\n\
             <rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{color}\"/>\n\
             <text x=\"{:.1}\" y=\"{baseline:.1}\" fill=\"{ink}\" font-weight=\"{weight}\">{}</text>",
            LEFT - 10.0,
            LEFT + width + 8.0,
            human(median)
        );
        y += ROW;
    }
    let height = y + 32.0;
    // spork/http closes each connection after its response, so its clients connect again for each request.
    let closes = group.rows.iter().any(|row| row.name == "spork/http");
    let remark = if closes { " spork/http connects anew for each request." } else { "" };
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif\" font-size=\"14\">\n\
         <text x=\"0\" y=\"20\" fill=\"{ink}\" font-weight=\"bold\">Requests per second, {GROUP}</text>\n{body}\
         <text x=\"0\" y=\"{:.1}\" fill=\"{faint}\" font-size=\"12\">One processor for each server, on Linux; median of {} rounds, \
         {}.{remark}</text>\n</svg>\n",
        y + 22.0,
        run.rounds,
        run.date
    ))
}

#[cfg(test)]
mod tests {
    use super::super::measurements::Better;
    use super::*;

    fn run() -> Run {
        let [date, commit, load] = ["2026-01-01", "abc", "0.1"].map(str::to_owned);
        Run { date, commit, load, rounds: 5, seconds: 1 }
    }

    #[test]
    fn servers_are_sorted_and_ceilings_left_out() {
        let mut rate = Comparison::new("http-rate", "", "", "", Better::More);
        for (row, sample) in [("C loop", 9e5), ("kqnet/http", 125_667.0), ("Node", 45_000.0), ("nginx", 132_000.0)] {
            rate.add(GROUP, row, sample);
        }
        for colors in &COLORS {
            let svg = svg(&rate, &run(), colors).expect("a picture");
            let at = |text: &str| svg.find(text).expect(text);
            assert!(at(">nginx<") < at(">kqnet/http<") && at(">kqnet/http<") < at(">Node<"), "{svg}");
            assert!(svg.contains(">125,667<") && !svg.contains("C loop"), "{svg}");
        }
    }

    #[test]
    fn there_is_no_picture_without_kqnet() {
        let mut rate = Comparison::new("http-rate", "", "", "", Better::More);
        rate.add(GROUP, "nginx", 1.0);
        assert!(svg(&rate, &run(), &COLORS[0]).is_none());
    }
}
