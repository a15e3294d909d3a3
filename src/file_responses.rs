//! What is made once for the responses that serve files: prepared tables, the names of headers, and values of earlier responses.

use std::cell::Cell;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_http1::date;

use crate::common_strings::{RecentStrings, new_string};
use crate::keys::Keys;
use crate::spare_tables::SpareTables;
use crate::table_layout::Layout;
use crate::value::held_nils;

/// What a VM keeps for responses with files.
pub struct FileResponses {
    /// The names of headers that few responses have.
    pub rare: RareNames,
    /// A response with `:status`, `:headers` and `:body`.
    response: Layout,
    /// The headers that most responses have.
    headers: Layout,
    /// The values of headers, except dates.
    values: RecentStrings,
    dates: RecentDates,
}

/// The names of the headers that few responses have.
#[allow(missing_docs, reason = "each field is the header of its name")]
pub struct RareNames {
    pub cache_control: c::Janet,
    pub content_encoding: c::Janet,
    pub content_range: c::Janet,
    pub vary: c::Janet,
}

/// The values of the headers that most responses have. A header without a value is left out.
#[allow(missing_docs, reason = "each field is the header of its name")]
pub struct Headers<'a> {
    pub etag: &'a [u8],
    /// In seconds since 1970.
    pub last_modified: Option<i64>,
    pub content_type: Option<&'a [u8]>,
    pub content_length: Option<u64>,
}

// The indices of the keys of the prepared tables.
const STATUS: usize = 0;
const HEADERS: usize = 1;
const BODY: usize = 2;
const ETAG: usize = 0;
const LAST_MODIFIED: usize = 1;
const CONTENT_TYPE: usize = 2;
const CONTENT_LENGTH: usize = 3;
const ACCEPT_RANGES: usize = 4;

impl FileResponses {
    /// Makes what is kept. `hold` keeps each value alive for as long as the VM lives.
    ///
    /// # Safety
    /// The keys live as long as this, and nothing collects garbage meanwhile.
    pub unsafe fn new(keys: &Keys, hold: &dyn Fn(c::Janet)) -> Option<Self> {
        let held = |text: &str| {
            let value = new_string(text.as_bytes());
            hold(value);
            value
        };
        let names = ["ETag", "Last-Modified", "Content-Type", "Content-Length", "Accept-Ranges"].map(held);
        // SAFETY: the caller promises both. There is room for the rare headers.
        let (response, mut headers) =
            unsafe { (Layout::new(3, &[keys.status, keys.headers, keys.body])?, Layout::new(8, &names)?) };
        for layout in [&response, &headers] {
            // SAFETY: the table is live.
            hold(unsafe { c::janet_wrap_table(layout.prepared_table()) });
        }
        *headers.prepared(ACCEPT_RANGES) = held("bytes");
        let rare = RareNames {
            cache_control: held("Cache-Control"),
            content_encoding: held("Content-Encoding"),
            content_range: held("Content-Range"),
            vary: held("Vary"),
        };
        let (values, dates) = (RecentStrings::new(hold), RecentDates::new(hold));
        Some(Self { rare, response, headers, values, dates })
    }

    /// Makes a table of headers.
    ///
    /// # Safety
    /// Nothing collects garbage before the table is reachable.
    pub unsafe fn headers(&self, spare: &SpareTables, values: &Headers<'_>) -> *mut c::JanetTable {
        let values = [
            (ETAG, Some(self.values.string(values.etag))),
            (LAST_MODIFIED, values.last_modified.map(|seconds| self.dates.string(seconds))),
            (CONTENT_TYPE, values.content_type.map(|value| self.values.string(value))),
            (CONTENT_LENGTH, values.content_length.map(|length| self.values.string(length.to_string().as_bytes()))),
        ];
        // SAFETY: the caller promises that nothing is collected meanwhile.
        unsafe {
            let table = self.headers.copy(spare);
            for (index, value) in values {
                match value {
                    Some(value) => self.headers.set(table, index, value),
                    None => self.headers.remove(table, index),
                }
            }
            table
        }
    }

    /// Adds a rare header.
    ///
    /// # Safety
    /// The table and the name are live.
    pub unsafe fn add(&self, headers: *mut c::JanetTable, name: c::Janet, value: &[u8]) {
        // SAFETY: the caller promises that both are live.
        unsafe { c::janet_table_put(headers, name, self.values.string(value)) };
    }

    /// Makes a response. Its body may be nil.
    ///
    /// # Safety
    /// The headers and the body are live, and nothing collects garbage before the response is reachable.
    pub unsafe fn response(
        &self,
        spare: &SpareTables,
        status: u16,
        headers: *mut c::JanetTable,
        body: Option<c::Janet>,
    ) -> Janet {
        // SAFETY: the caller promises both.
        unsafe {
            let table = self.response.copy(spare);
            self.response.set(table, STATUS, c::janet_wrap_number(status.into()));
            self.response.set(table, HEADERS, c::janet_wrap_table(headers));
            match body {
                Some(body) => self.response.set(table, BODY, body),
                None => self.response.remove(table, BODY),
            }
            c::janet_wrap_table(table).into()
        }
    }
}

/// How many dates are kept.
const DATES: usize = 64;

/// Dates of earlier responses as strings. Each has one place, which it shares with others.
struct RecentDates {
    /// The dates in seconds since 1970.
    seconds: [Cell<Option<i64>>; DATES],
    strings: *mut c::JanetArray,
}

impl RecentDates {
    /// Has no dates yet. `hold` keeps the array alive for as long as the VM lives.
    fn new(hold: &dyn Fn(c::Janet)) -> Self {
        Self { seconds: std::array::from_fn(|_| Cell::new(None)), strings: held_nils(DATES, hold) }
    }

    /// The date as a string.
    fn string(&self, seconds: i64) -> c::Janet {
        let index = seconds.rem_euclid(DATES as i64) as usize;
        // SAFETY: the VM holds the array, which has `DATES` values, and no Janet code sees it.
        let place = unsafe { &mut *(*self.strings).data.add(index) };
        if self.seconds[index].replace(Some(seconds)) != Some(seconds) {
            *place = new_string(&date::format(seconds));
        }
        *place
    }
}
