//! The whole response to a request that failed or was refused.

use crate::exchange::Exchange;
use crate::response::plan::{Body, Delivery, plan};
use crate::response::writer::HeadWriter;

/// Writes the whole response to a request that failed, after which the connection closes. The body is `text`; a
/// response to HEAD has none. Writes nothing for a status that [`HeadWriter::new`] refuses.
pub fn write_failure(out: &mut Vec<u8>, exchange: &Exchange, status: u16, text: &str, now: Option<i64>) {
    let exchange = exchange.closing();
    let plan = plan(&exchange, status, Body::Known(text.len() as u64 + 1));
    let Ok(mut head) = HeadWriter::new(out, status) else { return };
    // This header is never malformed.
    let _ = head.header(b"Content-Type", b"text/plain; charset=utf-8");
    head.finish(&exchange, &plan, now);
    if plan.delivery == Delivery::Plain {
        out.extend_from_slice(text.as_bytes());
        out.push(b'\n');
    }
}
