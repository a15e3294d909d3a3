//! The number by which the kernel's queue names a listener in an event.

/// Names one listener of an [`Engine`](crate::Engine). No later listener gets the same token, so a late event of a closed
/// listener finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub(crate) usize);

impl Token {
    /// A token must fit in a kevent's `udata`, so the index and the generation get half a word each.
    const HALF: u32 = usize::BITS / 2;
    const MASK: usize = (1 << Self::HALF) - 1;

    /// Names the timer in the events of a queue. No listener has it, since its index would need as many listeners as half a
    /// word can count.
    pub(crate) const TIMER: Self = Self(usize::MAX);

    /// The token of a listener in the engine's table. The generation tells it from earlier ones at the same index.
    pub(crate) fn new(index: usize, generation: usize) -> Self {
        Self(generation << Self::HALF | index)
    }

    pub(crate) fn index(self) -> usize {
        self.0 & Self::MASK
    }

    pub(crate) fn generation(self) -> usize {
        self.0 >> Self::HALF
    }

    /// The generation of the next listener at this index.
    pub(crate) fn next_generation(self) -> usize {
        (self.generation() + 1) & Self::MASK
    }
}
