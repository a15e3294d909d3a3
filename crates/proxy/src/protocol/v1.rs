//! Version 1 of the PROXY protocol: a line of text (section 2.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Addresses, Header, Invalid, MAX_V1, Parse, may_begin_with};

const SIGNATURE: &[u8] = b"PROXY ";
/// The shortest lines of each kind.
const SHORTEST: [&[u8]; 3] = [b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", b"PROXY TCP6 :: :: 0 0\r\n", b"PROXY UNKNOWN\r\n"];

/// Reads a header of this version.
pub fn parse(bytes: &[u8]) -> Result<Parse, Invalid> {
    if !may_begin_with(bytes, SIGNATURE) {
        return Err(Invalid::Missing);
    }
    // What decides between the three kinds is in the first bytes after the signature.
    let kind_end = SIGNATURE.len() + 4;
    let shortest = SHORTEST.iter().filter(|line| may_begin_with(bytes, &line[..kind_end])).map(|line| line.len()).min();
    let Some(shortest) = shortest else { return Err(Invalid::Malformed) };
    let window = &bytes[..bytes.len().min(MAX_V1)];
    match window.iter().position(|b| *b == b'\n') {
        Some(end) => {
            let line = window[..end].strip_suffix(b"\r").ok_or(Invalid::Malformed)?;
            let addresses = addresses(&line[SIGNATURE.len().min(line.len())..]).ok_or(Invalid::Malformed)?;
            Ok(Parse::Complete(Header { addresses, is_tls: false, len: end + 1 }))
        }
        None if window.len() == MAX_V1 => Err(Invalid::TooLarge),
        None => {
            let end = if window.ends_with(b"\r") { 1 } else { 2 };
            Ok(Parse::Partial(end.max(shortest.saturating_sub(window.len()))))
        }
    }
}

fn addresses(text: &[u8]) -> Option<Addresses> {
    // Whatever follows is ignored.
    if text == b"UNKNOWN" || text.starts_with(b"UNKNOWN ") {
        return Some(Addresses::Unknown);
    }
    let mut words = std::str::from_utf8(text).ok()?.split(' ');
    let kind = words.next()?;
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        match kind {
            "TCP4" => word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (source, destination) = (address()?, address()?);
    let mut port = || words.next().and_then(port);
    let (source, destination) = (SocketAddr::new(source, port()?), SocketAddr::new(destination, port()?));
    words.next().is_none().then_some(Addresses::Inet { source, destination })
}

/// A port without a leading zero, which the protocol forbids.
fn port(text: &str) -> Option<u16> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if is_number && (text == "0" || !text.starts_with('0')) { text.parse().ok() } else { None }
}
