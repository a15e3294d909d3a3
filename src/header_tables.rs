//! Tables of headers: made from the headers of a request, or copied when headers like these came before.
//!
//! What is kept of a request are immutable strings, so nothing of one request is visible to another. Values that identify a
//! user are not kept, nor are queries.

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_http1::{Head, Header, KnownHeaders, push_lower};

use crate::common_strings::{CommonStrings, new_string};
use crate::spare_tables::SpareTables;
use crate::table_layout::Layout;
use crate::value::bytes;

/// What is known of the headers of earlier requests.
pub struct HeaderTables {
    /// The header lines of earlier requests. The value is the index of their table in `held`.
    pub known: KnownHeaders<usize>,
    /// The layouts of tables for certain names.
    layouts: Vec<NamedLayout>,
    /// The tables of both, for the collector.
    held: *mut c::JanetArray,
    /// How many requests had headers that none of the layouts has.
    misses: usize,
}

/// The layout of a table of headers with certain names.
struct NamedLayout {
    /// The names as they were received, in this order, and which of their values are kept.
    names: Vec<(Box<str>, Kept)>,
    /// Its prepared table has the values that the last such request had, as far as they are kept. Most are the same in the
    /// next one.
    layout: Layout,
    /// The index of its table in `held`.
    held_at: usize,
}

/// Which values of a header are kept for the next request.
#[derive(Clone, Copy)]
enum Kept {
    All,
    /// Those of a header that has a URI. A query may have secrets.
    WithoutQuery,
    None,
}

impl Kept {
    fn of(name: &str) -> Self {
        let is_one_of = |names: &[&str]| names.iter().any(|other| name.eq_ignore_ascii_case(other));
        if is_one_of(&SECRET) {
            return Self::None;
        }
        if is_one_of(&["referer"]) { Self::WithoutQuery } else { Self::All }
    }

    fn has(self, value: &[u8]) -> bool {
        let may_be_kept = match self {
            Self::All => true,
            Self::WithoutQuery => !value.contains(&b'?'),
            Self::None => false,
        };
        may_be_kept && value.len() <= MAX_KEPT_VALUE
    }
}

/// Headers whose values identify a user. They are not kept longer than the request.
const SECRET: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// The longest value that is kept for the next request, in bytes.
const MAX_KEPT_VALUE: usize = 256;

/// The most layouts that are kept. A client sends the same headers with nearly all its requests.
const MAX_LAYOUTS: usize = 16;

/// Once there are that many, only one in this many unknown sequences of headers replaces the last one in the list, so that
/// clients with random headers do not cost the others their layouts.
const MISSES_TO_REPLACE: usize = 64;

impl NamedLayout {
    fn has_names_of(&self, headers: &[Header<'_>]) -> bool {
        self.names.len() == headers.len()
            && self.names.iter().zip(headers).all(|((name, _), header)| **name == *header.name)
    }

    /// Whether the values of all these headers may be kept.
    fn keeps_all(&self, headers: &[Header<'_>]) -> bool {
        self.names.iter().zip(headers).all(|((_, kept), header)| kept.has(header.value))
    }

    /// Makes the table of headers with these names.
    ///
    /// # Safety
    /// Nothing collects garbage before the table is reachable.
    unsafe fn table(&mut self, headers: &[Header<'_>], spare: &SpareTables) -> *mut c::JanetTable {
        // SAFETY: the caller promises this.
        let table = unsafe { self.layout.copy(spare) };
        for (index, (header, (_, kept))) in headers.iter().zip(&self.names).enumerate() {
            let is_kept = kept.has(header.value);
            if is_kept && bytes(&Janet::from(*self.layout.prepared(index))) == Some(header.value) {
                continue;
            }
            let value = new_string(header.value);
            // SAFETY: the value and the copy are new.
            unsafe { self.layout.set(table, index, value) };
            if is_kept {
                *self.layout.prepared(index) = value;
            }
        }
        table
    }
}

impl HeaderTables {
    /// Knows nothing yet. The VM holds the array, which is empty.
    pub fn new(held: *mut c::JanetArray) -> Self {
        Self { known: KnownHeaders::default(), layouts: Vec::new(), held, misses: 0 }
    }

    /// Makes the table of a head's headers by their names in lower case.
    ///
    /// # Safety
    /// Nothing collects garbage before the table is reachable.
    pub unsafe fn table(&mut self, head: &Head<'_>, common: &CommonStrings, spare: &SpareTables) -> *mut c::JanetTable {
        if let Some(&at) = self.known.last().filter(|_| head.is_known) {
            // SAFETY: what is in the array at this index is a table, by the invariant of `known`.
            return unsafe { spare.copy(c::janet_unwrap_table(*(*self.held).data.add(at))) };
        }
        let headers = &head.headers;
        let Some(index) = self.layouts.iter().position(|layout| layout.has_names_of(headers)) else {
            self.remember(headers, common);
            // SAFETY: the caller promises this.
            return unsafe { make(headers, common) };
        };
        self.layouts.swap(0, index);
        let layout = &mut self.layouts[0];
        // SAFETY: the caller promises this.
        let table = unsafe { layout.table(headers, spare) };
        if layout.keeps_all(headers) {
            let held = self.held;
            self.known.remember(head, |replaced| {
                // SAFETY: the table has nothing but strings, and its copy is never shown to Janet code.
                unsafe { hold(held, c::janet_table_clone(table), replaced) }
            });
        }
        table
    }

    /// Remembers the layout of a table with these headers. Names that are not common, or that appear twice, are not worth it.
    fn remember(&mut self, headers: &[Header<'_>], common: &CommonStrings) {
        self.misses += 1;
        if self.layouts.len() == MAX_LAYOUTS && self.misses % MISSES_TO_REPLACE != 0 {
            return;
        }
        let mut name = Vec::new();
        let keys = headers.iter().map(|header| {
            name.clear();
            push_lower(header.name, &mut name);
            common.known(&name)
        });
        let Some(keys) = keys.collect::<Option<Vec<_>>>() else { return };
        // SAFETY: the VM holds common strings, and nothing collects garbage within a native function.
        let Some(layout) = (unsafe { Layout::new(2 * headers.len() as i32, &keys) }) else { return };
        let replaced = if self.layouts.len() == MAX_LAYOUTS { self.layouts.pop() } else { None };
        // SAFETY: the layout's table is live.
        let held_at = unsafe { hold(self.held, layout.prepared_table(), replaced.map(|replaced| replaced.held_at)) };
        let names = headers.iter().map(|header| (header.name.into(), Kept::of(header.name))).collect();
        self.layouts.insert(0, NamedLayout { names, layout, held_at });
    }
}

/// Holds a table in an array, in the place of another if that is given. Returns its index.
///
/// # Safety
/// The array and the table are live.
unsafe fn hold(held: *mut c::JanetArray, table: *mut c::JanetTable, replaced: Option<usize>) -> usize {
    // SAFETY: the caller promises that both are live. An index that was given away is within the array.
    unsafe {
        let table = c::janet_wrap_table(table);
        match replaced {
            Some(index) => {
                *(*held).data.add(index) = table;
                index
            }
            None => {
                c::janet_array_push(held, table);
                (*held).count as usize - 1
            }
        }
    }
}

/// Makes a table without a layout.
///
/// # Safety
/// Nothing collects garbage before the table is reachable.
unsafe fn make(headers: &[Header<'_>], common: &CommonStrings) -> *mut c::JanetTable {
    // SAFETY: all values are new or live.
    unsafe {
        let mut name = Vec::with_capacity(32);
        // Janet's tables are at most half full.
        let table = c::janet_table(2 * headers.len() as i32);
        for header in headers {
            name.clear();
            push_lower(header.name, &mut name);
            let key = common.string(&name);
            if name == b"cookie" {
                join_cookies(table, key, header.value);
            } else {
                accumulate(table, key, new_string(header.value));
            }
        }
        table
    }
}

/// Adds a value to those that a key has already. As in `spork/http`, a second value makes an array.
///
/// # Safety
/// The table and the values are live.
pub unsafe fn accumulate(table: *mut c::JanetTable, key: c::Janet, value: c::Janet) {
    // SAFETY: the caller promises that all are live.
    unsafe {
        let old = c::janet_table_rawget(table, key);
        if c::janet_checktype(old, c::JanetType_JANET_NIL) != 0 {
            c::janet_table_put(table, key, value);
        } else if c::janet_checktype(old, c::JanetType_JANET_ARRAY) != 0 {
            c::janet_array_push(c::janet_unwrap_array(old), value);
        } else {
            let both = [old, value];
            c::janet_table_put(table, key, c::janet_wrap_array(c::janet_array_n(both.as_ptr(), 2)));
        }
    }
}

/// Appends a Cookie line to the ones before it. HTTP/2 splits cookies over several lines, and a proxy may forward them
/// like that. Joined by "; " they are what the client meant (RFC 9113, 8.2.3).
///
/// # Safety
/// The table and the key are live, and the table has nothing but a string of this function under the key.
unsafe fn join_cookies(headers: *mut c::JanetTable, key: c::Janet, value: &[u8]) {
    // SAFETY: the caller promises that the table and the key are live.
    unsafe {
        let old = Janet::from(c::janet_table_rawget(headers, key));
        let joined = match bytes(&old) {
            Some(old) => new_string(&[old, b"; ", value].concat()),
            None => new_string(value),
        };
        c::janet_table_put(headers, key, joined);
    }
}
