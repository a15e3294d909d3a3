//! Dates as HTTP writes them (RFC 9110, 5.6.7), from and to seconds since 1970.

use httpdate::HttpDate;
use std::cell::Cell;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The end of the year 9999: the last second that has four digits for its year.
const LAST: u64 = 253_402_300_799;

thread_local! {
    /// The last date that was written: a busy server writes each many times.
    static LAST_WRITTEN: Cell<(u64, [u8; 29])> = const { Cell::new((0, *b"Thu, 01 Jan 1970 00:00:00 GMT")) };
}

/// `seconds` since 1970 as an IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`. A time before 1970 or after 9999, as a file
/// may have it, becomes the nearest one in between.
pub fn format(seconds: i64) -> [u8; 29] {
    let seconds = u64::try_from(seconds).unwrap_or(0).min(LAST);
    let (last, mut text) = LAST_WRITTEN.get();
    if last == seconds {
        return text;
    }
    // An array that is too short would be the only error.
    let _ = write!(&mut text[..], "{}", HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds)));
    LAST_WRITTEN.set((seconds, text));
    text
}

/// The seconds since 1970 of a date in any of the three formats that a recipient must accept (RFC 9110, 5.6.7). `None`
/// if it is none, or lies before 1970.
pub fn parse(text: &[u8]) -> Option<i64> {
    let date: HttpDate = std::str::from_utf8(text).ok()?.parse().ok()?;
    let since = SystemTime::from(date).duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}
