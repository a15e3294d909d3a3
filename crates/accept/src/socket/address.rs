//! Where to listen, as a caller names it.

use std::ffi::CString;
use std::fmt;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host and a port, as getaddrinfo(3) takes them.
    Inet {
        /// A host name, or an address in numbers.
        host: CString,
        /// A service name, or a port number.
        port: CString,
    },
    /// The path of a unix socket. On Linux, a leading `@` stands for the abstract namespace.
    Unix(CString),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet { host, port } => {
                let (host, port) = (host.to_string_lossy(), port.to_string_lossy());
                if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
            }
            Self::Unix(path) => write!(f, "unix:{}", path.to_string_lossy()),
        }
    }
}
