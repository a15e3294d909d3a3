//! What a worker inherits from its supervisor, as the variable says by which it is passed.

use std::ffi::CStr;
use std::fmt;
use std::os::fd::RawFd;

/// The variable's name. janet/kqnet/serve/worker.janet sets it.
pub const VARIABLE: &CStr = c"KQNET_WORKER";

/// What the variable says: whole numbers with a space between them, in the order of the fields. Times are in milliseconds.
#[derive(Debug, PartialEq)]
pub struct Inheritance {
    /// The number of the worker among all that the supervisor has started.
    pub number: u32,
    /// The supervisor's process.
    pub supervisor: i32,
    /// How many seconds the worker may take to end.
    pub stop_timeout: f64,
    /// The pipe on which the worker says that it is ready.
    pub pipe: RawFd,
    /// A pipe that ends with the supervisor.
    pub lifeline: RawFd,
    /// The memory that all workers share, and this worker's slot of it, from 1. Both are 0 if there is none.
    pub memory: RawFd,
    /// See `memory`.
    pub slot: u32,
    /// The supervisor's listeners.
    pub listeners: Vec<RawFd>,
}

/// The variable has a value that kqnet-serve does not set.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.0.chars().take(60).collect();
        write!(
            f,
            "the environment variable {} has a value that this version of kqnet-serve does not set: {shown:?}; unset it",
            VARIABLE.to_string_lossy()
        )
    }
}

impl std::error::Error for Malformed {}

impl Inheritance {
    /// Reads the value of the variable.
    ///
    /// # Errors
    /// Returns the value if it has not the numbers that it should have.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        Self::read(text).ok_or_else(|| Malformed(text.to_owned()))
    }

    fn read(text: &str) -> Option<Self> {
        let numbers = text.split(' ').map(|word| word.parse().ok()).collect::<Option<Vec<i64>>>()?;
        let (&[number, supervisor, milliseconds, pipe, lifeline, memory, slot], listeners) =
            numbers.split_first_chunk()?;
        // 0 to 2 are the standard streams.
        let descriptor = |number: i64| RawFd::try_from(number).ok().filter(|fd| *fd > 2);
        let is_whole = supervisor > 0 && milliseconds > 0 && (memory > 0) == (slot > 0) && slot >= 0;
        is_whole.then_some(Self {
            number: number.try_into().ok()?,
            supervisor: supervisor.try_into().ok()?,
            stop_timeout: milliseconds as f64 / 1000.0,
            pipe: descriptor(pipe)?,
            lifeline: descriptor(lifeline)?,
            memory: if memory == 0 { 0 } else { descriptor(memory)? },
            slot: slot.try_into().ok()?,
            listeners: listeners.iter().map(|fd| descriptor(*fd)).collect::<Option<_>>()?,
        })
    }

    /// All descriptors.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> + '_ {
        let memory = Some(self.memory).filter(|fd| *fd > 0);
        [self.pipe, self.lifeline].into_iter().chain(memory).chain(self.listeners.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_numbers_are_in_this_order() {
        let found = Inheritance::parse("1 77 500 5 6 7 2 8 9").unwrap();
        assert_eq!((found.number, found.supervisor, found.stop_timeout), (1, 77, 0.5));
        assert_eq!(found.descriptors().collect::<Vec<_>>(), [5, 6, 7, 8, 9]);
        assert_eq!(found.slot, 2);
        let without_memory = Inheritance::parse("1 77 60000 5 6 0 0").unwrap();
        assert_eq!(without_memory.descriptors().collect::<Vec<_>>(), [5, 6]);
    }

    #[test]
    fn other_values_are_refused_and_named() {
        for text in [
            "",
            "yes",
            "1",
            "1 77 60 5 6 0",
            "1 77 60 5 6 7 0",
            "1 77 60 5 6 0 1",
            "1 77 60 1 6 0 0",
            "1 77 60 5 6 0 0 2",
            "1 77 60 5 6 0 0 ",
            "1 -7 60 5 6 0 0",
            "1 0 60 5 6 0 0",
            "1 77 0.5 5 6 0 0",
            "1 77 0 5 6 0 0",
            "1 77 60 5 99999999999 0 0",
            " 1 77 60 5 6 0 0",
            "1  77 60 5 6 0 0",
        ] {
            assert_eq!(Inheritance::parse(text), Err(Malformed(text.to_owned())), "{text:?}");
        }
        let shown = Malformed("x\n".repeat(1000)).to_string();
        assert!(!shown.contains('\n') && shown.len() < 300, "{shown}");
    }

    proptest! {
        #[test]
        fn no_value_is_too_strange(text in ".*") {
            let _ = Inheritance::parse(&text);
        }

        #[test]
        fn words_of_numbers_are_read_or_refused(words in prop::collection::vec(any::<i64>(), 0..12)) {
            let text = words.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            if let Ok(found) = Inheritance::parse(&text) {
                prop_assert!(found.descriptors().all(|fd| fd > 2));
            }
        }
    }
}
