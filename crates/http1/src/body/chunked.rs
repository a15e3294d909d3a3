//! The chunked transfer coding (RFC 9112, 7.1), decoded as bytes arrive, without copying data.

use crate::body::step::Step;
use crate::grammar::{is_field_byte, is_tchar};
use crate::reject::Reject;

/// How many bytes the line with a chunk's size may have, without its CRLF.
pub const MAX_CHUNK_LINE: u32 = 1024;

/// How many bytes of chunk-size lines a body may have in excess of an allowance of 16 bytes, plus twice the data, for each
/// chunk. Without this limit, a client could make the server read a kibibyte of extensions for each byte of data.
pub const MAX_OVERHEAD: u64 = 16 * 1024;

/// How many bytes the trailer section may have, including its line ends.
pub const MAX_TRAILERS: u32 = 8 * 1024;

/// The number of hexadecimal digits that fit 64 bits.
const MAX_SIZE_DIGITS: u32 = 16;

/// The place of the next byte in the grammar of RFC 9112, 7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    /// Spaces after the size, which only an extension may follow.
    SizeSpace,
    ExtensionStart,
    ExtensionName,
    ExtensionNameSpace,
    ValueStart,
    Value,
    Quoted,
    QuotedEscape,
    QuotedEnd,
    ValueSpace,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// Decodes one chunked body. Trailers and extensions are checked and then dropped.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// The size as far as it was read, or how much data of the chunk is still to come.
    remaining: u64,
    /// How many more bytes of data the body may have.
    allowance: u64,
    /// How many bytes of the size line, or of the trailer section, were read.
    length: u32,
    /// How many bytes of size lines were read beyond what the chunks warrant.
    overhead: u64,
    rejected: Option<Reject>,
}

impl ChunkedDecoder {
    /// Makes a decoder for a body of at most `max_body` bytes of data.
    pub(crate) fn new(max_body: u64) -> Self {
        Self { state: State::Size, remaining: 0, allowance: max_body, length: 0, overhead: 0, rejected: None }
    }

    /// Returns whether the body is complete.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes bytes from the start of `input`, at most up to the end of one run of data.
    ///
    /// # Errors
    /// Returns the [`Reject`] to respond with, at the first byte that shows it: 400 for anything that does not follow
    /// the grammar or has too many extensions, 413 as soon as a size exceeds what is left of the limit, and 431 for
    /// trailers that are too large. Every later call returns the same error.
    pub(crate) fn step(&mut self, input: &[u8]) -> Result<Step, Reject> {
        if let Some(reject) = self.rejected {
            return Err(reject);
        }
        let mut i = 0;
        while let (Some(&b), false) = (input.get(i), self.is_done()) {
            if self.state == State::Data {
                let rest = input.len() - i;
                let taken = usize::try_from(self.remaining).map_or(rest, |remaining| remaining.min(rest));
                self.remaining -= taken as u64;
                if self.remaining == 0 {
                    self.state = State::DataCr;
                }
                return Ok(Step { consumed: i + taken, data: i..i + taken });
            }
            if let Err(reject) = self.advance(b) {
                self.rejected = Some(reject);
                return Err(reject);
            }
            i += 1;
        }
        Ok(Step { consumed: i, data: i..i })
    }

    /// Takes one byte of framing.
    fn advance(&mut self, b: u8) -> Result<(), Reject> {
        self.state = match self.state {
            State::Size => match (b, char::from(b).to_digit(16)) {
                (_, Some(digit)) => {
                    if self.length == MAX_SIZE_DIGITS {
                        return Err(Reject::CHUNK_SIZE);
                    }
                    self.length += 1;
                    self.remaining = self.remaining << 4 | u64::from(digit);
                    return Ok(());
                }
                _ if self.length == 0 => return Err(Reject::CHUNK_SIZE),
                (b'\r', _) => State::SizeLf,
                (b';', _) => State::ExtensionStart,
                (b' ' | b'\t', _) => State::SizeSpace,
                _ => return Err(Reject::CHUNK_SIZE),
            },
            State::SizeSpace => match b {
                b' ' | b'\t' => State::SizeSpace,
                b';' => State::ExtensionStart,
                _ => return Err(Reject::CHUNK_SIZE),
            },
            State::SizeLf if b == b'\n' => return self.begin_chunk(),
            State::SizeLf => return Err(Reject::CHUNK_SIZE),
            State::DataCr if b == b'\r' => State::DataLf,
            State::DataLf if b == b'\n' => State::Size,
            State::DataCr | State::DataLf => return Err(Reject::CHUNK_END),
            State::TrailerStart | State::TrailerName | State::TrailerValue | State::TrailerLf | State::EndLf => {
                return self.advance_trailer(b);
            }
            State::Data | State::Done => self.state,
            _ => self.extension(b).ok_or(Reject::CHUNK_EXTENSION)?,
        };
        if matches!(self.state, State::Size | State::SizeLf | State::DataLf) {
            return Ok(());
        }
        self.length += 1;
        if self.length > MAX_CHUNK_LINE { Err(Reject::CHUNK_OVERHEAD) } else { Ok(()) }
    }

    /// Returns the state after `b` within an extension (RFC 9112, 7.1.1). The grammar is enforced exactly, so that no
    /// other reader can find the end of the line elsewhere, such as in a quoted string that is never closed, or at a
    /// bare LF.
    fn extension(&self, b: u8) -> Option<State> {
        let is_space = matches!(b, b' ' | b'\t');
        Some(match (self.state, b) {
            (state @ (State::ExtensionStart | State::ExtensionNameSpace), _) if is_space => state,
            (state @ (State::ValueStart | State::ValueSpace), _) if is_space => state,
            (State::ExtensionName, _) if is_space => State::ExtensionNameSpace,
            (State::Value | State::QuotedEnd, _) if is_space => State::ValueSpace,
            (State::ExtensionStart | State::ExtensionName, _) if is_tchar(b) => State::ExtensionName,
            (State::ValueStart | State::Value, _) if is_tchar(b) => State::Value,
            (State::ExtensionName | State::ExtensionNameSpace, b'=') => State::ValueStart,
            (State::ValueStart, b'"') => State::Quoted,
            (State::Quoted, b'"') => State::QuotedEnd,
            (State::Quoted, b'\\') => State::QuotedEscape,
            (State::Quoted | State::QuotedEscape, _) if is_field_byte(b) => State::Quoted,
            (State::ExtensionName | State::Value | State::QuotedEnd, b'\r') => State::SizeLf,
            (
                State::ExtensionName | State::ExtensionNameSpace | State::Value | State::ValueSpace | State::QuotedEnd,
                b';',
            ) => State::ExtensionStart,
            _ => return None,
        })
    }

    /// Goes on to the data of a chunk whose size line is complete, or to the trailers after the last chunk.
    fn begin_chunk(&mut self) -> Result<(), Reject> {
        let size = self.remaining;
        self.allowance = self.allowance.checked_sub(size).ok_or(Reject::BODY_TOO_LARGE)?;
        let warranted = size.saturating_mul(2).saturating_add(16);
        self.overhead = (self.overhead + u64::from(self.length)).saturating_sub(warranted);
        if self.overhead > MAX_OVERHEAD {
            return Err(Reject::CHUNK_OVERHEAD);
        }
        self.length = 0;
        self.state = if size == 0 { State::TrailerStart } else { State::Data };
        Ok(())
    }

    /// Takes one byte of the trailer section.
    fn advance_trailer(&mut self, b: u8) -> Result<(), Reject> {
        self.state = match (self.state, b) {
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::EndLf, b'\n') => State::Done,
            (State::TrailerStart | State::TrailerName, _) if is_tchar(b) => State::TrailerName,
            (State::TrailerName, b':') => State::TrailerValue,
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, _) if is_field_byte(b) => State::TrailerValue,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            _ => return Err(Reject::TRAILER),
        };
        self.length += 1;
        if self.length > MAX_TRAILERS { Err(Reject::TRAILERS_TOO_LARGE) } else { Ok(()) }
    }
}
