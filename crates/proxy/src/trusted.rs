//! Which peers are trusted proxies: a list of addresses and CIDR blocks.

use std::net::{IpAddr, Ipv6Addr};

use crate::Endpoint;

/// A block of addresses: those whose first `length` bits are those of `first`. IPv4 addresses are compared as the IPv6 addresses
/// that contain them, and so are their lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    first: u128,
    length: u32,
}

/// How many bits precede an IPv4 address in the IPv6 address that contains it.
const BEFORE_V4: u32 = 96;

impl Block {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let (offset, most) = if address.is_ipv4() { (BEFORE_V4, 32) } else { (0, 128) };
        let length = match length {
            Some(length) if length.len() <= 3 && length.bytes().all(|b| b.is_ascii_digit()) => length.parse().ok()?,
            Some(_) => return None,
            None => most,
        };
        (length <= most).then(|| {
            let length = offset + length;
            Self { first: bits(address) & mask(length), length }
        })
    }

    fn has(self, address: IpAddr) -> bool {
        // No IPv4 address is meant by a block such as ::/0.
        let is_v4 = self.length >= BEFORE_V4 && self.first >> 32 == 0xffff;
        is_v4 == address.is_ipv4() && bits(address) & mask(self.length) == self.first
    }
}

fn bits(address: IpAddr) -> u128 {
    let address: Ipv6Addr = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    address.into()
}

fn mask(length: u32) -> u128 {
    u128::MAX.checked_shl(128 - length).unwrap_or(0)
}

/// The blocks that a name stands for.
fn named(name: &str) -> Option<&'static [&'static str]> {
    match name {
        "loopback" => Some(&["127.0.0.0/8", "::1"]),
        // RFC 1918 and RFC 4193.
        "private" => Some(&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]),
        _ => None,
    }
}

/// The proxies whose word is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    blocks: Vec<Block>,
    unix: bool,
}

impl Trusted {
    /// Adds an address, a block of addresses such as `10.0.0.0/8`, `loopback`, `private`, or `unix` for every peer on a unix
    /// socket. Bits of a block's address beyond its length are ignored. Returns false, and adds nothing, if it is none of these.
    pub fn add(&mut self, text: &str) -> bool {
        if text == "unix" {
            self.unix = true;
            return true;
        }
        let one = [text];
        let blocks: Option<Vec<_>> = named(text).unwrap_or(&one).iter().map(|text| Block::parse(text)).collect();
        blocks.is_some_and(|blocks| {
            self.blocks.extend(blocks);
            true
        })
    }

    /// Whether this peer is a trusted proxy.
    pub fn has(&self, peer: Endpoint) -> bool {
        match peer {
            Endpoint::Ip(address, _) => self.blocks.iter().any(|block| block.has(address)),
            Endpoint::Unix => self.unix,
            Endpoint::Unknown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusts(names: &[&str], address: &str) -> bool {
        let mut trusted = Trusted::default();
        assert!(names.iter().all(|name| trusted.add(name)), "{names:?}");
        trusted.has(Endpoint::from_ip(address.parse().unwrap(), None))
    }

    #[test]
    fn a_block_has_the_addresses_with_its_first_bits() {
        for (name, inside, outside) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("10.1.2.3/8", "10.0.0.1", "9.255.255.255"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "2001:db8::1", "127.0.0.1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
            ("::1", "::1", "::2"),
            ("::1/128", "::1", "::"),
            ("::ffff:10.0.0.0/104", "10.200.0.1", "11.0.0.1"),
            ("::ffff:127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("127.0.0.1", "::ffff:127.0.0.1", "::127.0.0.1"),
            ("loopback", "127.8.9.10", "128.0.0.1"),
            ("loopback", "::1", "::2"),
            ("private", "172.31.255.255", "172.32.0.0"),
            ("private", "fdff::1", "fe80::1"),
            ("private", "192.168.0.1", "127.0.0.1"),
        ] {
            assert!(trusts(&[name], inside), "{name} has {inside}");
            assert!(!trusts(&[name], outside), "{name} has not {outside}");
        }
        assert!(trusts(&["::1", "10.0.0.0/8", "unix"], "10.1.1.1"));
        assert!(!trusts(&[], "127.0.0.1"));
    }

    #[test]
    fn what_is_neither_an_address_nor_a_block_nor_a_name_is_refused() {
        for text in [
            "",
            " ",
            "localhost",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/08888",
            "10.0.0.0/8/8",
            "10.0.0",
            "10.0.0.01",
            "::1/129",
            "fe80::1%eth0",
            "[::1]",
            "10.0.0.1:80",
            "*",
            "Unix",
            "10.0.0.0-10.0.0.9",
            "/8",
            "::/-1",
        ] {
            assert!(!Trusted::default().add(text), "{text:?}");
        }
    }

    #[test]
    fn unix_sockets_are_trusted_only_by_name_and_an_unknown_peer_never_is() {
        let mut all = Trusted::default();
        assert!(all.add("0.0.0.0/0") && all.add("::/0"));
        assert!(!all.has(Endpoint::Unix));
        assert!(all.add("unix"));
        assert!(all.has(Endpoint::Unix));
        assert!(!all.has(Endpoint::Unknown));
    }
}
