//! Runs tests of parsers on many random inputs.
//!
//! `CASES` in the environment says on how many, or `SECONDS` for how long. `SEED` is the number with which a run begins.
//! The same seed and number of cases repeat a run.
//!
//! - [`bulk`] leaves it to the test to generate each input. [`fuzz()`] changes good inputs at random.
//! - [`Random`] is the source of all of them.

mod fuzz;
mod random;

pub use fuzz::{fuzz, words};
pub use random::Random;

use std::env;
use std::time::{Duration, Instant};

/// Calls `one_case` as often as the environment says, or `otherwise` times if it says nothing. Reports on standard output how
/// many cases there were.
///
/// # Panics
/// If a variable of the environment is not a number.
pub fn bulk(otherwise: u64, mut one_case: impl FnMut(&mut Random)) {
    let seconds = variable("SECONDS");
    let cases = variable("CASES").unwrap_or(if seconds.is_some() { u64::MAX } else { otherwise });
    let seed = variable("SEED").unwrap_or(1);
    let mut random = Random(seed);
    let start = Instant::now();
    let mut done = 0;
    while done < cases && seconds.is_none_or(|s| done % 256 != 0 || start.elapsed() < Duration::from_secs(s)) {
        one_case(&mut random);
        done += 1;
    }
    println!("{done} cases, seed {seed}, {:.1} s", start.elapsed().as_secs_f64());
}

fn variable(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}
