//! The options of a listener, and which of them have an effect at which address.

use super::address::Address;
use super::error::ListenError;
use super::unix_address::is_abstract;

/// Stream or datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Connections, mostly TCP.
    Stream,
    /// Datagrams, mostly UDP. Such a socket is bound but does not listen.
    Datagram,
}

impl Kind {
    pub(super) fn number(self) -> i32 {
        match self {
            Self::Stream => libc::SOCK_STREAM,
            Self::Datagram => libc::SOCK_DGRAM,
        }
    }
}

/// How to listen. An option that has no effect at an address is an error there, since its caller expects an effect. The
/// exception is `reuse_address`, which is on by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Stream or datagram.
    pub kind: Kind,
    /// SO_REUSEADDR: take an address that old connections still hold.
    pub reuse_address: bool,
    /// SO_REUSEPORT (SO_REUSEPORT_LB on FreeBSD): share the port with other sockets that allow it.
    pub reuse_port: bool,
    /// The most connections that may wait for `accept`, or `None` for as many as the system allows.
    pub backlog: Option<i32>,
    /// TCP_NODELAY, which accepted connections inherit.
    pub nodelay: bool,
    /// The permissions of a unix socket's file, or `None` for what the umask leaves.
    pub mode: Option<u32>,
}

impl Options {
    /// Checks that each option that is given has an effect at an address.
    pub(super) fn check(&self, address: &Address) -> Result<(), ListenError> {
        let is_unix = matches!(address, Address::Unix(_));
        let is_stream = self.kind == Kind::Stream;
        let misplaced = |option, purpose| Err(ListenError::Misplaced(option, purpose));
        match address {
            Address::Inet { .. } if self.mode.is_some() => misplaced("mode", "the file of a unix socket"),
            Address::Unix(path) if self.mode.is_some() && is_abstract(path) => {
                misplaced("mode", "the file of a unix socket, which an abstract name does not have")
            }
            _ if self.reuse_port && is_unix => misplaced("reuse-port", "ports, which a unix socket does not have"),
            _ if self.nodelay && (is_unix || !is_stream) => misplaced("nodelay", "TCP"),
            _ if self.backlog.is_some() && !is_stream => {
                misplaced("backlog", "connections, which a :datagram socket does not have")
            }
            _ => Ok(()),
        }
    }
}
