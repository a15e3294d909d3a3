//! How many tests passed, failed and were skipped.

use std::fmt;
use std::ops::AddAssign;

/// Counts of tests. It is displayed as the line with which every test runner here ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl Tally {
    /// One test that passed.
    pub const PASS: Tally = Tally { passed: 1, failed: 0, skipped: 0 };
    /// One test that was skipped.
    pub const SKIP: Tally = Tally { passed: 0, failed: 0, skipped: 1 };
    /// One test that failed.
    pub const FAIL: Tally = Tally { passed: 0, failed: 1, skipped: 0 };

    /// Reads the last closing line, `N passed, N failed, N skipped`, of a test file's output.
    pub fn closing(output: &str) -> Option<Tally> {
        output.lines().rev().find_map(|line| {
            let mut parts = line.trim().split(", ");
            let count = Tally {
                passed: before(parts.next()?, " passed")?,
                failed: before(parts.next()?, " failed")?,
                skipped: before(parts.next()?, " skipped")?,
            };
            parts.next().is_none().then_some(count)
        })
    }

    /// Adds up the `test result:` lines of the output of `cargo test`.
    pub fn cargo(output: &str) -> Tally {
        let mut total = Tally::default();
        for line in output.lines() {
            let Some((_, numbers)) = line.strip_prefix("test result: ").and_then(|l| l.split_once(". ")) else {
                continue;
            };
            for part in numbers.split("; ") {
                total.passed += before(part, " passed").unwrap_or(0);
                total.failed += before(part, " failed").unwrap_or(0);
                total.skipped += before(part, " ignored").unwrap_or(0);
            }
        }
        total
    }
}

fn before(text: &str, word: &str) -> Option<u64> {
    text.strip_suffix(word)?.parse().ok()
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_closing_line_counts() {
        let output = "1 passed, 0 failed, 0 skipped\nnoise\n12 passed, 1 failed, 3 skipped\n";
        let count = Tally { passed: 12, failed: 1, skipped: 3 };
        assert_eq!(Tally::closing(output), Some(count));
        assert_eq!(Tally::closing(&count.to_string()), Some(count));
    }

    #[test]
    fn output_without_a_closing_line_has_no_count() {
        for output in ["", "all fine\n", "3 passed, 0 failed\n", "x passed, 0 failed, 0 skipped\n"] {
            assert_eq!(Tally::closing(output), None, "{output:?}");
        }
    }

    #[test]
    fn results_of_cargo_test_are_summed() {
        let output = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                      test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        assert_eq!(Tally::cargo(output), Tally { passed: 5, failed: 1, skipped: 1 });
    }
}
