//! Tables that are copied from a prepared one with the same keys, so that no key is looked up.

use janetrs::lowlevel as c;

use crate::spare_tables::SpareTables;

/// A prepared table, and the places of its keys, which depend on nothing but the keys and the size of the table.
pub struct Layout {
    /// It is never shown to Janet code, so it stays as it was made.
    prepared: *mut c::JanetTable,
    /// The places of the keys, in the order of the keys.
    places: Vec<usize>,
}

impl Layout {
    /// Prepares a table of this size with these keys. Returns `None` if two keys are equal.
    ///
    /// # Safety
    /// The keys are live strings or keywords, and nothing collects garbage before the caller holds the table. The table must be
    /// held for as long as the layout exists.
    pub unsafe fn new(size: i32, keys: &[c::Janet]) -> Option<Self> {
        // SAFETY: the table is new, the keys are live, and `data` has `capacity` pairs.
        unsafe {
            let prepared = c::janet_table(size);
            for &key in keys {
                c::janet_table_put(prepared, key, c::janet_wrap_true());
            }
            if (*prepared).count as usize != keys.len() {
                return None;
            }
            let capacity = (*prepared).capacity as usize;
            let place =
                |key| (0..capacity).find(|&index| c::janet_equals((*(*prepared).data.add(index)).key, key) != 0);
            let places = keys.iter().map(|&key| place(key)).collect::<Option<Vec<_>>>()?;
            Some(Self { prepared, places })
        }
    }

    /// The prepared table, to be held.
    pub fn prepared_table(&self) -> *mut c::JanetTable {
        self.prepared
    }

    /// A new table with the keys. The values are those of the prepared table, or true where it has none.
    ///
    /// # Safety
    /// Nothing collects garbage before the table is reachable.
    pub unsafe fn copy(&self, spare: &SpareTables) -> *mut c::JanetTable {
        // SAFETY: the prepared table is live, and the caller promises the rest.
        unsafe { spare.copy(self.prepared) }
    }

    /// The value of the key at `index` in the prepared table.
    pub fn prepared(&mut self, index: usize) -> &mut c::Janet {
        // SAFETY: the prepared table is live, and has a pair at each place. Nothing else refers to its memory.
        unsafe { &mut (*(*self.prepared).data.add(self.places[index])).value }
    }

    /// Stores the value of the key at `index` in a copy.
    ///
    /// # Safety
    /// The table is live and was made by [`Layout::copy`]; it has not been changed otherwise. The value is live, and not nil.
    pub unsafe fn set(&self, copy: *mut c::JanetTable, index: usize, value: c::Janet) {
        // SAFETY: a copy has the same pairs as the prepared table, as the caller promises.
        unsafe { (*(*copy).data.add(self.places[index])).value = value };
    }

    /// Whether a table has the size of a copy.
    ///
    /// # Safety
    /// The table is live.
    pub unsafe fn fits(&self, table: *mut c::JanetTable) -> bool {
        // SAFETY: the caller promises that the table is live.
        unsafe { (*table).capacity == (*self.prepared).capacity }
    }

    /// The pair of the key at `index`, if a table has it in the place that it has in a copy.
    ///
    /// # Safety
    /// The table is live.
    unsafe fn pair(&self, table: *mut c::JanetTable, index: usize) -> Option<*mut c::JanetKV> {
        // SAFETY: the caller promises that the table is live. A place is within its memory if it has the prepared capacity.
        unsafe {
            if !self.fits(table) {
                return None;
            }
            let pair = (*table).data.add(self.places[index]);
            (*pair).key.is_identical(self.key(index)).then_some(pair)
        }
    }

    /// The key at `index`.
    pub fn key(&self, index: usize) -> c::Janet {
        // SAFETY: the prepared table is live, and has a pair at each place.
        unsafe { (*(*self.prepared).data.add(self.places[index])).key }
    }

    /// The value of the key at `index` in a copy that Janet code may have changed meanwhile, or in any other table.
    ///
    /// # Safety
    /// The table is live.
    pub unsafe fn get(&self, table: *mut c::JanetTable, index: usize) -> c::Janet {
        // SAFETY: the caller promises that the table is live.
        unsafe {
            match self.pair(table, index) {
                Some(pair) => (*pair).value,
                None => c::janet_table_get(table, self.key(index)),
            }
        }
    }

    /// Removes the key at `index` from a copy that Janet code may have changed meanwhile.
    ///
    /// # Safety
    /// The table is live.
    pub unsafe fn remove(&self, table: *mut c::JanetTable, index: usize) {
        // SAFETY: the caller promises that the table is live.
        unsafe {
            let Some(pair) = self.pair(table, index) else {
                c::janet_table_remove(table, self.key(index));
                return;
            };
            // This is what janet_table_remove does with the pair that it finds.
            ((*pair).key, (*pair).value) = (c::janet_wrap_nil(), c::janet_wrap_boolean(0));
            (*table).count -= 1;
            (*table).deleted += 1;
        }
    }
}
