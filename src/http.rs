//! HTTP connections: their state between Janet's reads and writes, on `crates/http1`.
//!
//! Janet code (janet/kqnet/http/connection.janet) decides what happens next on a connection, and calls the functions of
//! these files:
//!
//! | what | where |
//! | --- | --- |
//! | the limits and timeouts of a server | `config` |
//! | a connection, from its beginning to its end | `connection`, `serving`, `open_connections`, `end` |
//! | what Janet code needs of a connection for what is rare | `parts` |
//! | what its fiber is doing, and for how long it may do so | `phase` |
//! | one turn: from a response to the next request | `turn` |
//! | what may follow a request, such as the next one | `next_request` |
//! | proxies, and the clients behind them | `peer` |
//! | making the request table from a head | `request_table`, with `crate::request_layouts`, `crate::header_tables` and `crate::common_strings` |
//! | the request that the handler is answering, and its end | `running_request`, `open_files` |
//! | the body of a request | `request_body` |
//! | forms, with `crates/multipart` | `form` |
//! | the response of a handler | `response_table` reads it, `response` writes it, with `crate::response_heads` |
//! | large bodies that are there as a whole | `large_answer`, and `file_body` for files |
//! | requests that the server refuses | `refusal` |
//! | reading and writing the socket | `reading`, `second_read`, `writing`, `wait` |
//! | sending the responses to pipelined requests together | `chain`, with `crate::pushes` |
//! | clients that take a response too slowly | `pace` |
//! | clients that are gone while the handler runs | `watch` |
//! | letting the client take the last response | `lingering` |
//! | what logs and metrics report | `account`, `statistics` |
//! | a connection that has become a WebSocket | `websocket` |

mod account;
mod chain;
mod config;
mod connection;
mod end;
mod file_body;
mod form;
mod large_answer;
mod lingering;
mod next_request;
mod open_connections;
mod open_files;
mod pace;
mod parts;
mod peer;
mod phase;
mod reading;
mod refusal;
mod request_body;
mod request_table;
mod response;
mod response_table;
mod running_request;
mod second_read;
mod serving;
mod statistics;
mod turn;
mod wait;
mod watch;
mod websocket;
mod writing;

pub use statistics::describe_counters;

use crate::boundary::{self, Function};

/// The native functions of all these files.
pub const FUNCTIONS: &[Function] = &boundary::join::<{ boundary::count(LISTS) }>(LISTS);

const LISTS: &[&[Function]] = &[
    config::FUNCTIONS,
    connection::FUNCTIONS,
    open_connections::FUNCTIONS,
    parts::FUNCTIONS,
    end::FUNCTIONS,
    phase::FUNCTIONS,
    turn::FUNCTIONS,
    chain::FUNCTIONS,
    request_table::FUNCTIONS,
    running_request::FUNCTIONS,
    request_body::FUNCTIONS,
    form::FUNCTIONS,
    response::FUNCTIONS,
    refusal::FUNCTIONS,
    large_answer::FUNCTIONS,
    open_files::FUNCTIONS,
    reading::FUNCTIONS,
    writing::FUNCTIONS,
    lingering::FUNCTIONS,
    watch::FUNCTIONS,
    peer::FUNCTIONS,
    account::FUNCTIONS,
    statistics::FUNCTIONS,
    websocket::FUNCTIONS,
];

/// The most bytes that are sent, or discarded, for a connection in one turn of the loop, so that one client does not keep
/// the others waiting.
const MAX_TURN: usize = 1024 * 1024;
