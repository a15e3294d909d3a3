//! Strings that many requests have: schemes, methods and names of headers in lower case, which are made once for a VM, and strings that
//! an earlier request had. A new string costs its memory and a part of the next collection.

use janetrs::Janet;
use janetrs::lowlevel as c;

use crate::value;

const TEXTS: &str = "http https GET HEAD POST PUT DELETE OPTIONS PATCH \
    host user-agent accept accept-encoding accept-language authorization cache-control connection content-length \
    content-type cookie dnt forwarded if-modified-since if-none-match origin pragma priority range referer sec-ch-ua \
    sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user transfer-encoding \
    upgrade-insecure-requests via x-forwarded-for x-forwarded-host x-forwarded-proto x-real-ip";

/// The common strings of a VM, by their length.
pub struct CommonStrings(Vec<Vec<(&'static str, c::Janet)>>);

impl CommonStrings {
    /// Makes the strings. `hold` keeps each alive for as long as the VM lives.
    pub fn new(hold: &dyn Fn(c::Janet)) -> Self {
        let mut by_length: Vec<Vec<_>> = Vec::new();
        for text in TEXTS.split_ascii_whitespace() {
            let value = new_string(text.as_bytes());
            hold(value);
            if by_length.len() <= text.len() {
                by_length.resize_with(text.len() + 1, Vec::new);
            }
            by_length[text.len()].push((text, value));
        }
        Self(by_length)
    }

    /// The common string with these bytes, or a new one.
    pub fn string(&self, bytes: &[u8]) -> c::Janet {
        self.known(bytes).unwrap_or_else(|| new_string(bytes))
    }

    /// The common string with these bytes, if there is one.
    pub fn known(&self, bytes: &[u8]) -> Option<c::Janet> {
        let same_length = self.0.get(bytes.len())?;
        same_length.iter().find(|(text, _)| text.as_bytes() == bytes).map(|&(_, value)| value)
    }
}

/// How many recent strings are kept.
const RECENT: usize = 64;

/// The longest string that is kept, in bytes.
const MAX_RECENT: usize = 128;

/// Strings of earlier requests, such as their paths. Each has one place in an array, which it shares with others.
pub struct RecentStrings(*mut c::JanetArray);

impl RecentStrings {
    /// Has no strings yet. `hold` keeps the array alive for as long as the VM lives.
    pub fn new(hold: &dyn Fn(c::Janet)) -> Self {
        Self(value::held_nils(RECENT, hold))
    }

    /// The string with these bytes that an earlier request had, or a new one.
    pub fn string(&self, bytes: &[u8]) -> c::Janet {
        if bytes.len() > MAX_RECENT {
            return new_string(bytes);
        }
        // Paths differ most at their ends. Any hash is right, since the bytes are compared.
        let end = bytes.iter().rev().take(8).fold(bytes.len(), |hash, &byte| hash.wrapping_mul(31) ^ usize::from(byte));
        // SAFETY: the VM holds the array, which has `RECENT` values, and no Janet code sees it.
        let place = unsafe { &mut *(*self.0).data.add(end % RECENT) };
        if value::bytes(&Janet::from(*place)) != Some(bytes) {
            *place = new_string(bytes);
        }
        *place
    }
}

/// A new string of Janet's.
pub fn new_string(bytes: &[u8]) -> c::Janet {
    // SAFETY: janet_string copies that many bytes. A head is smaller than an i32 can count.
    unsafe { c::janet_wrap_string(c::janet_string(bytes.as_ptr(), bytes.len() as i32)) }
}
