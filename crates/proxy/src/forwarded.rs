//! The Forwarded header (RFC 7239).

use std::borrow::Cow;

use crate::client::trim;
use crate::{Client, Endpoint, Scheme, Trusted, node};

/// Finds the client of a request from a trusted peer.
pub fn client(trusted: &Trusted, peer: Endpoint, lines: &[&[u8]]) -> Client {
    let mut client = Client { endpoint: peer, scheme: None };
    for line in lines.iter().rev() {
        let mut rest = Some(*line);
        while let Some(line) = rest {
            let element;
            (rest, element) = split_last(line, b',');
            let element = trim(element);
            if element.is_empty() {
                continue;
            }
            client = parse(element).unwrap_or(Client { endpoint: Endpoint::Unknown, scheme: None });
            if !trusted.has(client.endpoint) {
                return client;
            }
        }
    }
    client
}

/// Splits at the last separator that is not in a quoted string.
///
/// It looks for it from the right, so that what a client has sent cannot make a part of its own of what a proxy has appended:
/// in `for="x, for=192.0.2.1`, the second element is what the proxy has appended.
fn split_last(text: &[u8], separator: u8) -> (Option<&[u8]>, &[u8]) {
    let mut is_quoted = false;
    let mut at = text.len();
    while at > 0 {
        at -= 1;
        match text[at] {
            b'"' if is_quoted => {
                let backslashes = text[..at].iter().rev().take_while(|b| **b == b'\\').count();
                is_quoted = backslashes % 2 == 1;
                // So that no backslash is looked at twice.
                at -= backslashes;
            }
            b'"' => is_quoted = true,
            byte if byte == separator && !is_quoted => return (Some(&text[..at]), &text[at + 1..]),
            _ => {}
        }
    }
    (None, text)
}

/// Reads an element: pairs such as `for=192.0.2.1;proto=https`. Returns `None` if it is malformed, or names one parameter twice.
fn parse(element: &[u8]) -> Option<Client> {
    let (mut address, mut scheme) = (None, None);
    let mut rest = Some(element);
    while let Some(text) = rest {
        let pair;
        (rest, pair) = split_last(text, b';');
        let pair = trim(pair);
        if pair.is_empty() {
            continue;
        }
        let equals = pair.iter().position(|b| *b == b'=')?;
        let (name, value) = (&pair[..equals], unquote(&pair[equals + 1..])?);
        let seen = if name.eq_ignore_ascii_case(b"for") {
            address.replace(node::parse(&value)).is_some()
        } else if name.eq_ignore_ascii_case(b"proto") {
            scheme.replace(Scheme::parse(&value)).is_some()
        } else {
            false
        };
        if seen {
            return None;
        }
    }
    Some(Client { endpoint: address.unwrap_or(Endpoint::Unknown), scheme: scheme.flatten() })
}

/// The text of a value that may be a quoted string (RFC 9110, 5.6.4).
fn unquote(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(quoted) = value.strip_prefix(b"\"") else {
        return (!value.contains(&b'"')).then_some(Cow::Borrowed(value));
    };
    let quoted = quoted.strip_suffix(b"\"")?;
    let mut text = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'"' => return None,
            b'\\' => text.push(*bytes.next()?),
            byte => text.push(byte),
        }
    }
    Some(Cow::Owned(text))
}
