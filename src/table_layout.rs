//! Where the keys of a table are, so that another table with the same keys can be filled without looking them up.

use janetrs::lowlevel as c;

/// The places that keys have in a table made by `janet_table(size)`. They depend on nothing but the keys and the size.
pub struct Layout {
    size: i32,
    capacity: i32,
    /// The places of the keys, in the order of the keys.
    places: Vec<(usize, c::Janet)>,
}

impl Layout {
    /// Finds the places of these keys. Returns `None` if two keys are equal.
    ///
    /// # Safety
    /// The keys are strings or keywords that live as long as the layout, and nothing collects garbage meanwhile.
    pub unsafe fn new(size: i32, keys: &[c::Janet]) -> Option<Self> {
        // SAFETY: the table is new, the keys are live, and `data` has `capacity` pairs.
        unsafe {
            let table = c::janet_table(size);
            for &key in keys {
                c::janet_table_put(table, key, c::janet_wrap_true());
            }
            if (*table).count as usize != keys.len() {
                return None;
            }
            let capacity = (*table).capacity;
            let place =
                |key| (0..capacity as usize).find(|&index| c::janet_equals((*(*table).data.add(index)).key, key) != 0);
            let places = keys.iter().map(|&key| Some((place(key)?, key))).collect::<Option<Vec<_>>>()?;
            Some(Self { size, capacity, places })
        }
    }

    /// Makes a table with the layout's keys and these values, none of which is nil.
    ///
    /// # Safety
    /// The values are live, and nothing collects garbage meanwhile.
    pub unsafe fn table(&self, values: impl Iterator<Item = c::Janet>) -> *mut c::JanetTable {
        // SAFETY: a new table has `capacity` empty pairs. If that is the capacity with which the places were found, they
        // are within it, and Janet will look for the keys there.
        unsafe {
            let table = c::janet_table(self.size);
            let is_same = (*table).capacity == self.capacity;
            let mut count = 0;
            for (&(place, key), value) in self.places.iter().zip(values) {
                if is_same {
                    let pair = &mut *(*table).data.add(place);
                    (pair.key, pair.value) = (key, value);
                    count += 1;
                } else {
                    c::janet_table_put(table, key, value);
                }
            }
            if is_same {
                (*table).count = count;
            }
            table
        }
    }
}
