//! How many tests passed, failed and were skipped.

use std::fmt;
use std::ops::AddAssign;

/// Prints as the closing line that every runner here ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
}

impl Count {
    pub const PASS: Count = Count { passed: 1, failed: 0, skipped: 0 };
    /// One test that could not be tried.
    pub const SKIP: Count = Count { passed: 0, failed: 0, skipped: 1 };
    pub const FAIL: Count = Count { passed: 0, failed: 1, skipped: 0 };

    /// The last closing line, `N passed, N failed, N skipped`, that a test file printed.
    pub fn closing(output: &str) -> Option<Count> {
        output.lines().rev().find_map(|line| {
            let mut parts = line.trim().split(", ");
            let count = Count {
                passed: before(parts.next()?, " passed")?,
                failed: before(parts.next()?, " failed")?,
                skipped: before(parts.next()?, " skipped")?,
            };
            parts.next().is_none().then_some(count)
        })
    }

    /// The sum of the `test result:` lines that `cargo test` printed.
    pub fn cargo(output: &str) -> Count {
        let mut total = Count::default();
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

impl AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Count {
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
        let count = Count { passed: 12, failed: 1, skipped: 3 };
        assert_eq!(Count::closing(output), Some(count));
        assert_eq!(Count::closing(&count.to_string()), Some(count));
    }

    #[test]
    fn output_without_a_closing_line_has_no_count() {
        for output in ["", "all fine\n", "3 passed, 0 failed\n", "x passed, 0 failed, 0 skipped\n"] {
            assert_eq!(Count::closing(output), None, "{output:?}");
        }
    }

    #[test]
    fn results_of_cargo_test_are_summed() {
        let output = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                      test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n";
        assert_eq!(Count::cargo(output), Count { passed: 5, failed: 1, skipped: 1 });
    }
}
