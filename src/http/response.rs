//! Responses: writing the head, and the body too if it is small, and deciding how the remaining body is delivered.

use std::cell::RefCell;

use janetrs::lowlevel as c;
use janetrs::{Janet, TaggedJanet};
use kqnet_http1::Reject;
use kqnet_http1::response::{Body, Delivery, HeadWriter, plan};

use super::connection::{self, Connection};
use super::refusal::refused;
use super::response_table::{self, Fields};
use crate::boundary::{Function, Outcome, native};
use crate::buffer;
use crate::keys::Keys;
use crate::response_heads::ResponseHeads;
use crate::value::{arg, bytes, is_identical, is_true};
use crate::vm::{self, Vm};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[
    native!("http-respond", "http response out buffer closing", respond),
    native!("http-invalid-response?", "http", is_invalid),
];

/// Bodies up to this size are written together with their head.
pub const SMALL_BODY: usize = 32 * 1024;

thread_local! {
    /// Where responses are written before they are sent, or copied to a Janet buffer.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Calls `write` with an empty vector whose memory is used again.
pub fn with_scratch<T>(write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.capacity() > 4 * SMALL_BODY {
            *scratch = Vec::new();
        }
        scratch.clear();
        write(scratch)
    })
}

/// The current time in seconds since 1970, for the Date header.
pub fn unix_time() -> Option<i64> {
    // SAFETY: it writes nowhere if the address is null.
    let seconds = unsafe { libc::time(std::ptr::null_mut()) };
    (seconds >= 0).then_some(seconds)
}

/// `(native/http-respond http response out buffer closing)`: Writes the head of a response to `out`, and a small body
/// too, unless `native/http-answer` has written the head already. `buffer` has what was read from the client, and `closing` is true if no other request may follow. Returns how the
/// remaining body is to be sent:
///
/// * `:none`: nothing remains;
/// * `:unsent`: nothing is to be sent, and the body is a fiber, which must be ended;
/// * `:bytes`: the body as it is;
/// * `:file`: a file of kqnet's;
/// * `:chunked`: each piece as a chunk;
/// * `:pieces`: each piece as it is;
/// * a number: each piece as it is, and this many bytes in all.
///
/// Returns a tuple ([`refused`]) instead if the request cannot be answered with this response.
fn respond(args: &[Janet]) -> Result<Outcome, String> {
    let connection = &mut *connection::borrow(args)?;
    if let Some(delivery) = connection.written_head.take() {
        return Ok(Outcome::Value(delivery));
    }
    let buffers = Buffers::new(arg(args, 2), arg(args, 3))?;
    let response = arg(args, 1);
    let result = with_scratch(|scratch| {
        let delivery = vm::with(|vm| {
            let fields = Fields::of(response, &vm.keys)?;
            connection.write_response(vm, response, &fields, buffers.received, is_true(arg(args, 4)), scratch)
        })?;
        buffers.set_out(scratch)?;
        Ok(delivery)
    });
    connection.is_response_invalid |= result.is_err();
    result.map(Outcome::Value)
}

/// The buffers of a connection.
#[derive(Clone, Copy)]
pub struct Buffers {
    /// What is to be sent.
    pub out: Janet,
    /// What was read from the client.
    pub received: Janet,
}

impl Buffers {
    /// The two buffers.
    ///
    /// # Errors
    /// Returns an error if they are one.
    pub fn new(out: Janet, received: Janet) -> Result<Self, String> {
        if is_identical(out, received) {
            return Err("a response cannot be written to the buffer that its request comes from".into());
        }
        Ok(Self { out, received })
    }

    /// Replaces what is to be sent.
    ///
    /// # Errors
    /// Returns an error if it is too much for a buffer.
    pub fn set_out(self, bytes: &[u8]) -> Result<(), String> {
        let out = &mut buffer::get(self.out)?;
        buffer::clear(out);
        buffer::push(out, bytes)
    }
}

impl Connection {
    /// Writes the head of a response to `out`, which is empty, and a small body too. Returns what `native/http-respond` returns.
    /// `received` has what was read from the client, and `is_last` is true if no other request may follow.
    ///
    /// # Errors
    /// Returns an error that says what is wrong with the response.
    pub fn write_response(
        &mut self,
        vm: &mut Vm,
        response: Janet,
        fields: &Fields,
        received: Janet,
        is_last: bool,
        out: &mut Vec<u8>,
    ) -> Result<Janet, String> {
        let status = response_table::status(fields.status)?;
        let is_switch = status < 200 || self.exchange.opens_tunnel(status);
        if is_switch && !is_true(fields.detached) {
            return refuse_switch(status);
        }
        let (body, headers) = (fields.body, fields.headers);
        response_table::check_keys(response, fields)?;
        // The body may be the buffer from which the remaining body of the request is discarded below.
        let copy = bytes(&body).filter(|_| is_identical(body, received)).map(<[u8]>::to_vec);
        let known = match &copy {
            Some(copy) => Some(&copy[..]),
            None if body.is_nil() => Some(&[][..]),
            None => bytes(&body),
        };
        let file = if known.is_none() { self.begin_file(&body)? } else { None };
        // An iterable body may read the request while it is sent, so then nothing is discarded yet.
        if known.is_none() && file.is_none() {
            response_table::check_pieces(body)?;
        } else if !self.body.is_done() && self.discard_body(&mut buffer::get(received)?).is_err() {
            self.exchange = self.exchange.closing();
        }

        let head = begin_head(&mut vm.response_heads, out, status, headers)?;
        let declared = head.declared_length().filter(|_| known.is_none());
        let size = match (known, declared.or(file)) {
            (Some(bytes), _) => Body::Known(bytes.len() as u64),
            (None, Some(length)) => Body::Known(length),
            (None, None) => Body::Streamed,
        };

        // Nothing below can make the response invalid, so it will not be replaced by a 500.
        if is_last && !is_switch || !self.body.is_done() && !self.can_discard_body() {
            self.exchange = self.exchange.closing();
        }
        // A 100 would come too late.
        self.awaits_continue = false;
        let plan = plan(&self.exchange, status, size);
        self.keeps_open = head.finish(&self.exchange, &plan, unix_time());
        let head_length = out.len();
        let is_plain = plan.delivery == Delivery::Plain;
        let keys = &vm.keys;
        let mut delivery = delivery_keyword(keys, plan.delivery, known.is_some(), body);
        let small = known.filter(|bytes| is_plain && (bytes.len() <= SMALL_BODY || copy.is_some()));
        if let Some(bytes) = small {
            out.extend_from_slice(bytes);
            delivery = keys.none;
        }
        // A file follows its head without any framing.
        let file = file.filter(|&length| is_plain && size == Body::Known(length));
        let payload = file.map_or(out.len() - head_length, |length| length as usize);
        self.account.answer(status, head_length, payload);
        self.is_answering = true;
        self.pace.begin_response();
        Ok(match declared {
            _ if file.is_some() => keys.file.into(),
            Some(length) if is_plain && known.is_none() => Janet::number(length as f64),
            _ => delivery.into(),
        })
    }
}

/// Begins a head with its status line and the handler's headers. They are copied if they came before.
fn begin_head<'o>(
    heads: &mut ResponseHeads,
    out: &'o mut Vec<u8>,
    status: u16,
    headers: Janet,
) -> Result<HeadWriter<'o>, String> {
    if let Some(beginning) = heads.known(status, headers) {
        return Ok(HeadWriter::with_beginning(out, status, beginning));
    }
    let mut head = HeadWriter::new(out, status).map_err(|error| error.to_string())?;
    let slots = response_table::headers(&headers)?;
    response_table::each_header(slots, &mut |name, value| head.header(name, value).map_err(|error| error.to_string()))?;
    if let Some(beginning) = head.beginning() {
        heads.note(status, headers, beginning);
    }
    Ok(head)
}

/// The error or the refusal for a 101, or for a 2xx to CONNECT, without `:detached`.
fn refuse_switch(status: u16) -> Result<Janet, String> {
    if status < 200 {
        // The client would take what is sent next for the final response to this request.
        return Err(format!("a response's :status must be at least 200 unless it has :detached, got {status}"));
    }
    // A proxy would open a tunnel and forward what comes next, and kqnet would serve it as requests.
    Ok(refused(Reject { status: 501, reason: "CONNECT is not supported" }, Janet::nil()))
}

/// The keyword for how a body is delivered, as [`respond`] describes it. `is_bytes` is true for a body that is not an iterable.
fn delivery_keyword(keys: &Keys, delivery: Delivery, is_bytes: bool, body: Janet) -> c::Janet {
    match delivery {
        Delivery::None if matches!(body.unwrap(), TaggedJanet::Fiber(_)) => Janet::keyword("unsent".into()).into(),
        Delivery::None => keys.none,
        Delivery::Plain if is_bytes => keys.bytes,
        Delivery::Plain | Delivery::UntilClose => keys.pieces,
        Delivery::Chunked => keys.chunked,
    }
}

/// `(native/http-invalid-response? http)`: Returns whether the handler's response was not valid and could not be sent.
fn is_invalid(args: &[Janet]) -> Result<Outcome, String> {
    Ok(Outcome::Value(Janet::boolean(connection::borrow(args)?.is_response_invalid)))
}
