//! Changes good inputs at random, for targets of fuzzers. It needs no fuzzer and no nightly compiler, and does not know
//! which code an input reaches.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::{Random, bulk};

/// How many inputs a run has unless the environment says otherwise. They take about a second.
const CASES: u64 = 200_000;

/// The most bytes of an input.
const LONGEST: usize = 400;

/// Calls `target` with inputs that are made from `seeds` and `words`: parts are left out, repeated, exchanged and changed.
/// `prefix` is how many bytes in front of an input select how it is tested; they are random.
///
/// # Panics
/// If the target does. The input is printed first.
pub fn fuzz(seeds: &[&[u8]], words: &[Vec<u8>], prefix: usize, target: impl Fn(&[u8])) {
    bulk(CASES, |random| {
        let mut bytes = random.pick(seeds).to_vec();
        for _ in 0..=random.below(6) {
            change(random, &mut bytes, seeds, words);
        }
        bytes.truncate(LONGEST);
        let mut input: Vec<u8> = (0..prefix).map(|_| random.next() as u8).collect();
        input.extend_from_slice(&bytes);
        // Nothing that outlives the panic is looked at.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(&input))) {
            println!("the input: b\"{}\"", input.escape_ascii());
            resume_unwind(panic);
        }
    });
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, seeds: &[&[u8]], words: &[Vec<u8>]) {
    let at = random.below(bytes.len() + 1);
    let end = at + random.below((bytes.len() - at).min(20) + 1);
    match random.below(8) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let part = bytes[at..end].to_vec();
            insert(bytes, at, &part);
        }
        3 => insert(bytes, at, &[random.next() as u8]),
        4 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        5 if at < bytes.len() => bytes[at] = random.pick(b"\r\n \t,;:=\"-\0\x7f\x80\xff09a"),
        6 => {
            let other = random.pick(seeds);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[random.below(other.len() + 1)..]);
        }
        _ if !words.is_empty() => insert(bytes, at, &words[random.below(words.len())]),
        _ => {}
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    bytes.splice(at..at, new.iter().copied());
}

/// The words of a dictionary for libFuzzer: one in each line, in quotation marks, with escapes like `\x0d`.
///
/// # Panics
/// If a line is neither a word nor empty nor a comment.
pub fn words(dictionary: &str) -> Vec<Vec<u8>> {
    let lines = dictionary.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let word = line.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            word.and_then(unescaped).unwrap_or_else(|| panic!("not a word: {line}"))
        })
        .collect()
}

fn unescaped(word: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = word.as_bytes();
    while let [first, after @ ..] = rest {
        (rest, _) = match (first, after) {
            (b'\\', [b'x', high, low, more @ ..]) => {
                let digits = [*high, *low];
                (more, bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?))
            }
            (b'\\', [escaped, more @ ..]) => (more, bytes.push(*escaped)),
            (b'\\', []) => return None,
            (byte, more) => (more, bytes.push(*byte)),
        };
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::HashSet;

    #[test]
    fn words_of_a_dictionary_are_unescaped() {
        assert_eq!(words("# words\n\n\"a\\x0d\\\"\\\\\"\n\"b\"\n"), [b"a\r\"\\".to_vec(), b"b".to_vec()]);
    }

    #[test]
    fn inputs_differ_and_have_parts_of_seeds_and_words() {
        let seen = RefCell::new(HashSet::new());
        fuzz(&[b"seed one", b"seed two"], &words("\"word\""), 1, |input| {
            assert!(!input.is_empty() && input.len() <= 1 + LONGEST);
            seen.borrow_mut().insert(input.to_vec());
        });
        let seen = seen.into_inner();
        assert!(seen.len() > 100_000, "{} inputs", seen.len());
        for part in ["seed", "one", "word"] {
            assert!(seen.iter().any(|input| String::from_utf8_lossy(input).contains(part)), "{part}");
        }
    }

    #[test]
    fn a_target_that_panics_fails_the_test() {
        let found = catch_unwind(|| fuzz(&[b"abc"], &[], 0, |input| assert!(!input.contains(&b'\r'))));
        assert!(found.is_err());
    }
}
