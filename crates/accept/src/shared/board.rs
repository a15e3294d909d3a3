//! A text that a supervisor shows to its workers, whichever of them looks and whenever.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::memory::{self, NotShared};
use crate::errno::Errno;

/// How many bytes a text may have.
pub const BOARD: usize = 8192;

const WORD: usize = size_of::<u64>();

/// Tells this layout from others. It is in the first word.
const MAGIC: u64 = 0x6b71_6e65_7462_6401;
/// It is odd while the text is being changed, and another number afterwards.
const SEQUENCE: usize = 1;
const SIZE: usize = 2;
const TEXT: usize = 3;
const LENGTH: usize = TEXT + BOARD / WORD;

/// A board that is mapped for as long as the process lives. One process writes to it, and any number of others read it.
#[derive(Clone, Copy, Debug)]
pub struct Board(&'static [AtomicU64]);

impl Board {
    /// Makes a board with an empty text, and its descriptor, by which other processes can map it.
    ///
    /// # Errors
    /// Returns the error of memfd_create(2), shm_open(3), ftruncate(2) or mmap(2).
    pub fn create() -> Result<(Self, OwnedFd), Errno> {
        let (words, fd) = memory::create_with_layout(LENGTH, MAGIC)?;
        Ok((Self(words), fd))
    }

    /// Maps a board that another process has made.
    ///
    /// # Errors
    /// Returns an error if the system does not map it, or if it has another layout.
    pub fn open(fd: BorrowedFd<'_>) -> Result<Self, NotShared> {
        memory::open_with_layout(fd, LENGTH, MAGIC).map(Self)
    }

    /// Replaces the text. What is longer than [`BOARD`] is cut off.
    pub fn write(self, text: &[u8]) {
        let text = &text[..text.len().min(BOARD)];
        let sequence = self.0[SEQUENCE].load(Ordering::Relaxed) | 1;
        self.0[SEQUENCE].store(sequence, Ordering::Relaxed);
        // Whoever sees a word that is written below also sees the odd number.
        fence(Ordering::Release);
        self.0[SIZE].store(text.len() as u64, Ordering::Relaxed);
        for (word, bytes) in self.0[TEXT..].iter().zip(text.chunks(WORD)) {
            let mut whole = [0; WORD];
            whole[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(whole), Ordering::Relaxed);
        }
        self.0[SEQUENCE].store(sequence.wrapping_add(1), Ordering::Release);
    }

    /// Returns the text, or `None` while it is being changed. A process that ends in the midst of that leaves it so.
    pub fn read(self) -> Option<Vec<u8>> {
        let before = self.0[SEQUENCE].load(Ordering::Acquire);
        let size = self.0[SIZE].load(Ordering::Relaxed) as usize;
        let words = self.0[TEXT..].iter().take(size.min(BOARD).div_ceil(WORD));
        let mut text: Vec<u8> = words.flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
        text.truncate(size);
        fence(Ordering::Acquire);
        (before % 2 == 0 && before == self.0[SEQUENCE].load(Ordering::Relaxed)).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_is_read_whole_while_others_take_its_place() {
        let (board, fd) = Board::create().unwrap();
        assert_eq!(board.read(), Some(Vec::new()));
        let reader = Board::open(fd.as_fd()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..20_000_u32 {
                    board.write(&vec![round as u8; round as usize % 97]);
                }
            });
            let mut seen = 0;
            while seen < 1000 {
                if let Some(text) = reader.read() {
                    assert!(text.windows(2).all(|pair| pair[0] == pair[1]), "{text:?}");
                    seen += 1;
                }
            }
        });
        assert_eq!(reader.read(), Some(vec![19_999_u32 as u8; 19_999 % 97]));
    }

    #[test]
    fn other_memory_is_no_board() {
        for words in [1, LENGTH] {
            let fd = memory::create(words).unwrap();
            assert_eq!(Board::open(fd.as_fd()).err(), Some(NotShared::OtherLayout));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_far_as_there_is_space(
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..BOARD + 20), 1..4)
        ) {
            let (board, _fd) = Board::create().unwrap();
            for text in texts {
                board.write(&text);
                prop_assert_eq!(board.read(), Some(text[..text.len().min(BOARD)].to_vec()));
            }
        }
    }
}
