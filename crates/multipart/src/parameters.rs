//! The parameters of a header, such as `; name="a"; filename="b"` (RFC 9110, 5.6.6), as browsers write them.

use std::borrow::Cow;

/// Returns whether `b` may stand in a token (RFC 9110, 5.6.2).
pub fn is_tchar(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// Returns whether `bytes` are a token.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_tchar(b))
}

/// Removes the spaces and tabs around `bytes`.
pub fn trim(bytes: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let start = bytes.iter().position(|b| !blank(b)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|b| !blank(b)).map_or(start, |last| last + 1);
    &bytes[start..end]
}

/// Iterates over the parameters of a header's value, of which `rest` is what follows the first word. An item is the name,
/// as it was sent, and the value, or `Err` if the rest is malformed.
pub struct Parameters<'v> {
    rest: &'v [u8],
}

impl<'v> Parameters<'v> {
    /// Makes the iterator.
    pub fn new(rest: &'v [u8]) -> Self {
        Self { rest }
    }

    fn parse(&mut self) -> Option<(&'v [u8], Cow<'v, [u8]>)> {
        let equals = self.rest.iter().position(|&b| b == b'=')?;
        let name = trim(&self.rest[..equals]);
        if !is_token(name) {
            return None;
        }
        let value = trim(&self.rest[equals + 1..]);
        let (value, rest) = match value {
            [b'"', quoted @ ..] => quoted_string(quoted)?,
            _ => {
                let end = value.iter().position(|&b| b == b';').unwrap_or(value.len());
                let word = trim(&value[..end]);
                if word.is_empty() || word.iter().any(|b| matches!(b, b' ' | b'\t' | b'"')) {
                    return None;
                }
                (Cow::Borrowed(word), &value[end..])
            }
        };
        self.rest = rest;
        Some((name, value))
    }
}

impl<'v> Iterator for Parameters<'v> {
    type Item = Result<(&'v [u8], Cow<'v, [u8]>), ()>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest = trim(self.rest);
        if self.rest.is_empty() {
            return None;
        }
        if self.rest[0] != b';' {
            self.rest = &[];
            return Some(Err(()));
        }
        // Several clients end the list with a semicolon.
        let skipped = self.rest.iter().position(|b| !matches!(b, b';' | b' ' | b'\t'));
        self.rest = &self.rest[skipped.unwrap_or(self.rest.len())..];
        if self.rest.is_empty() {
            return None;
        }
        let parameter = self.parse();
        if parameter.is_none() {
            self.rest = &[];
        }
        Some(parameter.ok_or(()))
    }
}

/// Returns the content of a quoted string whose opening quote was taken, and what follows it. A backslash escapes a quote and
/// a backslash. Any other one stands for itself, since Internet Explorer sent paths such as `C:\a.txt`.
fn quoted_string(quoted: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let mut content: Option<Vec<u8>> = None;
    let mut i = 0;
    loop {
        let b = match quoted.get(i)? {
            b'"' => break,
            b'\\' => match quoted.get(i + 1)? {
                b @ (b'"' | b'\\') => {
                    content.get_or_insert_with(|| quoted[..i].to_vec());
                    i += 1;
                    b
                }
                _ => &b'\\',
            },
            b => b,
        };
        if let Some(content) = &mut content {
            content.push(*b);
        }
        i += 1;
    }
    let rest = &quoted[i + 1..];
    Some((content.map_or(Cow::Borrowed(&quoted[..i]), Cow::Owned), rest))
}
