//! The address and port that a text in a header names (RFC 7239, 6).

use std::net::IpAddr;

use crate::Endpoint;

/// Reads an address, with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or
/// `[2001:db8::1]:80`. A zone (`fe80::1%eth0`) is left out, since it means something on the proxy only. `unix:` is what nginx
/// calls a client on a unix socket. Anything else is unknown, such as `unknown` and the names that proxies make up (`_hidden`).
pub fn parse(text: &[u8]) -> Endpoint {
    if text == b"unix:" {
        return Endpoint::Unix;
    }
    std::str::from_utf8(text).ok().and_then(known).unwrap_or(Endpoint::Unknown)
}

fn known(text: &str) -> Option<Endpoint> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let address = v6(address)?;
        return match rest.strip_prefix(':') {
            Some(text) => Some(Endpoint::from_ip(address, port(text)?)),
            None => rest.is_empty().then(|| Endpoint::from_ip(address, None)),
        };
    }
    match text.split_once(':') {
        Some((_, more)) if more.contains(':') => Some(Endpoint::from_ip(v6(text)?, None)),
        Some((address, text)) => Some(Endpoint::from_ip(IpAddr::V4(address.parse().ok()?), port(text)?)),
        None => Some(Endpoint::from_ip(IpAddr::V4(text.parse().ok()?), None)),
    }
}

fn v6(text: &str) -> Option<IpAddr> {
    let text = match text.split_once('%') {
        Some((address, zone)) if !zone.is_empty() => address,
        Some(_) => return None,
        None => text,
    };
    Some(IpAddr::V6(text.parse().ok()?))
}

/// A port, or `Some(None)` for one whose number the proxy hides.
fn port(text: &str) -> Option<Option<u16>> {
    if text.len() > 1 && text.starts_with('_') {
        return Some(None);
    }
    let is_number = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if is_number { text.parse().ok().map(Some) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_ports() {
        for (text, address, port) in [
            ("192.0.2.1", "192.0.2.1", None),
            ("192.0.2.1:80", "192.0.2.1", Some(80)),
            ("192.0.2.1:_x", "192.0.2.1", None),
            ("2001:db8::1", "2001:db8::1", None),
            ("[2001:DB8::1]", "2001:db8::1", None),
            ("[2001:db8::1]:65535", "2001:db8::1", Some(65535)),
            ("[2001:db8::1]:_hidden", "2001:db8::1", None),
            ("::ffff:192.0.2.1", "192.0.2.1", None),
            ("[::ffff:192.0.2.1]:8080", "192.0.2.1", Some(8080)),
            ("fe80::1%eth0", "fe80::1", None),
            ("[fe80::1%25en0]:9", "fe80::1", Some(9)),
        ] {
            let expected = Endpoint::Ip(address.parse().unwrap(), port);
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(parse(b"unix:"), Endpoint::Unix);
    }

    #[test]
    fn anything_else_is_unknown() {
        for text in [
            "",
            "unknown",
            "_hidden",
            "_",
            "localhost",
            "192.0.2",
            "192.0.2.01",
            "192.0.2.256",
            "192.0.2.1:",
            "192.0.2.1:99999",
            "192.0.2.1:+1",
            "192.0.2.1:_",
            "192.0.2.1:000080",
            "[::1",
            "::1]",
            "[::1]80",
            "[::1]:",
            "[192.0.2.1]",
            "[]",
            "fe80::1%",
            "1.2.3.4 ",
            "1.2.3.4%eth0",
            "\u{ff11}.2.3.4",
            "unix",
            "0x7f.1",
            "2130706433",
            ":::",
            "1.2.3.4:80:80",
        ] {
            assert_eq!(parse(text.as_bytes()), Endpoint::Unknown, "{text:?}");
        }
        assert_eq!(parse(b"\xff"), Endpoint::Unknown);
    }
}
