//! Version 2 of the PROXY protocol: a binary header (section 2.2).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Addresses, Header, Invalid, MAX_V2, Parse, may_begin_with};

/// The bytes that every header of this version begins with. They are no valid beginning of any other protocol.
pub const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The bytes before the addresses: the signature, version and command, family and transport, and length.
const FIXED: usize = 16;
/// The bytes of a path in an address of a unix socket.
const PATH: usize = 108;
/// The type of the field that says whether the client's connection has TLS, and the bit for that.
const TYPE_SSL: u8 = 0x20;
const CLIENT_SSL: u8 = 0x01;

/// Reads a header of this version.
pub fn parse(bytes: &[u8]) -> Result<Parse, Invalid> {
    if !may_begin_with(bytes, SIGNATURE) {
        return Err(Invalid::Missing);
    }
    let command = match bytes.get(SIGNATURE.len()) {
        Some(0x20) => Some(Command::Local),
        Some(0x21) => Some(Command::Proxy),
        Some(_) => return Err(Invalid::Malformed),
        None => None,
    };
    let family = bytes.get(SIGNATURE.len() + 1).copied();
    // The bytes of the addresses. The addresses of a LOCAL header mean nothing, whatever they are.
    let size = match (command, family) {
        (None, _) | (_, None | Some(0x00)) | (Some(Command::Local), _) => 0,
        (_, Some(0x11 | 0x12)) => 2 * 4 + 4,
        (_, Some(0x21 | 0x22)) => 2 * 16 + 4,
        (_, Some(0x31 | 0x32)) => 2 * PATH,
        _ => return Err(Invalid::Malformed),
    };
    let (Some(command), Some(family), Some(&[high, low])) = (command, family, bytes.get(FIXED - 2..FIXED)) else {
        return Ok(Parse::Partial(FIXED - bytes.len()));
    };
    let len = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if len > MAX_V2 {
        return Err(Invalid::TooLarge);
    }
    if len < FIXED + size {
        return Err(Invalid::Malformed);
    }
    let Some(after) = bytes.get(FIXED..len) else { return Ok(Parse::Partial(len - bytes.len())) };
    let (block, fields) = after.split_at(size);
    let addresses = match command {
        Command::Local => Addresses::Local,
        Command::Proxy => addresses(family, block).ok_or(Invalid::Malformed)?,
    };
    let is_tls = match command {
        // These bytes may be anything.
        Command::Local => false,
        Command::Proxy => is_tls(fields).ok_or(Invalid::Malformed)?,
    };
    Ok(Parse::Complete(Header { addresses, is_tls, len }))
}

#[derive(Clone, Copy)]
enum Command {
    Local,
    Proxy,
}

fn addresses(family: u8, block: &[u8]) -> Option<Addresses> {
    match family >> 4 {
        1 => {
            let (source, rest) = block.split_first_chunk::<4>()?;
            let (destination, ports) = rest.split_first_chunk::<4>()?;
            inet(Ipv4Addr::from(*source).into(), Ipv4Addr::from(*destination).into(), ports)
        }
        2 => {
            let (source, rest) = block.split_first_chunk::<16>()?;
            let (destination, ports) = rest.split_first_chunk::<16>()?;
            inet(Ipv6Addr::from(*source).into(), Ipv6Addr::from(*destination).into(), ports)
        }
        3 => {
            let (source, destination) = block.split_at_checked(PATH)?;
            Some(Addresses::Unix { source: path(source), destination: path(destination) })
        }
        _ => Some(Addresses::Unknown),
    }
}

fn inet(source: std::net::IpAddr, destination: std::net::IpAddr, ports: &[u8]) -> Option<Addresses> {
    let &[a, b, c, d] = ports else { return None };
    Some(Addresses::Inet {
        source: SocketAddr::new(source, u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([c, d])),
    })
}

/// A path without the NULs that fill its space. An abstract name begins with one.
fn path(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.iter().skip(1).position(|b| *b == 0).map_or(bytes.len(), |end| end + 1);
    if bytes[..end] == [0] { Vec::new() } else { bytes[..end].to_vec() }
}

/// Looks through the fields after the addresses, each with a type and a length, for the one about TLS. Returns `None` if they are
/// malformed.
fn is_tls(mut fields: &[u8]) -> Option<bool> {
    let mut is_tls = false;
    while let [kind, high, low, rest @ ..] = fields {
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
        if *kind == TYPE_SSL {
            is_tls |= value.first()? & CLIENT_SSL != 0;
        }
        fields = rest;
    }
    fields.is_empty().then_some(is_tls)
}
