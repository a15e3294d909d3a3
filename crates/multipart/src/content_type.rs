//! The Content-Type of a request: whether its body is a form, and the boundary between the parts (RFC 7578, 4.1).

use crate::parameters::{Parameters, is_token, trim};
use crate::reject::Reject;

/// The most bytes of a boundary (RFC 2046, 5.1.1).
pub const MAX_BOUNDARY: usize = 70;

/// What separates the parts of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary(Vec<u8>);

impl Boundary {
    /// Makes a boundary of 1 to 70 printable characters of ASCII that do not end in a space. RFC 2046 allows fewer
    /// characters, but clients use others too.
    ///
    /// # Errors
    /// Returns [`Reject::BOUNDARY`] for anything else.
    pub fn new(bytes: &[u8]) -> Result<Self, Reject> {
        let is_printable = bytes.iter().all(|b| matches!(b, b' '..=b'~'));
        if bytes.is_empty() || bytes.len() > MAX_BOUNDARY || !is_printable || bytes.ends_with(b" ") {
            return Err(Reject::BOUNDARY);
        }
        Ok(Self(bytes.to_vec()))
    }

    /// The bytes, without the hyphens before them in the body.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// How the fields of a form are encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// application/x-www-form-urlencoded.
    Urlencoded,
    /// multipart/form-data with a boundary.
    Multipart(Boundary),
}

/// Returns what kind of form a body with this Content-Type is, or `None` if it is something else.
///
/// # Errors
/// Returns a [`Reject`] if the value is malformed, or has no valid boundary although it needs one.
pub fn form(content_type: &[u8]) -> Result<Option<Form>, Reject> {
    let end = content_type.iter().position(|&b| b == b';').unwrap_or(content_type.len());
    let (media_type, rest) = content_type.split_at(end);
    let media_type = trim(media_type);
    if media_type.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        // Its only parameter would be a charset, which the URL standard ignores.
        return Ok(Some(Form::Urlencoded));
    }
    if !media_type.eq_ignore_ascii_case(b"multipart/form-data") {
        let is_media_type = media_type.splitn(2, |&b| b == b'/').filter(|part| is_token(part)).count() == 2;
        return if is_media_type { Ok(None) } else { Err(Reject::CONTENT_TYPE) };
    }
    let mut boundary = None;
    for parameter in Parameters::new(rest) {
        let (name, value) = parameter.map_err(|()| Reject::CONTENT_TYPE)?;
        if name.eq_ignore_ascii_case(b"boundary") && boundary.replace(Boundary::new(&value)?).is_some() {
            return Err(Reject::BOUNDARY_REPEATED);
        }
    }
    boundary.map(|boundary| Some(Form::Multipart(boundary))).ok_or(Reject::NO_BOUNDARY)
}
