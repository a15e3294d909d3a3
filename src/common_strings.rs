//! Strings that most requests have: schemes, methods, and names of headers in lower case.
//!
//! Each is made once for a VM, since a new string costs its memory and a part of the next collection.

use janetrs::lowlevel as c;

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

/// A new string of Janet's.
pub fn new_string(bytes: &[u8]) -> c::Janet {
    // SAFETY: janet_string copies that many bytes. A head is smaller than an i32 can count.
    unsafe { c::janet_wrap_string(c::janet_string(bytes.as_ptr(), bytes.len() as i32)) }
}
