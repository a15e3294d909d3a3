//! The headers of a request that decide what it gets of a file.

use std::borrow::Cow;

use janetrs::Janet;

use crate::value::{bytes, elements, is_string, prototype, slots};

/// How many tables Janet looks a key up in, each being the prototype of the one before (`JANET_MAX_PROTO_DEPTH` in janet.h).
/// There is a limit because a program may make a table its own prototype.
const MOST_TABLES: usize = 200;

/// The values of the headers, or nil for those that the request does not have.
#[allow(missing_docs, reason = "each field is the header of its name")]
pub struct RequestHeaders {
    pub accept_encoding: Janet,
    pub if_match: Janet,
    pub if_modified_since: Janet,
    pub if_none_match: Janet,
    pub if_range: Janet,
    pub if_unmodified_since: Janet,
    pub range: Janet,
}

impl RequestHeaders {
    /// Takes them from a request's table of headers. Going through all of it costs less than looking each of them up, since a
    /// request has few headers.
    pub fn new(headers: Janet) -> Self {
        let nil = Janet::nil();
        let mut found = Self {
            accept_encoding: nil,
            if_match: nil,
            if_modified_since: nil,
            if_none_match: nil,
            if_range: nil,
            if_unmodified_since: nil,
            range: nil,
        };
        let tables = std::iter::successors(Some(headers), |&table| prototype(table));
        for table in tables.take(MOST_TABLES) {
            for pair in slots(&table).unwrap_or_default() {
                let name = Janet::from(pair.key);
                let value = match bytes(&name).filter(|_| is_string(name)) {
                    Some(b"accept-encoding") => &mut found.accept_encoding,
                    Some(b"if-match") => &mut found.if_match,
                    Some(b"if-modified-since") => &mut found.if_modified_since,
                    Some(b"if-none-match") => &mut found.if_none_match,
                    Some(b"if-range") => &mut found.if_range,
                    Some(b"if-unmodified-since") => &mut found.if_unmodified_since,
                    Some(b"range") => &mut found.range,
                    _ => continue,
                };
                // A table takes precedence over its prototype.
                if value.is_nil() {
                    *value = pair.value.into();
                }
            }
        }
        found
    }
}

/// The value of a header, joined if it came in several lines.
pub fn joined(value: &Janet) -> Option<Cow<'_, [u8]>> {
    if let Some(value) = bytes(value) {
        return Some(value.into());
    }
    let lines: Vec<_> = elements(value)?.iter().map(|line| bytes(line).unwrap_or_default()).collect();
    Some(lines.join(&b", "[..]).into())
}
