//! Which content codings a client takes (RFC 9110, 12.5.3).

use crate::grammar::{elements, trim};

/// A content coding in which copies of files are kept beside the originals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// br (RFC 7932)
    Brotli,
    /// zstd (RFC 8878)
    Zstandard,
    /// gzip (RFC 1952)
    Gzip,
}

impl Coding {
    /// All of them; the one that makes most files smallest first.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstandard, Self::Gzip];

    /// Its name in Content-Encoding.
    pub fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstandard => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// What is added to the name of a file that is kept in this coding.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstandard => ".zst",
            Self::Gzip => ".gz",
        }
    }

    fn is_named(self, name: &[u8]) -> bool {
        // x-gzip is the same (RFC 9110, 8.4.1.3).
        name.eq_ignore_ascii_case(self.name().as_bytes()) || self == Self::Gzip && name.eq_ignore_ascii_case(b"x-gzip")
    }
}

/// The codings that a client prefers to the unencoded file, by the value of its Accept-Encoding header, best first.
///
/// A coding that is neither named nor covered by `*` is not accepted; `identity` counts only if it is named. A malformed
/// weight is 0.
pub fn accepted(value: &[u8]) -> impl Iterator<Item = Coding> {
    let mut weights = [None; Coding::ALL.len()];
    let (mut identity, mut others) = (0, 0);
    for element in elements(value) {
        let (name, weight) = match element.iter().position(|&b| b == b';') {
            Some(end) => (trim(&element[..end]), weight(trim(&element[end + 1..])).unwrap_or(0)),
            None => (element, 1000),
        };
        if name == b"*" {
            others = weight;
        } else if name.eq_ignore_ascii_case(b"identity") {
            identity = weight;
        } else if let Some(index) = Coding::ALL.iter().position(|coding| coding.is_named(name)) {
            // The first mention counts.
            weights[index].get_or_insert(weight);
        }
    }
    let mut codings = [0, 1, 2].map(|index| (weights[index].unwrap_or(others), Coding::ALL[index]));
    // A stable sort: codings with equal weights stay in our order.
    codings.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    codings.into_iter().filter(move |(weight, _)| *weight > 0 && *weight >= identity).map(|(_, coding)| coding)
}

/// The weight `q=0.5` in thousandths (RFC 9110, 12.4.2).
fn weight(parameter: &[u8]) -> Option<u32> {
    let ([b'q' | b'Q', b'='], number) = parameter.split_at_checked(2)? else { return None };
    let (whole, digits) = match number {
        [whole] | [whole, b'.'] => (whole, &[][..]),
        [whole, b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    let mut weight = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    let mut unit = 100;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        weight += u32::from(digit - b'0') * unit;
        unit /= 10;
    }
    (weight <= 1000).then_some(weight)
}
