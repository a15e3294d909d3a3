//! X-Forwarded-For and X-Forwarded-Proto, which most proxies set.

use crate::client::trim;
use crate::{Client, Endpoint, Scheme, Trusted, node};

/// Finds the client of a request from a trusted peer.
pub fn client(trusted: &Trusted, peer: Endpoint, addresses: &[&[u8]], schemes: &[&[u8]]) -> Client {
    let mut endpoint = peer;
    let mut hops = 0;
    for text in from_the_right(addresses) {
        hops += 1;
        endpoint = node::parse(text);
        if !trusted.has(endpoint) {
            break;
        }
    }
    Client { endpoint, scheme: scheme(addresses, schemes, hops) }
}

/// The scheme that belongs to the address at index `hops` from the right. Only proxies that all append to both headers give one
/// to each address. Otherwise the last one is taken, which is from the peer itself or was passed on by it.
fn scheme(addresses: &[&[u8]], schemes: &[&[u8]], hops: usize) -> Option<Scheme> {
    let is_paired = hops > 0 && from_the_right(schemes).count() == from_the_right(addresses).count();
    from_the_right(schemes).nth(if is_paired { hops - 1 } else { 0 }).and_then(Scheme::parse)
}

/// The elements of all lines, from the last to the first. Empty ones do not count (RFC 9110, 5.6.1).
fn from_the_right<'a>(lines: &'a [&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
    lines.iter().rev().flat_map(|line| line.rsplit(|b| *b == b',')).map(trim).filter(|text| !text.is_empty())
}
