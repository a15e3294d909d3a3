//! The content types of files, by their extensions.

use std::collections::HashMap;

use janetrs::Janet;

use crate::value::{bytes, describe, slots};

/// What a file is if nothing is known of its type.
const UNKNOWN: &[u8] = b"application/octet-stream";

/// Content types by extension, in lower case and without a dot. The extension of a name without one is empty.
pub struct ContentTypes(HashMap<Box<[u8]>, Box<[u8]>>);

impl ContentTypes {
    /// The content types in a table or a struct.
    ///
    /// # Errors
    /// Returns an error that says what else the value is, or has in it.
    pub fn new(value: Janet) -> Result<Self, String> {
        let pairs = slots(&value).ok_or_else(|| format!("expected content types, got {}", describe(value)))?;
        let mut types = HashMap::new();
        for pair in pairs {
            let (extension, content_type) = (Janet::from(pair.key), Janet::from(pair.value));
            if extension.is_nil() {
                continue;
            }
            let text = |value| bytes(value).ok_or_else(|| format!("expected a string, got {}", describe(*value)));
            types.insert(text(&extension)?.into(), text(&content_type)?.into());
        }
        Ok(Self(types))
    }

    /// The content type of the file at a path.
    pub fn of(&self, path: &[u8]) -> &[u8] {
        // From the end, since an extension is short.
        let extension = match path.iter().rposition(|&byte| matches!(byte, b'.' | b'/')) {
            Some(at) if path[at] == b'.' => &path[at + 1..],
            _ => &[],
        };
        let found = if extension.iter().any(u8::is_ascii_uppercase) {
            self.0.get(&extension.to_ascii_lowercase()[..])
        } else {
            self.0.get(extension)
        };
        found.map_or(UNKNOWN, |content_type| content_type)
    }
}
