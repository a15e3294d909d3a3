//! Requests that the server refuses: the tuple that Janet code gets, and the response.

use janetrs::Janet;
use kqnet_http1::Reject;
use kqnet_http1::response::{reason, write_failure};

use super::connection;
use super::response::{unix_time, with_scratch};
use crate::boundary::{Function, Outcome, native};
use crate::buffer;
use crate::value::{arg, bytes, integer, tuple};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[native!("http-refuse", "http status reason out &opt detail", refuse)];

/// What a native function returns for a refused request: a tuple of the status, the reason, and what is known of the
/// request. That is the request table, true if the buffer begins with a head that cannot be read, or nil.
pub fn refused(reject: Reject, request: Janet) -> Janet {
    tuple(&[Janet::number(reject.status.into()), Janet::from(reject.reason), request])
}

/// `(native/http-refuse http status reason out &opt detail)`: Writes the whole response to a refused request to a buffer. It is
/// also used when a handler raised an error. A detail is for the client only: refusals are counted by their reason, of which
/// there are few.
fn refuse(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    let status = integer(arg(args, 1)).and_then(|status| u16::try_from(status).ok()).unwrap_or(400);
    let text = match bytes(&arg(args, 2)) {
        Some(text) => String::from_utf8_lossy(text).into_owned(),
        None => reason(status).to_owned(),
    };
    let out = &mut buffer::get(arg(args, 3))?;
    let told = match bytes(&arg(args, 4)) {
        Some(detail) => format!("{text}: {}", String::from_utf8_lossy(detail)),
        None => text.clone(),
    };
    with_scratch(|scratch| {
        write_failure(scratch, &connection.exchange, status, &told, unix_time());
        let head = scratch.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |end| end + 4);
        connection.account.answer(status, head, scratch.len() - head);
        buffer::push(out, scratch)
    })?;
    // A handler that raised an error was not refused.
    if status != 500 {
        connection.config.statistics.count_refusal(status, &text);
    }
    connection.keeps_open = false;
    Ok(Outcome::Value(Janet::nil()))
}
