//! What serving files needs to know of a request: a safe path, preconditions, ranges.

use janetrs::{Janet, JanetString};
use kqnet_http1::conditional::{Conditions, Outcome as Verdict, etag, if_range};
use kqnet_http1::date;
use kqnet_http1::path::RelativePath;
use kqnet_http1::range::{Selection, select};

use crate::boundary::{Outcome, entry};
use crate::value::{arg, bytes, describe, is_true, tuple};

entry!(kqnet_file_path => path);
entry!(kqnet_file_tags => tags);
entry!(kqnet_file_answer => answer);

fn whole_number(value: Janet) -> Result<u64, String> {
    match value.unwrap() {
        janetrs::TaggedJanet::Number(number) if number >= 0.0 => Ok(number as u64),
        _ => Err(format!("expected a size or a time, got {}", describe(value))),
    }
}

/// `(native/file-path path hidden)`: the relative file path that the path of a request stands for, or nil where it would
/// leave the folder, or is hidden (a name that begins with a dot) unless `hidden` is true
fn path(args: &[Janet]) -> Result<Outcome, String> {
    let path = arg(args, 0);
    let path = bytes(&path).ok_or_else(|| format!("expected a path, got {}", describe(path)))?;
    let found = RelativePath::new(path).ok().filter(|path| is_true(arg(args, 1)) || !path.is_hidden());
    Ok(Outcome::Value(match found {
        Some(path) => {
            let name = Janet::from(JanetString::new(path.as_bytes()));
            tuple(&[name, Janet::boolean(path.is_directory())])
        }
        None => Janet::nil(),
    }))
}

/// `(native/file-tags size modified)`: the values of ETag and Last-Modified
fn tags(args: &[Janet]) -> Result<Outcome, String> {
    let (size, modified) = (whole_number(arg(args, 0))?, whole_number(arg(args, 1))?);
    let modified = i64::try_from(modified).unwrap_or(i64::MAX);
    let date = date::format(modified);
    let text = std::str::from_utf8(&date).unwrap_or_default();
    Ok(Outcome::Value(tuple(&[Janet::from(etag(size, modified, 0).as_str()), Janet::from(text)])))
}

/// `(native/file-answer is-read etag modified size if-match if-unmodified-since if-none-match if-modified-since range
/// if-range)`: a tuple of the status (200, 206, 304, 412 or 416) and, for 206, the first and the last byte
fn answer(args: &[Janet]) -> Result<Outcome, String> {
    let tag = arg(args, 1);
    let tag = bytes(&tag).ok_or_else(|| format!("expected an ETag, got {}", describe(tag)))?;
    let modified = i64::try_from(whole_number(arg(args, 2))?).unwrap_or(i64::MAX);
    let size = whole_number(arg(args, 3))?;
    let headers: Vec<Janet> = (4..10).map(|index| arg(args, index)).collect();
    let header = |index: usize| bytes(&headers[index]);
    let conditions = Conditions {
        if_match: header(0),
        if_unmodified_since: header(1),
        if_none_match: header(2),
        if_modified_since: header(3),
    };
    let status = |status: i32| Ok(Outcome::Value(tuple(&[Janet::number(status.into())])));
    match conditions.judge(is_true(arg(args, 0)), tag, modified) {
        Verdict::NotModified => return status(304),
        Verdict::PreconditionFailed => return status(412),
        Verdict::Proceed => {}
    }
    let Some(range) = header(4).filter(|_| header(5).is_none_or(|value| if_range(value, tag, modified))) else {
        return status(200);
    };
    match select(range, size) {
        Selection::Part { first, last } => {
            Ok(Outcome::Value(tuple(&[Janet::number(206.0), Janet::number(first as f64), Janet::number(last as f64)])))
        }
        Selection::Unsatisfiable => status(416),
        Selection::All => status(200),
    }
}
