//! What tells the versions of a file apart: entity tags and modification dates (RFC 9110, 8.8).
//!
//! A wrong "not modified" is the one error that a client cannot notice, and modification times allow it: clocks tick
//! every few milliseconds, or every second on some file systems, archives keep whole seconds, and Nix, OSTree, npm and
//! reproducible images give all files the same date. So the tag of a file of moderate size is a hash of its content,
//! which is also the same on every machine that serves the same files. The hash is kept as long as the change time of
//! the file stays the same, which no program can set.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh3::Xxh3;

use crate::info::{Info, Time};

/// The largest file that is known by its content. Hashing this much takes a fraction of a millisecond.
const MAX_HASHED: u64 = 1024 * 1024;

/// How many hashes are kept, at about 200 bytes each.
const MAX_DIGESTS: usize = 4096;

/// How many nanoseconds must pass after a change until another change is certain to get a different time. The clock of
/// a file system ticks at least every two seconds.
const RECENT: i128 = 2_000_000_000;

/// 1 January 1990. Files that are older than the web were dated by a tool: 0 or 1 (Nix, OSTree), 1980 (zip), 1985
/// (npm).
const BEFORE_THE_WEB: i64 = 631_152_000;

fn nanoseconds((seconds, nanoseconds): Time) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

/// Hashes of files as they are in tags, kept while the files stay the same.
#[derive(Debug, Default)]
pub(crate) struct Digests(HashMap<Info, String>);

/// What tells a file from its other versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validators {
    /// A strong entity tag, with its quotes.
    pub tag: String,
    /// The date to send to clients, in seconds since 1970. It is never later than now.
    pub last_modified: Option<i64>,
    /// The date to compare with dates from clients.
    pub modified: Option<i64>,
}

impl Validators {
    pub(crate) fn new(file: &File, info: &Info, now: SystemTime, digests: &mut Digests) -> io::Result<Self> {
        // If the clock is before 1970, every file counts as recent.
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as i128);
        let (last_modified, modified) = dates(info.modified, now);
        Ok(Self { tag: tag(file, info, now, digests)?, last_modified, modified })
    }
}

fn tag(file: &File, info: &Info, now: i128, digests: &mut Digests) -> io::Result<String> {
    let is_recent = now - nanoseconds(info.changed) < RECENT;
    let (seconds, nanos) = info.modified;
    if info.size > MAX_HASHED {
        return Ok(match nanos {
            // The file may still be changing, so the tag is good for this moment only and no other version can have it.
            _ if is_recent => format!("\"{:x}-{now:x}\"", info.size),
            // Whole seconds were set by a tool, or the clock of this file system ticks no faster.
            0 => format!("\"{:x}-{seconds:x}-{:x}.{:x}\"", info.size, info.changed.0, info.changed.1),
            _ => format!("\"{:x}-{seconds:x}.{nanos:x}\"", info.size),
        });
    }
    if let Some(tag) = digests.0.get(info) {
        return Ok(tag.clone());
    }
    let tag = format!("\"{:x}-{:032x}\"", info.size, hash(file, info.size)?);
    if !is_recent {
        if digests.0.len() >= MAX_DIGESTS {
            digests.0.clear();
        }
        digests.0.insert(*info, tag.clone());
    }
    Ok(tag)
}

fn hash(file: &File, size: u64) -> io::Result<u128> {
    let mut hasher = Xxh3::new();
    // With room for one more byte than the file has, one call shows its end.
    let mut buffer = vec![0; size.min(64 * 1024) as usize + 1];
    let mut at = 0;
    // A file that keeps growing must not keep the loop going.
    while at < 2 * MAX_HASHED {
        match file.read_at(&mut buffer, at) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                at += count as u64;
                // Most files are small and end here.
                if count < buffer.len() {
                    break;
                }
            }
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
    Ok(hasher.digest128())
}

/// Returns the date to send to clients, and the one to compare with theirs.
fn dates(modified: Time, now: i128) -> (Option<i64>, Option<i64>) {
    let (seconds, _) = modified;
    if seconds < BEFORE_THE_WEB {
        return (None, None);
    }
    let today = (now / 1_000_000_000) as i64;
    if nanoseconds(modified) > now {
        // RFC 9110, 8.8.2.1: a date in the future is replaced by that of the response.
        return (Some(today), Some(seconds));
    }
    if now - nanoseconds(modified) < RECENT {
        // The file may be modified again within this second, so the client gets a date that will never match.
        return (Some(seconds - 1), Some(seconds + 1));
    }
    (Some(seconds), Some(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i128 = 86_400_000_000_000;

    #[test]
    fn a_date_is_never_in_the_future_and_a_recent_one_never_matches() {
        let written = (1_000_000_000, 500_000_000);
        let at = |seconds: f64| 1_000_000_000_000_000_000 + (seconds * 1e9) as i128;
        assert_eq!(dates(written, at(100.0)), (Some(1_000_000_000), Some(1_000_000_000)));
        for soon in [0.5, 0.6, 1.0, 2.4] {
            let (shown, compared) = dates(written, at(soon));
            assert!(shown < Some(1_000_000_000) && compared > Some(1_000_000_000), "after {soon} s");
        }
        // A date in the future: now is sent, and it does not match.
        assert_eq!(dates(written, at(-7.0)), (Some(999_999_993), Some(1_000_000_000)));
        for tool in [-1, 0, 1, 315_532_800, 499_162_500] {
            assert_eq!(dates((tool, 0), at(0.0)), (None, None), "{tool}");
        }
    }

    #[test]
    fn equal_content_has_an_equal_tag_and_other_content_has_another() {
        let path = std::env::temp_dir().join(format!("kqnet-tag-{}", std::process::id()));
        let mut digests = Digests::default();
        let mut tag_of = |content: &[u8], later: i128| {
            std::fs::write(&path, content).unwrap();
            let file = File::open(&path).unwrap();
            let mut info = Info::from(&file.metadata().unwrap());
            // As Nix sets it, with a change time that shows nothing either.
            (info.modified, info.changed) = ((1, 0), (1_000_000_000, 0));
            tag(&file, &info, nanoseconds(info.changed) + later, &mut digests).unwrap()
        };
        let one = tag_of(b"one", 0);
        assert_ne!(one, tag_of(b"two", 0));
        assert_eq!(one, tag_of(b"one", 1));
        // The hash is not kept as long as the change is recent.
        assert_ne!(one, tag_of(b"two", 1));
        assert_eq!(one, tag_of(b"one", DAY));
        assert_eq!(one, tag_of(b"two", DAY), "kept: nothing changes without a new change time");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_large_file_is_known_by_its_times() {
        let file = File::open("/dev/null").unwrap();
        let info = |modified, changed| Info { size: MAX_HASHED + 1, modified, changed, device: 1, inode: 1 };
        let of = |info: Info, now| tag(&file, &info, now, &mut Digests::default()).unwrap();
        let now = nanoseconds((2000, 0));
        // Exact times are equal on all machines, but whole seconds need the change time.
        assert_eq!(of(info((1000, 5), (1001, 0)), now), of(info((1000, 5), (1500, 7)), now));
        assert_ne!(of(info((1000, 0), (1001, 0)), now), of(info((1000, 0), (1001, 1)), now));
        assert_ne!(of(info((1000, 5), (1001, 0)), now), of(info((1000, 6), (1001, 0)), now));
        // The tag of a file that has just changed does not match later.
        let fresh = info((1999, 5), (1999, 5));
        assert_ne!(of(fresh, now), of(fresh, now + 1));
        assert_ne!(of(fresh, now), of(fresh, now + DAY));
    }
}
