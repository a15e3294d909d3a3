//! What is at the other end of a connection.

use std::net::IpAddr;

/// The other end of a connection, or the client that a proxy tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An address, and the port if it is known. An IPv4 address is never written as an IPv6 one: see
    /// [`Endpoint::from_ip`].
    Ip(IpAddr, Option<u16>),
    /// A unix socket.
    Unix,
    /// Nobody knows, or nobody says.
    Unknown,
}

impl Endpoint {
    /// An address and a port. An IPv4 address in an IPv6 one (`::ffff:127.0.0.1`), as a socket for both has it, becomes an
    /// IPv4 address.
    pub fn from_ip(address: IpAddr, port: Option<u16>) -> Self {
        Self::Ip(address.to_canonical(), port)
    }

    /// The address, if there is one.
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::Ip(address, _) => Some(address),
            Self::Unix | Self::Unknown => None,
        }
    }

    /// The port, if it is known.
    pub fn port(self) -> Option<u16> {
        match self {
            Self::Ip(_, port) => port,
            Self::Unix | Self::Unknown => None,
        }
    }
}
