//! Runs many tests at the same time, and runs a failed test again, alone.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::Mutex;
use std::thread;

use super::tally::Tally;

/// Runs all cases, `jobs` at a time. Some of them measure or race, so a case that fails is run again on its own after
/// all the others, and that second run counts. The cases that pass only then are named at the end, since they may have
/// found something rare.
pub fn in_parallel<T: Send + Display>(jobs: usize, cases: VecDeque<T>, run: impl Fn(&T) -> Tally + Sync) -> Tally {
    let cases = Mutex::new(cases);
    let total = Mutex::new(Tally::default());
    let again = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let next = cases.lock().unwrap_or_else(|e| e.into_inner()).pop_front();
                    let Some(case) = next else { break };
                    let count = run(&case);
                    if count.failed == 0 {
                        *total.lock().unwrap_or_else(|e| e.into_inner()) += count;
                    } else {
                        again.lock().unwrap_or_else(|e| e.into_inner()).push(case);
                    }
                }
            });
        }
    });
    let mut total = total.into_inner().unwrap_or_else(|e| e.into_inner());
    let mut passed_alone = Vec::new();
    for case in again.into_inner().unwrap_or_else(|e| e.into_inner()) {
        eprintln!("running again, on its own: {case}");
        let count = run(&case);
        if count.failed == 0 {
            passed_alone.push(case.to_string());
        }
        total += count;
    }
    if !passed_alone.is_empty() {
        eprintln!("failed at first, and passed on their own: {}", passed_alone.join(", "));
    }
    total
}
