//! The layout of the shared page: for each slot, areas with the counters of its listeners; for each listener of the supervisor,
//! the seats of all slots.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use super::memory::{self, NotShared};
use super::seat::{SEAT_WORDS, Seat};
use crate::engine::COUNTERS;
use crate::errno::Errno;

/// The most workers at a time.
pub const SLOTS: usize = 256;

/// How many listeners of the supervisor have seats. The load of others is not spread.
const LISTENERS: usize = 16;

/// How many listeners of one worker have counters that the others see.
const AREAS: usize = 16;

/// How many words the caller has in each area, for an HTTP server.
pub const HTTP_WORDS: usize = 1024;

/// The longest name of a listener, in words. The path of a unix socket has at most 108 bytes.
const NAME_WORDS: usize = 16;

/// The words of an area: whether a listener has it, whether it has a name, since when it counts, its name, and its counters.
const OWNED: usize = 0;
const NAMED: usize = 1;
const SINCE: usize = 2;
const HAS_HTTP: usize = 3;
const NAME: usize = 4;
const COUNTED: usize = NAME + NAME_WORDS;
const HTTP: usize = COUNTED + COUNTERS;
const AREA_WORDS: usize = HTTP + HTTP_WORDS;

/// The words of the page after the first, which has its layout: how many slots were ever in use, the seats, and the areas.
const USED: usize = 1;
const SEATS: usize = SEAT_WORDS;
const SEATS_OF_LISTENER: usize = SLOTS * SEAT_WORDS;
const FIRST_AREA: usize = SEATS + LISTENERS * SEATS_OF_LISTENER;
const LENGTH: usize = FIRST_AREA + SLOTS * AREAS * AREA_WORDS;

/// What a page of this layout begins with. The first number changes with the meaning of any word.
const MAGIC: u64 = 1 << 48 | (LENGTH as u64) << 16 | COUNTERS as u64;

/// A page that is mapped for as long as the process lives.
#[derive(Clone, Copy, Debug)]
pub struct Page(&'static [AtomicU64]);

impl Page {
    /// Makes a page, and its descriptor, by which other processes can map it. Only what was written takes up memory.
    ///
    /// # Errors
    /// Returns the error of memfd_create(2), shm_open(3), ftruncate(2) or mmap(2).
    pub fn create() -> Result<(Self, OwnedFd), Errno> {
        let (words, fd) = memory::create_with_layout(LENGTH, MAGIC)?;
        Ok((Self(words), fd))
    }

    /// Maps a page that another process has made.
    ///
    /// # Errors
    /// Returns an error if the system does not map it, or if it has another layout.
    pub fn open(fd: BorrowedFd<'_>) -> Result<Self, NotShared> {
        memory::open_with_layout(fd, LENGTH, MAGIC).map(Self)
    }

    /// Gives this process zeros of its own in the place of the page. For a forked child, which is no worker: each word of the
    /// page has only one writer.
    pub fn separate(self) {
        memory::separate(self.0);
    }

    /// How many slots were ever in use. The others have nothing to read.
    pub fn used(self) -> usize {
        (self.0[USED].load(Ordering::Relaxed) as usize).min(SLOTS)
    }

    /// A worker is about to use a slot. The supervisor calls this.
    pub fn give(self, slot: usize) {
        self.0[USED].fetch_max(slot as u64 + 1, Ordering::Relaxed);
    }

    /// The worker of a slot has ended: it has no connections, and its areas are free. What it has counted stays. The
    /// supervisor calls this.
    pub fn take_back(self, slot: usize) {
        for listener in 0..LISTENERS {
            if let Some(seat) = self.seat(slot, listener) {
                seat.publish(0, false);
            }
        }
        for area in self.areas(slot) {
            area.release();
        }
    }

    /// The seat of a slot at a listener of the supervisor. None if there are too many listeners.
    pub fn seat(self, slot: usize, listener: usize) -> Option<Seat> {
        let start = SEATS + listener * SEATS_OF_LISTENER;
        (listener < LISTENERS && slot < SLOTS)
            .then(|| Seat::new(slot, &self.0[start..start + SEATS_OF_LISTENER], &self.0[USED]))
    }

    /// The areas of a slot that have counted something.
    pub fn areas(self, slot: usize) -> impl Iterator<Item = Area> {
        self.all(slot).filter(|area| area.0[NAMED].load(Ordering::Acquire) == 1)
    }

    fn all(self, slot: usize) -> impl Iterator<Item = Area> {
        let words = self.0;
        (0..AREAS).map(move |index| {
            let start = FIRST_AREA + (slot * AREAS + index) * AREA_WORDS;
            Area(&words[start..start + AREA_WORDS])
        })
    }

    /// The counters for a listener of this name, which go on where those of an earlier listener of the slot ended. None if the
    /// slot has no area left.
    pub fn claim(self, slot: usize, name: &str) -> Option<Claim> {
        let same = self.areas(slot).filter(|area| area.name() == shortened(name)).find(|area| area.take());
        let area = same.or_else(|| {
            self.all(slot).filter(|area| area.0[NAMED].load(Ordering::Acquire) == 0).find(|area| {
                // Another thread may have taken it, named it and left it in between.
                area.take() && {
                    let is_new = area.0[NAMED].load(Ordering::Acquire) == 0;
                    if is_new {
                        area.set_name(name);
                    } else {
                        area.release();
                    }
                    is_new
                }
            })
        })?;
        area.zero_gauges();
        Some(Claim(area))
    }
}

/// The counters of one listener and, if it has one, of its HTTP server.
#[derive(Clone, Copy, Debug)]
pub struct Area(&'static [AtomicU64]);

impl Area {
    /// The address of the listener.
    pub fn name(&self) -> String {
        let words = &self.0[NAME..NAME + NAME_WORDS];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
        String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
    }

    /// When it began to count, in seconds since 1970, or zero.
    pub fn since(&self) -> f64 {
        f64::from_bits(self.0[SINCE].load(Ordering::Relaxed))
    }

    /// Sets when it began to count, unless it has begun.
    pub fn set_since(&self, since: f64) {
        if self.since() == 0.0 {
            self.0[SINCE].store(since.to_bits(), Ordering::Relaxed);
        }
    }

    /// The counters of the listener.
    pub fn counters(&self) -> Option<&'static [AtomicU64; COUNTERS]> {
        self.0[COUNTED..].first_chunk()
    }

    /// The counters of its HTTP server, if it ever had one.
    pub fn http(&self) -> Option<&'static [AtomicU64; HTTP_WORDS]> {
        if self.0[HAS_HTTP].load(Ordering::Relaxed) == 1 { self.0[HTTP..].first_chunk() } else { None }
    }

    /// The counters for an HTTP server. Their first is a gauge.
    pub fn serve_http(&self) -> Option<&'static [AtomicU64; HTTP_WORDS]> {
        self.0[HAS_HTTP].store(1, Ordering::Relaxed);
        self.http()
    }

    fn take(&self) -> bool {
        self.0[OWNED].compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn release(&self) {
        self.zero_gauges();
        self.0[OWNED].store(0, Ordering::Release);
    }

    fn zero_gauges(&self) {
        crate::engine::zero_gauges(&self.0[COUNTED..HTTP]);
        self.0[HTTP].store(0, Ordering::Relaxed);
    }

    fn set_name(&self, name: &str) {
        let mut bytes = [0; NAME_WORDS * 8];
        let name = shortened(name).as_bytes();
        bytes[..name.len()].copy_from_slice(name);
        for (word, bytes) in self.0[NAME..].iter().zip(bytes.chunks_exact(8)) {
            word.store(u64::from_ne_bytes(bytes.try_into().unwrap_or_default()), Ordering::Relaxed);
        }
        self.0[NAMED].store(1, Ordering::Release);
    }
}

/// As much of a name as an area holds.
fn shortened(name: &str) -> &str {
    let mut end = name.len().min(NAME_WORDS * 8);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// An area that one listener counts in, until this is dropped.
#[derive(Debug)]
pub struct Claim(Area);

impl std::ops::Deref for Claim {
    type Target = Area;

    fn deref(&self) -> &Area {
        &self.0
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.release();
    }
}
