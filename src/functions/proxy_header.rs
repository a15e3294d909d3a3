//! Reading a PROXY header for programs that speak a protocol of their own, piece by piece (`crates/proxy`).

use janetrs::Janet;
use kqnet_proxy::protocol::{self, Addresses, Parse};

use crate::boundary::{Function, Outcome, native};
use crate::value::{arg, bytes, describe, string, structure, tuple};
use crate::{proxies, stream};

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] =
    &[native!("proxy-header", "bytes", proxy_header), native!("trusted-peer?", "stream proxies", is_trusted_peer)];

/// `(native/proxy-header bytes)`: Returns what `kqnet/proxy-header` returns, for a header that is complete and has nothing behind
/// it. Returns the number of bytes that are missing at least if it is not complete.
fn proxy_header(args: &[Janet]) -> Result<Outcome, String> {
    let received = arg(args, 0);
    let Some(received) = bytes(&received) else {
        return Err(format!("expected bytes, got {}", describe(received)));
    };
    let header = match protocol::parse(received).map_err(|invalid| invalid.reason())? {
        Parse::Partial(more) => return Ok(Outcome::Value(Janet::number(more as f64))),
        Parse::Complete(header) => header,
    };
    let (client, server) = match header.addresses {
        Addresses::Local | Addresses::Unknown => (Janet::nil(), Janet::nil()),
        Addresses::Inet { source, destination } => {
            let pair = |end: std::net::SocketAddr| {
                let address = end.ip().to_canonical().to_string();
                tuple(&[string(&address), Janet::number(end.port().into())])
            };
            (pair(source), pair(destination))
        }
        Addresses::Unix { ref source, ref destination } => {
            let path = |path: &[u8]| tuple(&[Janet::string(path.into())]);
            (path(source), path(destination))
        }
    };
    let is_local = header.addresses == Addresses::Local;
    Ok(Outcome::Value(structure(&[
        ("client", client),
        ("server", server),
        ("local", Janet::boolean(is_local)),
        ("tls", Janet::boolean(header.is_tls)),
    ])))
}

/// `(native/trusted-peer? stream proxies)`: Returns whether a connection comes from one of the proxies, a list as that of
/// `:trusted-proxies`. Nil stands for every peer.
fn is_trusted_peer(args: &[Janet]) -> Result<Outcome, String> {
    stream::get(arg(args, 0))?;
    let trusted = proxies::trusted(arg(args, 1))?;
    Ok(Outcome::Value(Janet::boolean(trusted.is_none_or(|trusted| trusted.has(proxies::peer_of(arg(args, 0)))))))
}
