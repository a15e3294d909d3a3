//! What a request gets of a file: all of it, a part, or the news that its copy is still current.

use std::time::SystemTime;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_http1::conditional::{Conditions, Precondition, if_range};
use kqnet_http1::date;
use kqnet_http1::range::{Selection, select};

use super::{folder, open_file};
use crate::boundary::{Function, Outcome, native};
use crate::value::{arg, bytes, string, tuple};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[native!(
    "file-answer",
    "file folder coding if-match if-unmodified-since if-none-match if-modified-since range if-range",
    answer
)];

/// `(native/file-answer file folder coding if-match …)`: Returns a tuple of the status (200, 206, 304, 412 or 416), the values of
/// ETag and of Last-Modified (or nil), the offset of the first byte and the length of the part that is asked for, and the values of
/// Content-Length and of Content-Range, or nil where the response has none. `coding` is the name of the file's coding, or nil. The
/// other arguments are the values of the request's headers: bytes, an array of them, or nil.
fn answer(args: &[Janet]) -> Result<Outcome, String> {
    let file = &*open_file::borrow(args)?;
    let folder = arg(args, 1);
    let folder = folder::get(&folder)?;
    let handle = file.remaining()?.file;
    let known = folder.validators(handle, &file.info, SystemTime::now()).map_err(|why| file.unreadable(&why))?;
    let tag = match bytes(&arg(args, 2)) {
        Some(coding) => format!("\"{}-{}\"", known.tag, String::from_utf8_lossy(coding)),
        None => ["\"", &known.tag, "\""].concat(),
    };
    let values: [Option<Vec<u8>>; 6] = std::array::from_fn(|index| joined(arg(args, 3 + index)));
    let [if_match, if_unmodified_since, if_none_match, if_modified_since, range, range_condition] = &values;
    let conditions = Conditions {
        if_match: if_match.as_deref(),
        if_unmodified_since: if_unmodified_since.as_deref(),
        if_none_match: if_none_match.as_deref(),
        if_modified_since: if_modified_since.as_deref(),
    };
    let size = file.info.size;
    let (status, first, length) = match conditions.evaluate(true, tag.as_bytes(), known.modified) {
        Precondition::NotModified => (304, 0, 0),
        Precondition::Failed => (412, 0, 0),
        Precondition::Proceed => {
            // If-Range needs an exact date, and this one may have been altered before it was sent.
            let exact = known.modified.filter(|_| known.modified == known.last_modified);
            let is_same = range_condition.as_ref().is_none_or(|value| if_range(value, tag.as_bytes(), exact));
            match range.as_ref().filter(|_| is_same).map_or(Selection::All, |range| select(range, size)) {
                Selection::Part { first, last } => (206, first, last - first + 1),
                Selection::Unsatisfiable => (416, 0, 0),
                Selection::All => (200, 0, size),
            }
        }
    };
    let last_modified = match known.last_modified {
        Some(seconds) => string(std::str::from_utf8(&date::format(seconds)).unwrap_or_default()),
        None => Janet::nil(),
    };
    let content_length = if matches!(status, 200 | 206) { string(&length.to_string()) } else { Janet::nil() };
    let content_range = match status {
        206 => string(&format!("bytes {first}-{}/{size}", first + length - 1)),
        416 => string(&format!("bytes */{size}")),
        _ => Janet::nil(),
    };
    Ok(Outcome::Value(tuple(&[
        Janet::number(f64::from(status)),
        string(&tag),
        last_modified,
        Janet::number(first as f64),
        Janet::number(length as f64),
        content_length,
        content_range,
    ])))
}

/// The value of a header, joined if it came in several lines.
pub fn joined(value: Janet) -> Option<Vec<u8>> {
    if let Some(value) = bytes(&value) {
        return Some(value.to_vec());
    }
    let (mut items, mut count) = (std::ptr::null(), 0);
    // SAFETY: janet_indexed_view writes to these two variables, and only looks at the live value.
    if unsafe { c::janet_indexed_view(value.into(), &mut items, &mut count) } == 0 {
        return None;
    }
    let mut all = Vec::new();
    for index in 0..count as usize {
        if index > 0 {
            all.extend_from_slice(b", ");
        }
        // SAFETY: the array has `count` items.
        let item = Janet::from(unsafe { *items.add(index) });
        all.extend_from_slice(bytes(&item).unwrap_or_default());
    }
    Some(all)
}
