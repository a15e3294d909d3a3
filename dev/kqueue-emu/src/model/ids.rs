//! The names of queues, knotes and sources, and the slab that hands them out.
//!
//! The name of a knote or a queue is never used again, so a late message about a dead one is harmless.

/// A queue of a [`Model`](super::Model).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueId(pub(super) Id);

/// A knote of a [`Model`](super::Model).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KnoteId(pub(super) Id);

impl KnoteId {
    /// The name as one number, always above `u32::MAX`.
    pub fn to_bits(self) -> u64 {
        u64::from(self.0.generation) << 32 | u64::from(self.0.index)
    }

    /// The name that [`to_bits`](Self::to_bits) made this number of.
    pub fn from_bits(bits: u64) -> Self {
        Self(Id { index: bits as u32, generation: (bits >> 32) as u32 })
    }
}

/// Something that descriptors stand for. The [`Sources`](super::Sources) number it: with small numbers, which they use
/// again after the last detach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceId(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id {
    pub(super) index: u32,
    generation: u32,
}

#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    pub(super) fn insert(&mut self, value: T) -> Id {
        match self.free.pop() {
            Some(index) => {
                let slot = &mut self.slots[index as usize];
                slot.1 = Some(value);
                Id { index, generation: slot.0 }
            }
            None => {
                self.slots.push((1, Some(value)));
                Id { index: self.slots.len() as u32 - 1, generation: 1 }
            }
        }
    }

    pub(super) fn get(&self, id: Id) -> Option<&T> {
        let (generation, value) = self.slots.get(id.index as usize)?;
        value.as_ref().filter(|_| *generation == id.generation)
    }

    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let (generation, value) = self.slots.get_mut(id.index as usize)?;
        value.as_mut().filter(|_| *generation == id.generation)
    }

    /// The number of places, including the free ones.
    pub(super) fn places(&self) -> usize {
        self.slots.len()
    }

    /// The value at a place, or `None` when it is free.
    pub(super) fn at(&self, place: usize) -> Option<&T> {
        self.slots.get(place)?.1.as_ref()
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<T> {
        self.get(id)?;
        let slot = &mut self.slots[id.index as usize];
        slot.0 += 1;
        self.free.push(id.index);
        slot.1.take()
    }
}
