//! What a request gets of a file: all of it, a part, or the news that its copy is still current.

use std::time::SystemTime;

use janetrs::Janet;
use kqnet_http1::conditional::{Conditions, Precondition, if_range};
use kqnet_http1::date;
use kqnet_http1::range::{Selection, select};

use super::{folder, open_file};
use crate::boundary::{Function, Outcome, native};
use crate::options::Options;
use crate::value::{arg, bytes, string, tuple};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[native!("file-answer", "file folder options", answer)];

/// `(native/file-answer file folder options)`: Returns a tuple of the status (200, 206, 304, 412 or 416), the values of ETag
/// and Last-Modified (or nil), the offset of the first byte and the length of the part that is asked for, and the size of the
/// file. The options are the values of the request's headers `:if-match`, `:if-unmodified-since`, `:if-none-match`,
/// `:if-modified-since`, `:range` and `:if-range`, and `:coding`, the name of the file's coding.
fn answer(args: &[Janet]) -> Result<Outcome, String> {
    let file = &*open_file::borrow(args)?;
    let folder = arg(args, 1);
    let folder = folder::get(&folder)?;
    let options = Options::new(arg(args, 2))?;
    let handle = file.remaining()?.file;
    let known = folder.validators(handle, &file.info, SystemTime::now()).map_err(|why| file.unreadable(&why))?;
    let tag = match bytes(&options.get("coding")) {
        Some(coding) => format!("\"{}-{}\"", known.tag, String::from_utf8_lossy(coding)),
        None => format!("\"{}\"", known.tag),
    };
    let [if_match, if_unmodified_since, if_none_match, if_modified_since, range, range_condition] =
        ["if-match", "if-unmodified-since", "if-none-match", "if-modified-since", "range", "if-range"]
            .map(|name| options.get(name));
    let conditions = Conditions {
        if_match: bytes(&if_match),
        if_unmodified_since: bytes(&if_unmodified_since),
        if_none_match: bytes(&if_none_match),
        if_modified_since: bytes(&if_modified_since),
    };
    let size = file.info.size;
    let (status, first, length) = match conditions.evaluate(true, tag.as_bytes(), known.modified) {
        Precondition::NotModified => (304, 0, 0),
        Precondition::Failed => (412, 0, 0),
        Precondition::Proceed => {
            // If-Range needs an exact date, and this one may have been altered before it was sent.
            let exact = known.modified.filter(|_| known.modified == known.last_modified);
            let is_same = bytes(&range_condition).is_none_or(|value| if_range(value, tag.as_bytes(), exact));
            match bytes(&range).filter(|_| is_same).map_or(Selection::All, |range| select(range, size)) {
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
    let number = |number: u64| Janet::number(number as f64);
    Ok(Outcome::Value(tuple(&[
        number(status),
        string(&tag),
        last_modified,
        number(first),
        number(length),
        number(size),
    ])))
}
