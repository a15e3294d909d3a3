//! Spare tables: those of requests that are over, and of their responses with files, are used again when Janet's collector finds
//! that nothing refers to them.
//!
//! A request has three tables, and allocating and freeing them took a quarter of its instructions. Only the collector knows
//! whether a program still has a table, so it is asked while it works: it marks what is reachable, and then goes through all
//! values, the newest first, and frees those without a mark. A canary is a value that nothing refers to. When the collector drops it,
//! all marks are set, and nothing that is older than the canary has been freed yet. At that moment, the flag that keeps a
//! value from being freed is set for the dead ones of the tables that are older.
//!
//! This is how `janet_sweep` (gc.c) works in Janet 1.36 to 1.42. With any other version, every table is allocated.

use std::cell::RefCell;
use std::rc::Rc;

use janetrs::lowlevel as c;
use janetrs::{Janet, TaggedJanet};

use crate::abstract_type::{AbstractType, NOTHING};
use crate::collected::{self, Collected, drop_collected};

/// The minor versions of Janet 1 whose collector works like this.
const KNOWN_VERSIONS: std::ops::RangeInclusive<u32> = 36..=42;

/// The collector has found a value to be reachable (`JANET_MEM_REACHABLE` in Janet's gc.h).
const REACHABLE: i32 = 0x100;

/// The collector does not free a value (`JANET_MEM_DISABLED` in Janet's gc.h).
const DISABLED: i32 = 0x200;

/// Tables of 1, 2, 4, up to 64 pairs are kept.
const SIZES: usize = 7;

/// The bytes that a processor loads at once.
const CACHE_LINE: usize = 64;

/// How many cache lines of a table's pairs are loaded ahead, at most.
const MOST_PREFETCHED: usize = 4;

/// How many tables before it is looked at a table is loaded, when there are many.
const PREFETCH_AHEAD: usize = 8;

/// How many tables are allocated before there is a new canary. The collector frees those that are newer than the canary.
const PER_CANARY: usize = 256;

/// The spare tables of a VM.
pub struct SpareTables {
    /// `None` if nothing is known of how the collector of this Janet works.
    tables: Option<Rc<RefCell<Tables>>>,
}

/// The invariant: the tables in `of_size` and `watched` were not freed yet, and are older than the newest canary and its successor.
/// Nothing refers to those that are not in use, and their flag keeps them from being freed. There is a canary if any table is
/// in use, in `watched` or in `fresh`.
#[derive(Default)]
struct Tables {
    /// The tables by the logarithm of their capacity.
    of_size: [TablesOfSize; SIZES],
    /// Tables that were allocated and are in use.
    watched: Vec<*mut c::JanetTable>,
    /// Tables that were allocated after the canary. It tells nothing of them.
    fresh: Vec<*mut c::JanetTable>,
    /// How many canaries there were. Only the newest means something.
    canaries: u64,
    /// The successor of the newest canary, until a collection drops that one. Its flag keeps it from being freed.
    successor: Option<*mut Canary>,
}

#[derive(Default)]
struct TablesOfSize {
    tables: Vec<*mut c::JanetTable>,
    /// How many of them, from the first on, were given to requests since the last collection.
    used: usize,
    /// How many more were allocated since the last collection.
    allocated: usize,
}

/// A value that nothing refers to, so that the collector drops it in its next collection.
///
/// Nothing can be allocated during a collection, so each canary has a successor, which is somewhat older and lives on to the
/// collection after that. It lets the tables go if there was no request in between.
struct Canary {
    /// The number of the canary, or of the one whose successor this is.
    number: u64,
    is_successor: bool,
    tables: Rc<RefCell<Tables>>,
}

static CANARY: AbstractType = AbstractType(c::JanetAbstractType {
    name: c"kqnet/canary".as_ptr(),
    gc: Some(drop_collected::<Canary>),
    ..NOTHING
});

// SAFETY: only `Tables::watch` makes values of this Janet type, and they are dropped as a `Canary`.
unsafe impl Collected for Canary {
    fn janet_type() -> &'static AbstractType {
        &CANARY
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        // SAFETY: the collector drops this value, so it has marked everything, and has not come to older values yet. At the
        // end of the VM nothing is marked, and older values are freed later too, in spite of their flag. The tables are
        // not borrowed, since nothing is collected while they are.
        unsafe {
            let tables = &mut *self.tables.borrow_mut();
            if tables.canaries == self.number {
                if self.is_successor { tables.let_go() } else { tables.collected() }
            }
        }
    }
}

/// The index of the tables with this capacity in `of_size`, if they are kept.
fn size_of_capacity(capacity: i32) -> Option<usize> {
    let capacity = u32::try_from(capacity).ok().filter(|capacity| capacity.is_power_of_two())?;
    Some(capacity.trailing_zeros() as usize).filter(|size| *size < SIZES)
}

impl SpareTables {
    /// Has none yet.
    pub fn new() -> Self {
        Self { tables: is_known_version().then(Rc::default) }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        let count = |tables: &Tables| tables.of_size.iter().map(|of_size| of_size.tables.len() - of_size.used).sum();
        self.tables.as_ref().map_or(0, |tables| count(&tables.borrow()))
    }

    /// A copy of a table. What Janet code may see of it is like that of a new one.
    ///
    /// # Safety
    /// The table is live and has memory for pairs, and nothing collects garbage before the copy is reachable.
    pub unsafe fn copy(&self, table: *mut c::JanetTable) -> *mut c::JanetTable {
        // SAFETY: the caller promises that the table is live. A spare one is live too, and has memory for as many pairs.
        unsafe {
            let capacity = (*table).capacity;
            let (Some(rc), Some(size)) = (&self.tables, size_of_capacity(capacity)) else {
                return clone(table);
            };
            let tables = &mut *rc.borrow_mut();
            if tables.successor.is_none() {
                tables.watch(rc);
            }
            let Some(copy) = tables.of_size[size].take(size) else {
                let copy = clone(table);
                tables.fresh.push(copy);
                if tables.fresh.len() >= PER_CANARY {
                    tables.watch(rc);
                }
                return copy;
            };
            // It counts as new, since the next collection is to find it again.
            c::janet_gcpressure(size_of::<c::JanetTable>() + capacity as usize * size_of::<c::JanetKV>());
            (*copy).gc.flags &= !DISABLED;
            (*copy).count = (*table).count;
            (*copy).deleted = (*table).deleted;
            (*copy).proto = (*table).proto;
            if capacity == 1 {
                *(*copy).data = *(*table).data;
            } else {
                (*copy).data.copy_from_nonoverlapping((*table).data, capacity as usize);
            }
            copy
        }
    }
}

impl TablesOfSize {
    /// Takes a spare one. If there is none, the caller allocates one.
    #[inline]
    fn take(&mut self, size: usize) -> Option<*mut c::JanetTable> {
        let Some(&table) = self.tables.get(self.used) else {
            self.allocated += 1;
            return None;
        };
        self.used += 1;
        self.prefetch(size);
        Some(table)
    }

    /// Keeps as many of the tables as are needed, except those that a program still has, or has made larger. Returns how many
    /// were needed since the last collection.
    ///
    /// # Safety
    /// The same as for [`Tables::collected`].
    unsafe fn collected(&mut self, size: usize) -> usize {
        let needed = self.used + self.allocated;
        let tables = &mut self.tables;
        let mut kept = 0;
        for at in 0..tables.len() {
            if let Some(&later) = tables.get(at + PREFETCH_AHEAD) {
                prefetch(later);
            }
            let table = tables[at];
            // SAFETY: the table was not freed yet, by the invariant of `Tables`.
            unsafe {
                if at < self.used && !is_dead(table, size) {
                    continue;
                }
                if kept == needed {
                    (*table).gc.flags &= !DISABLED;
                    continue;
                }
                (*table).gc.flags |= DISABLED;
            }
            tables[kept] = table;
            kept += 1;
        }
        tables.truncate(kept);
        (self.used, self.allocated) = (0, 0);
        needed
    }

    /// Has the processor load the table that is used next, and the head of the one after it. Most of them have been out of
    /// its cache since the last collection, and waiting for them would take 6 to 8 % of the time of a request.
    #[inline]
    fn prefetch(&self, size: usize) {
        if let [next, after_next, ..] = self.tables[self.used..] {
            prefetch(after_next);
            // SAFETY: the tables are live.
            let pairs = unsafe { (*next).data };
            for line in 0..MOST_PREFETCHED {
                if line * CACHE_LINE < size_of::<c::JanetKV>() << size {
                    prefetch(pairs.wrapping_byte_add(line * CACHE_LINE));
                }
            }
        }
    }
}

/// A copy of a table that is allocated.
///
/// # Safety
/// The same as for [`SpareTables::copy`].
unsafe fn clone(table: *mut c::JanetTable) -> *mut c::JanetTable {
    // SAFETY: the caller promises that the table is live.
    unsafe {
        // Janet counts the memory of tables that it makes, to know when to collect, but not that of copies.
        c::janet_gcpressure((*table).capacity as usize * size_of::<c::JanetKV>());
        c::janet_table_clone(table)
    }
}

impl Tables {
    /// Makes a canary that is newer than all tables so far. `rc` holds these tables.
    fn watch(&mut self, rc: &Rc<RefCell<Self>>) {
        self.canaries += 1;
        let make =
            |is_successor| collected::make(Canary { number: self.canaries, is_successor, tables: Rc::clone(rc) });
        // Janet finds both in its list of all values, and nowhere else.
        let successor = make(true);
        make(false);
        // SAFETY: the new value is live, and the flag has kept the old one alive.
        unsafe {
            *flags(successor) |= DISABLED;
            if let Some(old) = self.successor.replace(successor) {
                *flags(old) &= !DISABLED;
            }
        }
        self.watched.append(&mut self.fresh);
    }

    /// Finds the spare tables when the newest canary is dropped.
    ///
    /// # Safety
    /// The collector drops the canary, and comes to older values after that.
    unsafe fn collected(&mut self) {
        // Those without a mark are freed already.
        self.fresh.clear();
        // SAFETY: none of these values was freed yet, by the invariant of `Tables`. The collector frees those without any flag.
        unsafe {
            if let Some(successor) = self.successor.take() {
                *flags(successor) = *flags(successor) & !DISABLED | REACHABLE;
            }
            let needed: [usize; SIZES] = std::array::from_fn(|size| self.of_size[size].collected(size));
            for &table in &self.watched {
                // A program may have made it larger.
                let Some(size) = size_of_capacity((*table).capacity) else { continue };
                let tables = &mut self.of_size[size].tables;
                if is_dead(table, size) && tables.len() < needed[size] {
                    (*table).gc.flags |= DISABLED;
                    tables.push(table);
                }
            }
        }
        self.watched.clear();
    }

    /// Lets the collector free all spare tables when the successor of the newest canary is dropped.
    ///
    /// # Safety
    /// The same as for [`Tables::collected`].
    unsafe fn let_go(&mut self) {
        for of_size in &mut self.of_size {
            for table in std::mem::take(of_size).tables {
                // SAFETY: the flag has kept the table alive.
                unsafe { (*table).gc.flags &= !DISABLED };
            }
        }
        self.watched = Vec::new();
    }
}

/// Whether nothing refers to a table that is in use, and it still has the memory of its size.
///
/// # Safety
/// The collector has marked everything, and has not freed the table.
unsafe fn is_dead(table: *mut c::JanetTable, size: usize) -> bool {
    // SAFETY: the caller promises that the table was not freed.
    unsafe { (*table).gc.flags & REACHABLE == 0 && size_of_capacity((*table).capacity) == Some(size) }
}

/// The flags of a canary for the collector.
///
/// # Safety
/// The canary is live.
unsafe fn flags(canary: *mut Canary) -> *mut i32 {
    // SAFETY: the canary is an abstract value, which Janet keeps behind such a head.
    unsafe { &raw mut (*c::janet_abstract_head(canary.cast())).gc.flags }
}

/// Whether the version of the running Janet is among [`KNOWN_VERSIONS`].
fn is_known_version() -> bool {
    // SAFETY: called from a function that Janet called, so the VM has a core environment.
    let version = Janet::from(unsafe { c::janet_resolve_core(c"janet/version".as_ptr()) });
    let TaggedJanet::String(version) = version.unwrap() else { return false };
    let minor = version.to_str().ok().and_then(|version| version.strip_prefix("1.")?.split('.').next()?.parse().ok());
    minor.is_some_and(|minor: u32| KNOWN_VERSIONS.contains(&minor))
}

/// Has the processor load the cache line at an address, where Rust offers that.
fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction belongs to the architecture, and does not fail whatever the address is.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    let _ = address;
}
