//! Sockets: making listeners, accepting from them, and receiving and sending on connections.

mod accept;
mod address;
mod check;
mod create;
mod error;
mod folder_lock;
mod listen;
mod local_address;
mod lookup;
mod options;
mod peer;
mod socket_file;
mod sockopt;
mod transfer;
mod unix_address;
mod unix_bind;

pub use accept::accept;
pub use address::Address;
pub use check::{NotListener, check_listener};
pub use error::ListenError;
pub use listen::{Listening, listen};
pub use local_address::{Remote, local_name, remote_address};
pub use options::{Kind, Options};
pub use peer::{Peer, peer};
pub use socket_file::SocketFile;
pub(crate) use sockopt::no_sigpipe;
pub use sockopt::{limit_unsent, nodelay};
pub use transfer::{CAN_HOLD, end_sending, push, receive, send, send_both, send_held, unacknowledged};
