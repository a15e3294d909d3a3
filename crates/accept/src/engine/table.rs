//! The listeners of an engine, found by their tokens.

use super::listener::Listener;
use crate::token::Token;

pub(super) struct Table<D> {
    slots: Vec<Slot<D>>,
    free: Vec<usize>,
}

struct Slot<D> {
    generation: usize,
    listener: Option<Listener<D>>,
}

impl<D> Table<D> {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    pub(super) fn insert(&mut self, listener: Listener<D>) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, listener: None });
            self.slots.len() - 1
        });
        let slot = &mut self.slots[index];
        slot.listener = Some(listener);
        Token::new(index, slot.generation)
    }

    pub(super) fn get(&mut self, token: Token) -> Option<&mut Listener<D>> {
        let slot = self.slots.get_mut(token.index())?;
        if slot.generation == token.generation() { slot.listener.as_mut() } else { None }
    }

    /// Removes a listener. Its token finds nothing from now on, even if another listener takes its place.
    pub(super) fn remove(&mut self, token: Token) {
        if self.get(token).is_some() {
            let slot = &mut self.slots[token.index()];
            slot.listener = None;
            slot.generation = token.next_generation();
            self.free.push(token.index());
        }
    }

    /// How many slots there are, free ones included.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn at(&mut self, index: usize) -> Option<(Token, &mut Listener<D>)> {
        let slot = &mut self.slots[index];
        slot.listener.as_mut().map(|listener| (Token::new(index, slot.generation), listener))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Listener<D>> {
        self.slots.iter().filter_map(|slot| slot.listener.as_ref())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Listener<D>> {
        self.slots.iter_mut().filter_map(|slot| slot.listener.as_mut())
    }
}
