//! What is measured: comparisons of rows in groups, a sample of each for every round.

/// Which way a figure is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// The larger one.
    More,
    /// The smaller one.
    Less,
}

/// One question, and the figures that answer it.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What names it in files.
    pub name: &'static str,
    /// What it is called by people.
    pub title: &'static str,
    /// How it was measured, in a sentence or two.
    pub about: &'static str,
    /// Of the figures.
    pub unit: &'static str,
    /// Which way they are good.
    pub better: Better,
    /// In their order.
    pub groups: Vec<Group>,
    /// What a reader must know of missing or odd figures.
    pub notes: Vec<String>,
}

/// Rows that were measured under one condition.
#[derive(Clone, Debug)]
pub struct Group {
    /// The condition.
    pub label: String,
    /// In their order.
    pub rows: Vec<Row>,
}

/// The samples of one subject.
#[derive(Clone, Debug)]
pub struct Row {
    /// The subject.
    pub name: String,
    /// One for each round.
    pub samples: Vec<f64>,
}

/// A median, and how far the samples are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Half of the samples are not above it.
    pub median: f64,
    /// The least sample.
    pub least: f64,
    /// The greatest sample.
    pub most: f64,
}

impl Comparison {
    /// One without figures.
    pub fn new(
        name: &'static str,
        title: &'static str,
        about: &'static str,
        unit: &'static str,
        better: Better,
    ) -> Self {
        Comparison { name, title, about, unit, better, groups: Vec::new(), notes: Vec::new() }
    }

    /// Adds the sample of a round.
    pub fn add(&mut self, group: &str, row: &str, sample: f64) {
        let index = self.groups.iter().position(|g| g.label == group).unwrap_or_else(|| {
            self.groups.push(Group { label: group.to_owned(), rows: Vec::new() });
            self.groups.len() - 1
        });
        let rows = &mut self.groups[index].rows;
        match rows.iter_mut().find(|r| r.name == row) {
            Some(row) => row.samples.push(sample),
            None => rows.push(Row { name: row.to_owned(), samples: vec![sample] }),
        }
    }

    /// Says something once.
    pub fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// The samples of a row.
    pub fn row(&self, group: &str, row: &str) -> Option<&Row> {
        self.groups.iter().find(|g| g.label == group)?.rows.iter().find(|r| r.name == row)
    }

    /// How one row compares with another: the ratios of the samples of each round.
    pub fn ratio(&self, group: &str, row: &str, to: &str) -> Option<Spread> {
        ratio(self.row(group, row)?, self.row(group, to)?)
    }
}

/// The ratios of the samples of each round: what disturbs a machine for a while disturbs both.
pub fn ratio(row: &Row, to: &Row) -> Option<Spread> {
    let ratios: Vec<f64> =
        row.samples.iter().zip(&to.samples).filter(|(_, to)| **to > 0.0).map(|(row, to)| row / to).collect();
    spread(&ratios)
}

/// The median and the range of samples.
pub fn spread(samples: &[f64]) -> Option<Spread> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (least, most) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
    Some(Spread { median, least, most })
}

/// The sample below which so large a share of them is.
pub fn percentile(samples: &[f64], share: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied()
}

/// A figure for people: three digits at least, and thousands set apart.
pub fn human(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 99.95 || v == 0.0 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), None), |(whole, rest)| (whole, Some(rest)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut out = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(rest) = rest {
        out.push('.');
        out += rest;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]).map(|s| s.median), Some(2.5));
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let mut comparison = Comparison::new("x", "", "", "", Better::More);
        for (a, b) in [(1.0, 2.0), (10.0, 20.0), (100.0, 50.0)] {
            comparison.add("g", "a", a);
            comparison.add("g", "b", b);
        }
        assert_eq!(comparison.ratio("g", "a", "b"), Some(Spread { median: 0.5, least: 0.5, most: 2.0 }));
        assert_eq!(comparison.ratio("g", "a", "c"), None);
    }

    #[test]
    fn a_percentile_is_one_of_the_samples() {
        let samples: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&samples, 0.99), Some(99.0));
        assert_eq!(percentile(&[5.0], 0.5), Some(5.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn figures_are_short_and_grouped() {
        for (value, text) in
            [(0.0, "0"), (0.847, "0.85"), (12.34, "12.3"), (999.6, "1,000"), (1234567.0, "1,234,567"), (-5.0, "-5.00")]
        {
            assert_eq!(human(value), text);
        }
    }
}
