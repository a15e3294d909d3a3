//! Request tables and environments of requests: copies of tables that are prepared once, with the keys at their places.

use janetrs::Janet;
use janetrs::lowlevel as c;

use crate::keys::Keys;
use crate::spare_tables::SpareTables;
use crate::table_layout::Layout;
use crate::value::look_up;

/// The prepared tables.
pub struct RequestLayouts {
    /// A request table without `:query-string` and `:query`. The values are in the order of `new`.
    pub without_query: Layout,
    /// A request table with them.
    pub with_query: Layout,
    /// An empty table.
    empty: *mut c::JanetTable,
}

/// The index of `:buffer` among the keys of a request table.
const BUFFER: usize = 3;

/// What is looked up in requests whose tables have most likely not been changed: the indices of keys of a request table.
#[allow(missing_docs, reason = "each field is the key of its name")]
#[derive(Clone, Copy)]
pub enum Field {
    Headers = 1,
    Connection = 2,
    Method = 5,
    Route = 7,
}

impl RequestLayouts {
    /// Prepares the tables with the keys of a VM. `hold` keeps each table alive for as long as the VM lives.
    ///
    /// # Safety
    /// The keys live as long as the layouts, and nothing collects garbage meanwhile.
    pub unsafe fn new(keys: &Keys, hold: &dyn Fn(c::Janet)) -> Option<Self> {
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
            let empty = c::janet_table(0);
            hold(c::janet_wrap_table(empty));
            let (without_query, with_query) = (Layout::new(11, &always)?, Layout::new(16, &with_query)?);
            for layout in [&without_query, &with_query] {
                hold(c::janet_wrap_table(layout.prepared_table()));
            }
            Some(Self { without_query, with_query, empty })
        }
    }

    /// What a request has in a field. Nil if it has nothing there.
    pub fn get(&self, request: Janet, field: Field) -> Janet {
        let (value, index) = (request.into(), field as usize);
        // SAFETY: the type is checked before the live value is unwrapped.
        unsafe {
            if c::janet_checktype(value, c::JanetType_JANET_TABLE) == 0 {
                return look_up(request, self.without_query.key(index));
            }
            let table = c::janet_unwrap_table(value);
            let layout = if self.with_query.fits(table) { &self.with_query } else { &self.without_query };
            layout.get(table, index).into()
        }
    }

    /// Makes an empty table with this prototype.
    ///
    /// # Safety
    /// Nothing collects garbage before the table is reachable.
    pub unsafe fn env(&self, spare: &SpareTables, proto: *mut c::JanetTable) -> *mut c::JanetTable {
        // SAFETY: the VM holds the empty table, and the copy is new.
        unsafe {
            let table = spare.copy(self.empty);
            (*table).proto = proto;
            table
        }
    }

    /// Removes `:buffer` from a request table.
    ///
    /// # Safety
    /// The table is live.
    pub unsafe fn remove_buffer(&self, request: *mut c::JanetTable) {
        // SAFETY: the caller promises that the table is live.
        unsafe { self.without_query.remove(request, BUFFER) };
    }
}
