//! Dates in HTTP headers (RFC 9110, 5.6.7), as seconds since 1970.

use httpdate::HttpDate;
use std::cell::Cell;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second of the year 9999, after which a year would need more than four digits.
const LAST: u64 = 253_402_300_799;

thread_local! {
    /// The last date that was formatted. A busy server needs the same one many times.
    static LAST_FORMATTED: Cell<(u64, [u8; 29])> = const { Cell::new((0, *b"Thu, 01 Jan 1970 00:00:00 GMT")) };
}

/// Formats `seconds` since 1970 as an IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`. A time before 1970 or after 9999,
/// which a file may have, becomes the nearest one in between.
pub fn format(seconds: i64) -> [u8; 29] {
    let seconds = u64::try_from(seconds).unwrap_or(0).min(LAST);
    let (last, mut text) = LAST_FORMATTED.get();
    if last == seconds {
        return text;
    }
    // The only possible error is an array that is too short.
    let _ = write!(&mut text[..], "{}", HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds)));
    LAST_FORMATTED.set((seconds, text));
    text
}

/// Parses a date in any of the three formats that a recipient must accept (RFC 9110, 5.6.7), and returns its seconds
/// since 1970. Returns `None` if it is malformed or before 1970.
pub fn parse(text: &[u8]) -> Option<i64> {
    let date: HttpDate = std::str::from_utf8(text).ok()?.parse().ok()?;
    let since = SystemTime::from(date).duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}
