//! Measurements: comparisons of subjects, which have one sample for each round.

use kqnet_hosts::Result;

/// Whether more or less of something is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// The larger one.
    More,
    /// The smaller one.
    Less,
}

/// One question, and the measurements that answer it.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Its name in files.
    pub name: String,
    /// Its heading.
    pub title: String,
    /// How it was measured, in a sentence or two.
    pub about: String,
    /// The unit of the samples.
    pub unit: String,
    /// Whether large or small samples are good.
    pub better: Better,
    /// The conditions under which it was measured, in the order in which they are shown.
    pub groups: Vec<Group>,
    /// The subjects that could not be measured, each with the reason and what to do about it.
    pub absent: Vec<(String, String)>,
    /// What a reader must know about missing or odd samples.
    pub notes: Vec<String>,
}

/// The rows that were measured under one condition.
#[derive(Clone, Debug)]
pub struct Group {
    /// The condition.
    pub label: String,
    /// The subjects, in the order in which they are shown.
    pub rows: Vec<Row>,
}

/// The samples of one subject.
#[derive(Clone, Debug)]
pub struct Row {
    /// The subject.
    pub name: String,
    /// One for each round: not a number where nothing could be measured.
    pub samples: Vec<f64>,
}

/// The median of samples, and their range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle sample, or the mean of the two in the middle.
    pub median: f64,
    /// The least sample.
    pub least: f64,
    /// The greatest sample.
    pub most: f64,
}

impl Comparison {
    /// A comparison without samples.
    pub fn new(name: &str, title: &str, about: &str, unit: &str, better: Better) -> Self {
        Comparison {
            name: name.to_owned(),
            title: title.to_owned(),
            about: about.to_owned(),
            unit: unit.to_owned(),
            better,
            groups: Vec::new(),
            absent: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a sample, in the next round of its row.
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

    /// Takes the result of a round. What fails on another server leaves this round without a sample, with a note; what fails
    /// on kqnet is an error.
    pub fn take<T>(&mut self, group: &str, row: &str, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(why) if is_ours(row) => Err(format!("{row} at {group}: {why}")),
            Err(why) => {
                self.add(group, row, f64::NAN);
                self.note(format!("{row} failed at {group}: {why}."));
                Ok(None)
            }
        }
    }

    /// Tells that a subject could not be measured, and why.
    pub fn lacks(&mut self, subject: &str, why: &str) {
        if self.absent.iter().all(|(name, _)| name != subject) {
            self.absent.push((subject.to_owned(), why.to_owned()));
        }
    }

    /// Adds a note, unless it is there already.
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

/// The ratio of two rows: the median and range of the ratios of each round, since what disturbs the machine for a while
/// disturbs both.
pub fn ratio(row: &Row, to: &Row) -> Option<Spread> {
    let ratios: Vec<f64> =
        row.samples.iter().zip(&to.samples).filter(|(_, to)| **to > 0.0).map(|(row, to)| row / to).collect();
    spread(&ratios)
}

/// The median and the range of samples.
pub fn spread(samples: &[f64]) -> Option<Spread> {
    let mut sorted: Vec<f64> = samples.iter().copied().filter(|sample| sample.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let (least, most) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
    Some(Spread { median, least, most })
}

/// The smallest sample that at least so large a share of the samples does not exceed.
pub fn percentile(samples: &[f64], share: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().saturating_sub(1))).copied()
}

/// A number for people: with at least three digits, and with its thousands separated.
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

/// Whether a row is kqnet's: the row that the others are compared with.
pub fn is_ours(row: &str) -> bool {
    row.starts_with("kqnet")
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
    fn a_round_in_which_another_server_failed_counts_for_neither() {
        let mut comparison = Comparison::new("x", "", "", "", Better::More);
        for (ours, theirs) in [(1.0, Ok(2.0)), (9.0, Err("reset".to_owned())), (3.0, Ok(4.0))] {
            comparison.add("g", "kqnet", ours);
            if let Some(sample) = comparison.take("g", "other", theirs).expect("a note") {
                comparison.add("g", "other", sample);
            }
        }
        let ratio = comparison.ratio("g", "kqnet", "other");
        assert_eq!(ratio, Some(Spread { median: 0.625, least: 0.5, most: 0.75 }));
        assert_eq!(comparison.notes, ["other failed at g: reset."]);
        assert_eq!(comparison.take("g", "kqnet", Err::<(), _>("x".to_owned())), Err("kqnet at g: x".to_owned()));
    }

    #[test]
    fn a_percentile_is_one_of_the_samples() {
        let samples: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&samples, 0.99), Some(99.0));
        assert_eq!(percentile(&[5.0], 0.5), Some(5.0));
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn numbers_are_short_and_grouped() {
        for (value, text) in
            [(0.0, "0"), (0.847, "0.85"), (12.34, "12.3"), (999.6, "1,000"), (1234567.0, "1,234,567"), (-5.0, "-5.00")]
        {
            assert_eq!(human(value), text);
        }
    }
}
