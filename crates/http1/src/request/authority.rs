//! The grammar of a host and its port, in a target and in the Host header.

use std::net::Ipv6Addr;

use crate::grammar::{decimal, hex_pair};

/// Returns whether `value` is a host that is not empty, with or without a port (RFC 9110, 7.2; RFC 3986, 3.2.2).
pub(crate) fn is_host_and_port(value: &[u8]) -> bool {
    match split_port(value) {
        Some((host, port)) => is_host(host) && port.iter().all(u8::is_ascii_digit),
        None => false,
    }
}

/// Returns whether `value` is `host:port`, as a target of CONNECT must be (RFC 9112, 3.2.3).
pub(crate) fn is_authority_with_port(value: &[u8]) -> bool {
    let is_port = |port: &[u8]| decimal(port).is_some_and(|port| port <= u64::from(u16::MAX));
    split_port(value).is_some_and(|(host, port)| is_host(host) && is_port(port))
}

/// Splits at the colon before the port, which is not one of the colons in an IPv6 address. Returns `None` if the
/// closing bracket is followed by neither a port nor the end.
fn split_port(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let host_end = match value {
        [b'[', ..] => value.iter().position(|&b| b == b']')? + 1,
        _ => value.iter().position(|&b| b == b':').unwrap_or(value.len()),
    };
    match &value[host_end..] {
        [] => Some((value, b"")),
        [b':', port @ ..] => Some((&value[..host_end], port)),
        _ => None,
    }
}

fn is_host(host: &[u8]) -> bool {
    if let [b'[', address @ .., b']'] = host {
        return std::str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let mut rest = host;
    while let [b, tail @ ..] = rest {
        rest = match (b, tail) {
            (b'%', [high, low, tail @ ..]) if hex_pair(*high, *low).is_some() => tail,
            (b, _) if b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(b) => tail,
            _ => return false,
        };
    }
    !host.is_empty()
}
