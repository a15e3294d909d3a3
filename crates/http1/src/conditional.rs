//! Preconditions of a request for a file: entity tags and modification dates (RFC 9110, 13).

use crate::date;
use crate::grammar::trim;

/// The values of a request's precondition headers. One that is repeated is joined with `, `.
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

/// How a request with preconditions is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// As if it had none.
    Proceed,
    /// With 304: the client has it.
    NotModified,
    /// With 412.
    Failed,
}

impl Conditions<'_> {
    /// Judges the conditions, in the order of RFC 9110, 13.2.2, for something that exists and has the strong tag `etag`
    /// and the modification time `modified`, if it has one. `is_read` says whether the method is GET or HEAD.
    ///
    /// A malformed tag matches nothing; a malformed date is ignored, and so is every date if there is no modification time
    /// (RFC 9110, 13.1.3 and 13.1.4).
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

/// Whether the value of an If-Range header allows a range of what has the strong tag `etag` and the modification time
/// `modified`: if it is that tag or exactly that time (RFC 9110, 13.1.5). Else all of it is to be sent.
pub fn if_range(value: &[u8], etag: &[u8], modified: Option<i64>) -> bool {
    match value {
        [b'"', ..] => value == etag,
        _ => modified.is_some() && date::parse(value) == modified,
    }
}

/// Whether a list of tags, or `*`, has one for `etag`. Weak tags count only in a weak comparison (RFC 9110, 8.8.3.2).
fn matches(tags: &[u8], etag: &[u8], is_weak: bool) -> bool {
    let tags = trim(tags);
    tags == b"*" || Tags { rest: tags }.any(|(tag, tag_is_weak)| tag == etag && (is_weak || !tag_is_weak))
}

/// The tags of a list, with their quotes, and whether each is weak. Ends at the first malformed one.
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
        // A tag may have a comma, but no quote, and no way to escape one (RFC 9110, 8.8.3).
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
