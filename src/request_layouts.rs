//! What earlier requests have shown about request tables: where their keys are, and which values their headers have.
//!
//! A table with known keys is filled without looking the keys up, and a header's value that was the same in the last request
//! is not made anew. Values are only kept as immutable strings, so nothing of one request is visible to another.

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_http1::{Header, push_lower};

use crate::common_strings::{CommonStrings, new_string};
use crate::keys::Keys;
use crate::table_layout::Layout;
use crate::value::bytes;

/// The layouts of request tables, and of their tables of headers.
pub struct RequestLayouts {
    /// Of a request table, without and with `:query-string` and `:query`. The values are in the order of `new`.
    pub without_query: Layout,
    pub with_query: Layout,
    headers: Vec<HeaderLayout>,
    /// The arrays of [`HeaderLayout::values`], for the collector.
    values: *mut c::JanetArray,
    /// How many requests had headers that none of the layouts has.
    misses: usize,
}

/// The layout of a table of headers with certain names.
pub struct HeaderLayout {
    /// The names as they were received, in this order, and whether their values are kept.
    names: Vec<(Box<str>, bool)>,
    layout: Layout,
    /// The values that the last such request had, as far as they are kept. Most are the same in the next one.
    values: *mut c::JanetArray,
}

/// Headers whose values identify a user. They are not kept longer than the request.
const SECRET: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

impl HeaderLayout {
    /// Makes the table of the headers.
    ///
    /// # Safety
    /// Nothing collects garbage meanwhile.
    pub unsafe fn table(&self, headers: &[Header<'_>]) -> *mut c::JanetTable {
        let values = headers.iter().enumerate().map(|(index, header)| {
            // SAFETY: the VM holds the array, which has a value for each name.
            let last = unsafe { &mut *(*self.values).data.add(index) };
            if !self.names[index].1 || header.value.len() > MAX_KEPT_VALUE {
                return new_string(header.value);
            }
            if bytes(&Janet::from(*last)) != Some(header.value) {
                *last = new_string(header.value);
            }
            *last
        });
        // SAFETY: the values are live, and the caller promises that nothing collects garbage.
        unsafe { self.layout.table(values) }
    }
}

/// The longest value that is kept for the next request, in bytes.
const MAX_KEPT_VALUE: usize = 256;

/// The most layouts of headers that are kept. A client sends the same headers with nearly all its requests.
const MAX_HEADER_LAYOUTS: usize = 16;

/// Once there are that many, only one in this many unknown sequences of headers replaces the last one in the list, so that
/// clients with random headers do not cost the others their layouts.
const MISSES_TO_REPLACE: usize = 64;

impl RequestLayouts {
    /// Finds the layouts for the keys of a VM.
    ///
    /// # Safety
    /// The keys live as long as the layouts, and nothing collects garbage meanwhile.
    pub unsafe fn new(keys: &Keys, values: *mut c::JanetArray) -> Option<Self> {
        let always = [
            keys.request_number,
            keys.headers,
            keys.connection,
            keys.buffer,
            keys.head_size,
            keys.method,
            keys.path,
            keys.route,
        ];
        let with_query = [&always[..], &[keys.query_string, keys.query]].concat();
        // SAFETY: the caller promises both.
        unsafe {
            Some(Self {
                without_query: Layout::new(11, &always)?,
                with_query: Layout::new(16, &with_query)?,
                headers: Vec::new(),
                values,
                misses: 0,
            })
        }
    }

    /// The layout of a table with these headers, if it is known.
    pub fn of_headers(&mut self, headers: &[Header<'_>]) -> Option<&HeaderLayout> {
        let index = self.headers.iter().position(|known| {
            known.names.len() == headers.len()
                && known.names.iter().zip(headers).all(|((name, _), header)| **name == *header.name)
        })?;
        self.headers.swap(0, index);
        Some(&self.headers[0])
    }

    /// Remembers the layout of a table with these headers, which has just been made. Names that are not common, or that
    /// appear twice, are not worth it.
    pub fn remember(&mut self, headers: &[Header<'_>], common: &CommonStrings) {
        self.misses += 1;
        if self.headers.len() == MAX_HEADER_LAYOUTS && self.misses % MISSES_TO_REPLACE != 0 {
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
        let replaced = if self.headers.len() == MAX_HEADER_LAYOUTS { self.headers.pop() } else { None };
        let is_kept = |name: &str| !SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret));
        let names = headers.iter().map(|header| (header.name.into(), is_kept(header.name))).collect();
        // SAFETY: the VM holds the array of arrays, and Janet's memory is not collected within a native function.
        let values = unsafe {
            let values = replaced.map_or_else(
                || {
                    let values = c::janet_array(0);
                    c::janet_array_push(self.values, c::janet_wrap_array(values));
                    values
                },
                |replaced| replaced.values,
            );
            (*values).count = 0;
            for _ in headers {
                c::janet_array_push(values, c::janet_wrap_nil());
            }
            values
        };
        self.headers.insert(0, HeaderLayout { names, layout, values });
    }
}
