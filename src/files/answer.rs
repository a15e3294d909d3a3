//! What a request gets of a file: all of it, a part, or the news that its copy is still current.

use kqnet_files::Validators;
use kqnet_http1::conditional::{Conditions, Precondition, if_range};
use kqnet_http1::range::{Selection, select};

use super::request_headers::{RequestHeaders, joined};

/// What a request gets.
pub struct Answer {
    /// 200, 206, 304, 412 or 416.
    pub status: u16,
    /// The offset of the first byte of the content.
    pub first: u64,
    /// How many bytes of content there are.
    pub length: u64,
}

impl Answer {
    /// What the request gets of a file of `size` bytes with these validators. `tag` is its ETag. Range counts for GET only.
    pub fn new(request: &RequestHeaders, is_get: bool, known: &Validators, tag: &[u8], size: u64) -> Self {
        let without_content = |status| Self { status, first: 0, length: 0 };
        let precondition = Conditions {
            if_match: joined(&request.if_match).as_deref(),
            if_unmodified_since: joined(&request.if_unmodified_since).as_deref(),
            if_none_match: joined(&request.if_none_match).as_deref(),
            if_modified_since: joined(&request.if_modified_since).as_deref(),
        }
        .evaluate(true, tag, known.modified);
        match precondition {
            Precondition::NotModified => return without_content(304),
            Precondition::Failed => return without_content(412),
            Precondition::Proceed => {}
        }
        // If-Range needs an exact date, and this one may have been altered before it was sent.
        let exact = known.modified.filter(|_| known.modified == known.last_modified);
        let is_same = joined(&request.if_range).is_none_or(|value| if_range(&value, tag, exact));
        let range = joined(&request.range).filter(|_| is_get && is_same);
        match range.map_or(Selection::All, |range| select(&range, size)) {
            Selection::All => Self { status: 200, first: 0, length: size },
            Selection::Part { first, last } => Self { status: 206, first, length: last - first + 1 },
            Selection::Unsatisfiable => without_content(416),
        }
    }

    /// Whether the content is what the request gets.
    pub fn has_content(&self) -> bool {
        matches!(self.status, 200 | 206)
    }

    /// The value of Content-Range, if the response has one. `size` is that of the file.
    pub fn content_range(&self, size: u64) -> Option<String> {
        match self.status {
            206 => Some(format!("bytes {}-{}/{size}", self.first, self.first + self.length - 1)),
            416 => Some(format!("bytes */{size}")),
            _ => None,
        }
    }
}
