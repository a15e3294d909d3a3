//! Compares the crate with the reference parser on many bodies.
//!
//! The bulk run is ignored by default. Run it in release mode, with the number of cases in the environment:
//! `CASES=1000000 cargo test --release -p kqnet-multipart --test agreement -- --ignored --nocapture`,
//! or with `SECONDS=20` for as many cases as that time allows. `SEED` repeats a run.

mod reference;

use kqnet_cases::Random;
use reference::generate;
use std::collections::BTreeMap;

/// Compares the parsers on one body, and counts the results.
fn one_case(random: &mut Random, results: &mut BTreeMap<String, u64>) {
    let boundary = generate::boundary(random);
    let body = generate::body(random, &boundary);
    let max_head = if random.once_in(8) { 4 + random.below(100) } else { 8192 };
    let cuts = generate::cuts(random, body.len());
    let room = if random.once_in(4) { 1 + random.below(5) } else { usize::MAX };
    let (parts, end) = reference::compare(&body, &boundary, max_head, &cuts, room);
    let result = match end {
        Ok(()) => format!("{} parts", parts.len()),
        Err(reject) => reject.to_string(),
    };
    *results.entry(result).or_default() += 1;
}

#[test]
fn a_sample_agrees_and_has_every_result() {
    let mut random = Random(1);
    let mut results = BTreeMap::new();
    for _ in 0..40_000 {
        one_case(&mut random, &mut results);
    }
    for expected in [
        "0 parts",
        "3 parts",
        "Content-Transfer-Encoding is not supported (400)",
        "a part has no Content-Disposition (400)",
        "a part has no name (400)",
        "malformed header of a part (400)",
        "malformed line after a boundary (400)",
        "the form ends before its last boundary (400)",
        "the head of a part is too large (413)",
    ] {
        assert!(results.get(expected).is_some_and(|count| *count > 20), "{expected}: {results:#?}");
    }
}

#[test]
#[ignore = "takes as long as CASES or SECONDS allow"]
fn bulk() {
    let mut results = BTreeMap::new();
    kqnet_cases::bulk(100_000, |random| one_case(random, &mut results));
    println!("{results:#?}");
}
