//! The parts of a body: where each begins and ends (RFC 2046, 5.1.1).

use crate::content_type::Boundary;
use crate::head::PartHead;
use crate::reject::Reject;
use crate::search::Delimiter;

/// What a parser has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'i> {
    /// A part begins.
    Part(PartHead<'i>),
    /// Some data of the part. It is empty when there is data but the caller has no room for any.
    Data(&'i [u8]),
    /// The part has ended.
    End,
}

/// What [`Parser::step`] returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<'i> {
    /// How many bytes of the input were used. The caller passes the rest again, with more behind it.
    pub consumed: usize,
    /// What was found, or `None` if more input is needed, or all parts have ended.
    pub event: Option<Event<'i>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first boundary, which is not in the first so many bytes. At the start of the body it needs no CRLF.
    Start(usize),
    /// After a boundary.
    Boundary,
    /// After a boundary that is not the last, where spaces may be before the CRLF.
    Padding,
    /// In the headers of a part, of which so many bytes have no end of the headers.
    Head(usize),
    /// At the start of a part's data. If there is no data, the empty line is the CRLF of the delimiter.
    DataStart,
    Data,
    /// After the last boundary, where spaces may be before a CRLF.
    LastPadding,
    /// After the last delimiter.
    Epilogue,
}

/// Reads one body.
#[derive(Clone, Debug)]
pub struct Parser {
    state: State,
    delimiter: Delimiter,
    max_head: usize,
    rejected: Option<Reject>,
}

impl Parser {
    /// Makes a parser for a body whose parts have heads of at most `max_head` bytes, including the empty line. What precedes
    /// the first boundary may have as many.
    pub fn new(boundary: &Boundary, max_head: usize) -> Self {
        Self { state: State::Start(0), delimiter: Delimiter::new(boundary.as_bytes()), max_head, rejected: None }
    }

    /// Reads on in `input`, the bytes that follow those that were consumed, up to the next event. An event has at most
    /// `room` bytes of data.
    ///
    /// # Errors
    /// Returns the [`Reject`] to respond with. Every later call returns the same error.
    pub fn step<'i>(&mut self, input: &'i [u8], room: usize) -> Result<Step<'i>, Reject> {
        if let Some(reject) = self.rejected {
            return Err(reject);
        }
        let result = self.advance(input, room);
        self.rejected = result.as_ref().err().copied();
        result
    }

    /// Whether the last delimiter was found.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::LastPadding | State::Epilogue)
    }

    /// Ends the body.
    ///
    /// # Errors
    /// Returns the error of an earlier step, or [`Reject::TRUNCATED`] if the last delimiter is missing.
    pub fn finish(&self) -> Result<(), Reject> {
        match self.rejected {
            Some(reject) => Err(reject),
            None if self.is_done() => Ok(()),
            None => Err(Reject::TRUNCATED),
        }
    }

    fn advance<'i>(&mut self, input: &'i [u8], room: usize) -> Result<Step<'i>, Reject> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            let more = |consumed| Ok(Step { consumed, event: None });
            match self.state {
                State::Start(seen) => {
                    let Some(start) = self.first_boundary(rest, seen)? else { return more(at) };
                    at += start + self.delimiter.without_crlf().len();
                    self.state = State::Boundary;
                }
                State::Boundary => match rest {
                    [] | [b'-'] => return more(at),
                    [b'-', b'-', ..] => {
                        at += 2;
                        self.state = State::LastPadding;
                    }
                    _ => self.state = State::Padding,
                },
                State::Padding | State::LastPadding => {
                    let is_last = self.state == State::LastPadding;
                    at += rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
                    match &input[at..] {
                        [] | [b'\r'] => return more(at),
                        [b'\r', b'\n', ..] => at += 2,
                        _ => return Err(Reject::DELIMITER),
                    }
                    self.state = if is_last { State::Epilogue } else { State::Head(0) };
                }
                State::Head(seen) => {
                    let Some(length) = self.head_length(rest, seen)? else { return more(at) };
                    self.state = State::DataStart;
                    let head = PartHead::parse(&rest[..length - 4])?;
                    return Ok(Step { consumed: at + length, event: Some(Event::Part(head)) });
                }
                State::DataStart => match self.begins_with_boundary(rest) {
                    None => return more(at),
                    Some(false) => self.state = State::Data,
                    Some(true) => {
                        self.state = State::Boundary;
                        let consumed = at + self.delimiter.without_crlf().len();
                        return Ok(Step { consumed, event: Some(Event::End) });
                    }
                },
                State::Data => {
                    let length = match self.delimiter.find(rest) {
                        Some(0) => {
                            self.state = State::Boundary;
                            return Ok(Step { consumed: at + self.delimiter.len(), event: Some(Event::End) });
                        }
                        Some(start) => start,
                        None => rest.len() - self.delimiter.partial(rest),
                    };
                    if length == 0 {
                        return more(at);
                    }
                    let data = &rest[..length.min(room)];
                    return Ok(Step { consumed: at + data.len(), event: Some(Event::Data(data)) });
                }
                State::Epilogue => return more(input.len()),
            }
        }
    }

    /// Returns where the first boundary begins in `rest`, the start of the body, or `None` if it has not arrived. It is not in
    /// the first `seen` bytes. Text before it must end in CRLF: other readers would take a boundary elsewhere for the first.
    fn first_boundary(&mut self, rest: &[u8], seen: usize) -> Result<Option<usize>, Reject> {
        let boundary = self.delimiter.without_crlf();
        if seen == 0 && self.begins_with_boundary(rest) != Some(false) {
            return Ok(rest.starts_with(boundary).then_some(0));
        }
        let shown = &rest[..rest.len().min(self.max_head)];
        let from = seen.saturating_sub(boundary.len() - 1).min(shown.len());
        if let Some(found) = shown[from..].windows(boundary.len()).position(|bytes| bytes == boundary) {
            let start = from + found;
            return if shown[..start].ends_with(b"\r\n") { Ok(Some(start)) } else { Err(Reject::PREAMBLE) };
        }
        if rest.len() >= self.max_head {
            return Err(Reject::PREAMBLE);
        }
        self.state = State::Start(rest.len());
        Ok(None)
    }

    /// Returns whether `rest` begins with a boundary, or `None` if more is needed to know it.
    fn begins_with_boundary(&self, rest: &[u8]) -> Option<bool> {
        let boundary = self.delimiter.without_crlf();
        if rest.len() < boundary.len() && boundary.starts_with(rest) {
            return None;
        }
        Some(rest.starts_with(boundary))
    }

    /// Returns the length of the head at the start of `rest`, with its empty line, or `None` if it has not arrived. The
    /// first `seen` bytes have no end of a head.
    fn head_length(&mut self, rest: &[u8], seen: usize) -> Result<Option<usize>, Reject> {
        if rest.starts_with(b"\r\n") {
            return Err(Reject::NO_DISPOSITION);
        }
        let shown = &rest[..rest.len().min(self.max_head)];
        // Four bytes may be at the end of what was seen, but for one.
        let from = seen.saturating_sub(3).min(shown.len());
        if let Some(found) = shown[from..].windows(4).position(|four| four == b"\r\n\r\n") {
            return Ok(Some(from + found + 4));
        }
        if rest.len() >= self.max_head {
            return Err(Reject::HEAD_TOO_LARGE);
        }
        self.state = State::Head(rest.len());
        Ok(None)
    }
}
