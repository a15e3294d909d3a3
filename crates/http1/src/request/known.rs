//! Header lines that came before. What the same bytes mean is known, so they need not be parsed again.

use crate::request::framing::Framing;
use crate::request::head::Head;
use crate::version::Version;

/// The most sequences of header lines that are kept. A client sends the same ones with nearly all its requests.
const MAX: usize = 16;

/// The longest sequence that is kept, in bytes.
const MAX_BYTES: usize = 1024;

/// Once there are [`MAX`], only one in this many unknown ones replaces the one that was not seen for longest, so that clients
/// with random headers do not cost the others theirs.
const UNKNOWN_TO_REPLACE: usize = 64;

/// The header lines of earlier requests, and a value of the caller's for each sequence of lines.
#[derive(Clone, Debug)]
pub struct KnownHeaders<T> {
    entries: Vec<Entry<T>>,
    unknown: usize,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    meaning: Meaning,
    value: T,
}

/// What header lines mean in a request of one version.
#[derive(Clone, Debug)]
pub(crate) struct Meaning {
    /// The lines, with the empty line at their end.
    block: Box<[u8]>,
    pub(crate) version: Version,
    /// The number of lines without the empty one.
    lines: usize,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    pub(crate) expect_continue: bool,
}

impl Meaning {
    /// The length of the lines in bytes, with the empty one.
    pub(crate) fn len(&self) -> usize {
        self.block.len()
    }
}

impl<T> Default for KnownHeaders<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), unknown: 0 }
    }
}

impl<T> KnownHeaders<T> {
    /// Returns the value of the sequence of lines that the last head had, if [`Head::is_known`] says that it was known.
    pub fn last(&self) -> Option<&T> {
        self.entries.first().map(|entry| &entry.value)
    }

    /// Remembers the header lines of a head that were not known, with a value that `make` makes for them, unless they are too
    /// long or too rare. `make` gets the value that the new one replaces. The lines must not have secrets: they are kept until
    /// others take their place.
    pub fn remember(&mut self, head: &Head<'_>, make: impl FnOnce(Option<T>) -> T) {
        if head.is_known || head.block.len() > MAX_BYTES {
            return;
        }
        self.unknown += 1;
        let replaced = if self.entries.len() == MAX {
            if self.unknown % UNKNOWN_TO_REPLACE != 0 {
                return;
            }
            self.entries.pop()
        } else {
            None
        };
        let meaning = Meaning {
            block: head.block.into(),
            version: head.version,
            lines: head.headers.len(),
            framing: head.framing,
            keep_alive: head.keep_alive,
            expect_continue: head.expect_continue,
        };
        self.entries.insert(0, Entry { meaning, value: make(replaced.map(|entry| entry.value)) });
    }

    /// Finds the lines with which `bytes` begin.
    pub(crate) fn find(&mut self, bytes: &[u8], version: Version, max_lines: usize) -> Option<&Meaning> {
        let is_same = |entry: &Entry<T>| {
            let meaning = &entry.meaning;
            meaning.version == version && meaning.lines <= max_lines && bytes.starts_with(&meaning.block)
        };
        let index = self.entries.iter().position(is_same)?;
        if index > 0 {
            self.entries[..=index].rotate_right(1);
        }
        self.entries.first().map(|entry| &entry.meaning)
    }
}
