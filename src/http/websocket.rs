//! WebSockets: what a connection is after the handshake, on `crates/websocket`.
//!
//! Janet code (janet/kqnet/websocket.janet) has a task that waits for messages, and gives them to the handler. While
//! that task waits, pings are answered and silent clients are noticed here, whatever the handler is doing.
//!
//! | what | where |
//! | --- | --- |
//! | a WebSocket, from its beginning to its end | `socket` |
//! | messages from the client | `receiving` |
//! | messages to the client, and what waits to be sent | `sending` |
//! | the closing handshake | `closing` |
//! | pings, and clients that are silent or take nothing | `silence` |

mod closing;
mod receiving;
mod sending;
mod silence;
mod socket;

use crate::boundary::{self, Function};

/// The native functions of all these files.
pub const FUNCTIONS: &[Function] = &boundary::join::<{ boundary::count(LISTS) }>(LISTS);

const LISTS: &[&[Function]] = &[socket::FUNCTIONS, receiving::FUNCTIONS, sending::FUNCTIONS, closing::FUNCTIONS];
