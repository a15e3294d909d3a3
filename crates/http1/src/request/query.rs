//! The pairs of a query string, and of a form that is encoded like one.

use std::borrow::Cow;

use crate::grammar::hex_pair;

/// Parses a query string as the `query-string-grammar` of `spork/http` does, except that it always reads to the end.
///
/// - Pairs are separated by `&` or `;`. The first `=` of a pair separates its key from its value.
/// - `+` is a space, `%` and two hexadecimal digits are a byte, and any other `%` stands for itself.
/// - A key without `=` has no value, where `spork/http` has `true`.
/// - Nothing between two separators is not a pair. A key may be empty, as in the URL standard and in Go. In both cases the
///   grammar of `spork/http` stops, and what follows is lost.
/// - Every query string can be parsed, so the request table has a `:query` whenever its target has a `?`.
pub fn parse_query(query: &[u8]) -> QueryPairs<'_> {
    QueryPairs { rest: query, separators: b"&;" }
}

/// Parses a body of the type application/x-www-form-urlencoded. It differs from a query string in that only `&` separates
/// pairs, as in the URL standard.
pub fn parse_form(body: &[u8]) -> QueryPairs<'_> {
    QueryPairs { rest: body, separators: b"&" }
}

/// The iterator that [`parse_query`] and [`parse_form`] return.
#[derive(Clone, Debug)]
pub struct QueryPairs<'q> {
    rest: &'q [u8],
    separators: &'static [u8],
}

impl<'q> Iterator for QueryPairs<'q> {
    type Item = (Cow<'q, [u8]>, Option<Cow<'q, [u8]>>);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.rest.iter().position(|b| !self.separators.contains(b))?;
        self.rest = &self.rest[start..];
        let end = self.rest.iter().position(|b| self.separators.contains(b)).unwrap_or(self.rest.len());
        let (pair, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(match pair.iter().position(|&b| b == b'=') {
            Some(equals) => (decode(&pair[..equals]), Some(decode(&pair[equals + 1..]))),
            None => (decode(pair), None),
        })
    }
}

impl std::iter::FusedIterator for QueryPairs<'_> {}

fn decode(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.iter().any(|b| b"%+".contains(b)) {
        return Cow::Borrowed(bytes);
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [b, tail @ ..] = rest {
        let (b, tail) = match (b, tail) {
            (b'+', _) => (b' ', tail),
            (b'%', [high, low, after @ ..]) => match hex_pair(*high, *low) {
                Some(byte) => (byte, after),
                None => (b'%', tail),
            },
            _ => (*b, tail),
        };
        decoded.push(b);
        rest = tail;
    }
    Cow::Owned(decoded)
}
