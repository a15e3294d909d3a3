//! The content codings that a client accepts (RFC 9110, 12.5.3).

use crate::grammar::{elements, trim};

/// A content coding in which copies of files may be kept beside the originals.
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
    /// All codings, beginning with the one that usually makes files smallest.
    const ALL: [Self; 3] = [Self::Brotli, Self::Zstandard, Self::Gzip];

    /// Returns the name of the coding in Content-Encoding.
    pub fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstandard => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// Returns the suffix of files that are kept in this coding.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstandard => ".zst",
            Self::Gzip => ".gz",
        }
    }

    fn is_named(self, name: &[u8]) -> bool {
        // x-gzip is another name for gzip (RFC 9110, 8.4.1.3).
        name.eq_ignore_ascii_case(self.name().as_bytes()) || self == Self::Gzip && name.eq_ignore_ascii_case(b"x-gzip")
    }
}

/// Returns the codings that a client prefers to the unencoded file, by the value of its Accept-Encoding header. The
/// best one comes first.
///
/// A coding that is neither named nor covered by `*` is not accepted. The unencoded file has a weight only if
/// `identity` is named. A malformed weight is 0.
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
    // The sort is stable, so codings of equal weight stay in the order of `ALL`.
    codings.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    codings.into_iter().filter(move |(weight, _)| *weight > 0 && *weight >= identity).map(|(_, coding)| coding)
}

/// Returns the weight in a parameter such as `q=0.5`, in thousandths (RFC 9110, 12.4.2).
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
