//! The beginnings of response heads that came before: most handlers return the same status and headers again and again.
//!
//! A beginning is the status line and the handler's headers as bytes, and the number in its Content-Length. It follows from
//! the status and from immutable values alone, and they are compared with those of each response. The VM holds the values
//! that are compared with, so none of them can be collected and its address given to another value.

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_http1::response::Beginning;

use crate::value::{bytes, has_prototype, held_nils, is_struct, is_text, slots, tuple};

/// How many beginnings are kept. Each status with its headers has one entry, which it shares with others.
const ENTRIES: usize = 16;

/// The most bytes of a beginning that is kept.
const MAX_BYTES: usize = 1024;

/// The most slots of a dictionary of headers that is kept, including those that are free.
const MAX_SLOTS: usize = 32;

/// What a header's name contains, in lower case, if its value may identify a user. Such a value is kept no longer than the
/// program keeps it.
const SECRET: [&str; 11] =
    ["auth", "cookie", "csrf", "jwt", "key", "location", "password", "secret", "session", "token", "user"];

/// What is known of the heads of earlier responses.
pub struct ResponseHeads {
    entries: [Entry; ENTRIES],
    /// The index of the entry with the last beginning that was known.
    latest: usize,
    /// A tuple of the values of each entry, or nil.
    held: *mut c::JanetArray,
}

struct Entry {
    /// 0 if there is no beginning.
    status: u16,
    /// The struct of headers, which cannot change, or nil for a table. What is in a prototype is not kept.
    structure: c::Janet,
    /// The slots of the dictionary of headers, including those that are free.
    slots: Box<[c::JanetKV]>,
    /// The bytes of the beginning.
    bytes: Box<[u8]>,
    declared_length: Option<u64>,
    /// The hash of the last response of this entry whose beginning was not known.
    missed: u64,
}

impl ResponseHeads {
    /// Knows nothing yet. `hold` keeps a value alive for as long as the VM lives.
    pub fn new(hold: &dyn Fn(c::Janet)) -> Self {
        let empty = || Entry {
            status: 0,
            structure: Janet::nil().into(),
            slots: Box::default(),
            bytes: Box::default(),
            declared_length: None,
            missed: 0,
        };
        Self { entries: std::array::from_fn(|_| empty()), latest: 0, held: held_nils(ENTRIES, hold) }
    }

    /// The beginning of the head for this status and these headers, if it is known.
    #[inline]
    pub fn known(&mut self, status: u16, headers: Janet) -> Option<Beginning<'_>> {
        let latest = &self.entries[self.latest];
        // Headers that are written in a handler's code are the same struct each time.
        let is_latest = latest.status == status && latest.structure.is_identical(headers.into()) && !headers.is_nil();
        if !is_latest && !self.find(status, headers) {
            return None;
        }
        let Entry { bytes, declared_length, .. } = &self.entries[self.latest];
        Some(Beginning { bytes, declared_length: *declared_length })
    }

    /// Looks for the entry that has the beginning, by the keys and values of the headers.
    fn find(&mut self, status: u16, headers: Janet) -> bool {
        let Some(slots) = slots_of(&headers) else { return false };
        let at = index_of(hash(status, slots));
        let entry = &self.entries[at];
        // An entry that is still empty would match a response with the status 0 and no headers, which is invalid.
        if status == 0 || entry.status != status || entry.slots.len() != slots.len() || !is_same(&entry.slots, slots) {
            return false;
        }
        self.latest = at;
        true
    }

    /// Takes note of a beginning that was not known. It is kept if the response before it that was not known had the same
    /// status and the same headers, since what differs each time is not worth it.
    pub fn note(&mut self, status: u16, headers: Janet, beginning: Beginning<'_>) {
        let Some(slots) = slots_of(&headers) else { return };
        let hash = hash(status, slots);
        let at = index_of(hash);
        let entry = &mut self.entries[at];
        // The values that were hashed may be gone, and others may have their addresses. Then this is kept too early, at most.
        if std::mem::replace(&mut entry.missed, hash) != hash
            || beginning.bytes.len() > MAX_BYTES
            || slots.len() > MAX_SLOTS
            || !slots.iter().all(may_be_kept)
        {
            return;
        }
        let is_whole = is_struct(headers) && !has_prototype(headers);
        let structure = if is_whole { headers } else { Janet::nil() };
        let mut values = vec![structure];
        values.extend(slots.iter().flat_map(|pair| [Janet::from(pair.key), Janet::from(pair.value)]));
        // SAFETY: the VM holds the array, which has `ENTRIES` values, and no Janet code sees it.
        unsafe { *(*self.held).data.add(at) = tuple(&values).into() };
        *entry = Entry {
            status,
            structure: structure.into(),
            slots: slots.into(),
            bytes: beginning.bytes.into(),
            declared_length: beginning.declared_length,
            missed: hash,
        };
    }
}

/// The slots of headers. Nil stands for no headers. `None` if the value is something else, which is refused.
fn slots_of(headers: &Janet) -> Option<&[c::JanetKV]> {
    if headers.is_nil() { Some(&[]) } else { slots(headers) }
}

/// A hash of what decides the beginning. Any hash is right, since all of it is compared.
fn hash(status: u16, slots: &[c::JanetKV]) -> u64 {
    slots.iter().fold(status.into(), |hash: u64, pair| {
        hash.rotate_left(7) ^ pair.key.bits() ^ pair.value.bits().rotate_left(32)
    })
}

/// The index of the entry for a hash.
fn index_of(hash: u64) -> usize {
    // The golden ratio as a fraction of 2^64, which spreads addresses over the highest bits.
    (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize % ENTRIES
}

/// Whether slots have the very same keys and values.
fn is_same(some: &[c::JanetKV], others: &[c::JanetKV]) -> bool {
    some.iter().zip(others).all(|(one, other)| one.key.is_identical(other.key) && one.value.is_identical(other.value))
}

/// Whether a slot is free, or has a header that cannot change and does not identify a user.
fn may_be_kept(pair: &c::JanetKV) -> bool {
    let (name, value) = (Janet::from(pair.key), Janet::from(pair.value));
    if name.is_nil() {
        return true;
    }
    // SAFETY: it only looks at the value.
    let is_number = unsafe { c::janet_checktype(pair.value, c::JanetType_JANET_NUMBER) } != 0;
    if !is_text(name) || !is_text(value) && !is_number {
        return false;
    }
    let name = bytes(&name).unwrap_or_default().to_ascii_lowercase();
    let has = |part: &str| name.windows(part.len()).any(|window| window == part.as_bytes());
    // A query may have secrets.
    !SECRET.iter().any(|part| has(part)) && !bytes(&value).is_some_and(|value| value.contains(&b'?'))
}
