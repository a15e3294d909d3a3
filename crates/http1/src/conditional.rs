//! Conditional requests: whether the client has the current version of a file (RFC 9110, 13).

use crate::date;
use crate::grammar::trim;

/// The values of a request's precondition headers. The values of a repeated header are joined by `, `.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions<'a> {
    /// If-Match
    pub if_match: Option<&'a [u8]>,
    /// If-Unmodified-Since
    pub if_unmodified_since: Option<&'a [u8]>,
    /// If-None-Match
    pub if_none_match: Option<&'a [u8]>,
    /// If-Modified-Since
    pub if_modified_since: Option<&'a [u8]>,
}

/// What the preconditions of a request decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// The request is answered as if it had no preconditions.
    Proceed,
    /// The response is 304, since the client has the current version.
    NotModified,
    /// The response is 412.
    Failed,
}

impl Conditions<'_> {
    /// Evaluates the conditions in the order of RFC 9110, 13.2.2, for a file with the strong entity tag `etag` and the
    /// modification time `modified`, if it has one. `is_read` says whether the method is GET or HEAD.
    ///
    /// A malformed tag matches nothing. A malformed date is ignored, and so is every date if there is no modification
    /// time (RFC 9110, 13.1.3 and 13.1.4).
    pub fn evaluate(&self, is_read: bool, etag: &[u8], modified: Option<i64>) -> Precondition {
        let is_unmodified = |since: Option<&[u8]>| Some(modified? <= date::parse(since?)?);
        let holds = match self.if_match {
            Some(tags) => matches(tags, etag, false),
            None => is_unmodified(self.if_unmodified_since).unwrap_or(true),
        };
        if !holds {
            return Precondition::Failed;
        }
        match self.if_none_match {
            Some(tags) if !matches(tags, etag, true) => Precondition::Proceed,
            Some(_) if is_read => Precondition::NotModified,
            Some(_) => Precondition::Failed,
            None if is_read && is_unmodified(self.if_modified_since) == Some(true) => Precondition::NotModified,
            None => Precondition::Proceed,
        }
    }
}

/// Returns whether the value of an If-Range header allows a range of a file to be sent: whether it is the file's strong
/// entity tag `etag`, or exactly its modification time `modified` (RFC 9110, 13.1.5). Otherwise the whole file is sent.
pub fn if_range(value: &[u8], etag: &[u8], modified: Option<i64>) -> bool {
    match value {
        [b'"', ..] => value == etag,
        _ => modified.is_some() && date::parse(value) == modified,
    }
}

/// Returns whether a list of tags, or `*`, matches `etag`. Weak tags match only in a weak comparison (RFC 9110,
/// 8.8.3.2).
fn matches(tags: &[u8], etag: &[u8], is_weak: bool) -> bool {
    let tags = trim(tags);
    tags == b"*" || Tags { rest: tags }.any(|(tag, tag_is_weak)| tag == etag && (is_weak || !tag_is_weak))
}

/// An iterator over the tags of a list, with their quotes, and whether each is weak. It ends at the first malformed
/// tag.
struct Tags<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Tags<'a> {
    type Item = (&'a [u8], bool);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.rest.iter().position(|b| !b" \t,".contains(b))?;
        let rest = &self.rest[start..];
        let (rest, is_weak) = match rest.strip_prefix(b"W/") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let inner = rest.strip_prefix(b"\"")?;
        // A tag may have a comma, but it can have no quote, escaped or not (RFC 9110, 8.8.3).
        let end = inner.iter().position(|&b| b == b'"')? + 2;
        let (tag, rest) = rest.split_at(end);
        let after = trim(rest);
        if !(after.is_empty() || after[0] == b',') {
            return None;
        }
        self.rest = after;
        Some((tag, is_weak))
    }
}
