//! Which proxies a program trusts, and which address a connection comes from, for `crates/proxy`.

use janetrs::{Janet, TaggedJanet};
use kqnet_accept::socket::{self, Remote};
use kqnet_proxy::{Endpoint, Trusted};

use crate::stream;
use crate::value::{bytes, describe, elements};

/// The trusted proxies in an array or a tuple of strings, or `None` for nil.
///
/// # Errors
/// Returns an error that shows what is wrong.
pub fn trusted(value: Janet) -> Result<Option<Trusted>, String> {
    if value.is_nil() {
        return Ok(None);
    }
    let Some(names) = elements(&value) else {
        return Err(format!(":trusted-proxies must be a list, got {}", describe(value)));
    };
    let mut trusted = Trusted::default();
    for name in names {
        if !add(&mut trusted, *name) {
            return Err(format!(":trusted-proxies has {}, which is no address", describe(*name)));
        }
    }
    Ok(Some(trusted))
}

/// Adds an element of `:trusted-proxies`. Returns false if it is not one.
pub fn add(trusted: &mut Trusted, name: Janet) -> bool {
    match name.unwrap() {
        TaggedJanet::String(text) => std::str::from_utf8(text.as_bytes()).is_ok_and(|text| trusted.add(text)),
        _ => false,
    }
}

/// The peer of a connection, a stream. It is unknown if the connection is over.
pub fn peer_of(stream: Janet) -> Endpoint {
    match stream::of(stream).and_then(stream::descriptor).and_then(socket::remote_address) {
        Some(Remote::Inet(address)) => Endpoint::from_ip(address.ip(), Some(address.port())),
        Some(Remote::Unix) => Endpoint::Unix,
        None => Endpoint::Unknown,
    }
}

/// The address of a client or a peer, as a string, or nil if it has none.
pub fn address_text(endpoint: Endpoint) -> Janet {
    endpoint.address().map_or_else(Janet::nil, |address| Janet::string(address.to_string().as_bytes().into()))
}

/// The header values in a value: the string, or the strings of an array if there were several lines.
pub fn lines(value: &Janet) -> Vec<&[u8]> {
    match elements(value) {
        Some(lines) => lines.iter().filter_map(bytes).collect(),
        None => bytes(value).into_iter().collect(),
    }
}
