//! Content-Disposition: the name of a part, and the name of its file (RFC 7578, 4.2).

use std::borrow::Cow;

use crate::parameters::{Parameters, trim};
use crate::reject::Reject;

/// What the Content-Disposition of a part says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disposition<'h> {
    /// The name of the part.
    pub name: Cow<'h, [u8]>,
    /// The name of the file, with the path that some clients send, if the part is a file.
    pub filename: Option<Cow<'h, [u8]>>,
}

impl<'h> Disposition<'h> {
    /// Parses the value of the header. Of `filename*` and `filename`, the first one counts (RFC 6266, 4.3).
    ///
    /// # Errors
    /// Returns the [`Reject`] to respond with.
    pub fn parse(value: &'h [u8]) -> Result<Self, Reject> {
        let end = value.iter().position(|&b| b == b';').unwrap_or(value.len());
        if !trim(&value[..end]).eq_ignore_ascii_case(b"form-data") {
            return Err(Reject::DISPOSITION);
        }
        let [mut name, mut plain, mut extended] = [None, None, None];
        for parameter in Parameters::new(&value[end..]) {
            let (key, value) = parameter.map_err(|()| Reject::DISPOSITION)?;
            let place = match key.to_ascii_lowercase().as_slice() {
                b"name" => &mut name,
                b"filename" => &mut plain,
                b"filename*" => &mut extended,
                _ => continue,
            };
            if place.replace(value).is_some() {
                return Err(Reject::DISPOSITION);
            }
        }
        let filename = match (extended, plain) {
            (Some(value), _) => Some(Cow::Owned(decode_extended(&value).ok_or(Reject::FILE_NAME)?)),
            (None, plain) => plain.map(unescape),
        };
        Ok(Self { name: unescape(name.ok_or(Reject::NO_NAME)?), filename })
    }
}

/// Undoes what browsers do to names: `%22` is a quote, `%0D` a CR, and `%0A` an LF. They escape nothing else, not even `%`
/// (the HTML standard, "multipart/form-data encoding algorithm").
fn unescape(text: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return text;
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = &text[..];
    while let [b, tail @ ..] = rest {
        let (b, tail) = match rest {
            [b'%', b'2', b'2', tail @ ..] => (b'"', tail),
            [b'%', b'0', b'D' | b'd', tail @ ..] => (b'\r', tail),
            [b'%', b'0', b'A' | b'a', tail @ ..] => (b'\n', tail),
            _ => (*b, tail),
        };
        decoded.push(b);
        rest = tail;
    }
    Cow::Owned(decoded)
}

/// Decodes an extended value (RFC 8187, 3.2), such as `UTF-8''%e2%82%ac`. The result is UTF-8.
fn decode_extended(value: &[u8]) -> Option<Vec<u8>> {
    let mut parts = value.splitn(3, |&b| b == b'\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [b, tail @ ..] = rest {
        let (b, tail) = match rest {
            [b'%', high, low, tail @ ..] => {
                let digit = |b: u8| char::from(b).to_digit(16);
                (u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?, tail)
            }
            [b'%', ..] => return None,
            _ if b.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(b) => (*b, tail),
            _ => return None,
        };
        bytes.push(b);
        rest = tail;
    }
    if charset.eq_ignore_ascii_case(b"utf-8") {
        return std::str::from_utf8(&bytes).is_ok().then_some(bytes);
    }
    let is_latin1 = charset.eq_ignore_ascii_case(b"iso-8859-1");
    is_latin1.then(|| bytes.iter().map(|&b| char::from(b)).collect::<String>().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &str) -> Result<(String, Option<String>), Reject> {
        let text = |bytes: Cow<'_, [u8]>| String::from_utf8_lossy(&bytes).into_owned();
        Disposition::parse(value.as_bytes()).map(|found| (text(found.name), found.filename.map(text)))
    }

    #[test]
    fn names_are_read_as_browsers_and_tools_write_them() {
        for (value, name, filename) in [
            (r#"form-data; name="a""#, "a", None),
            (r"Form-Data;NAME=a", "a", None),
            (r#"form-data; name="a"; filename="b.txt""#, "a", Some("b.txt")),
            (r#"form-data; filename="b.txt"; name="a";"#, "a", Some("b.txt")),
            (r#"form-data ; name = "a b" ; filename = "" "#, "a b", Some("")),
            (r#"form-data; name="a%22b"; filename="c%0D%0a%d.txt""#, "a\"b", Some("c\r\n%d.txt")),
            (r#"form-data; name="a\"b\\"; filename="C:\dir\x.txt""#, "a\"b\\", Some(r"C:\dir\x.txt")),
            (r#"form-data; name="é"; filename="日本.txt""#, "é", Some("日本.txt")),
            (r#"form-data; name="a;b=c"; x=y"#, "a;b=c", None),
            (r"form-data; name=a; filename*=UTF-8'en'%e2%82%ac%20x.txt", "a", Some("€ x.txt")),
            (r#"form-data; name=a; filename="old"; filename*=iso-8859-1''%e9"#, "a", Some("é")),
        ] {
            assert_eq!(parsed(value), Ok((name.to_owned(), filename.map(str::to_owned))), "{value}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (value, reject) in [
            ("", Reject::DISPOSITION),
            ("attachment; name=a", Reject::DISPOSITION),
            ("form-data", Reject::NO_NAME),
            ("form-data; filename=a", Reject::NO_NAME),
            ("form-data; name=a; name=b", Reject::DISPOSITION),
            ("form-data; name=a; filename=b; FileName=c", Reject::DISPOSITION),
            (r#"form-data; name="a"#, Reject::DISPOSITION),
            (r#"form-data; name="a\""#, Reject::DISPOSITION),
            (r#"form-data; name="a"b"#, Reject::DISPOSITION),
            ("form-data; name=a b", Reject::DISPOSITION),
            ("form-data; name=", Reject::DISPOSITION),
            ("form-data; name", Reject::DISPOSITION),
            ("form-data; =a", Reject::DISPOSITION),
            ("form-data name=a", Reject::DISPOSITION),
            ("form-data; name=a; filename*=b", Reject::FILE_NAME),
            ("form-data; name=a; filename*=UTF-8''%ff", Reject::FILE_NAME),
            ("form-data; name=a; filename*=UTF-8''%f", Reject::FILE_NAME),
            ("form-data; name=a; filename*=koi8-r''b", Reject::FILE_NAME),
        ] {
            assert_eq!(parsed(value), Err(reject), "{value}");
        }
    }
}
