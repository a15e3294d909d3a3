//! Gives a forked child its own epoll instance, in place of the one that Janet's loop shares with the parent.
//!
//! A shared instance would give the parent's events to the child, and the child's streams, which are addresses in the child's
//! memory, to the parent. The registrations are noted before the fork, since the parent goes on at once.

use std::mem::{MaybeUninit, offset_of, size_of};
use std::os::fd::RawFd;
use std::ptr;

use janetrs::lowlevel as c;

/// Janet opens its epoll instance when the thread starts, so it usually has a low number: it is looked for below this one first.
const NEAR: RawFd = 256;

/// A stream that no fiber waits for. It receives the events of sockets that only the parent waits for.
struct Nobody(c::JanetStream);

impl Nobody {
    /// The data with which a descriptor is registered for this stream.
    fn data() -> u64 {
        &raw const NOBODY.0 as u64
    }
}

// SAFETY: nothing writes to it.
unsafe impl Sync for Nobody {}

static NOBODY: Nobody = Nobody(c::JanetStream {
    handle: -1,
    flags: 0,
    index: 0,
    read_fiber: ptr::null_mut(),
    write_fiber: ptr::null_mut(),
    methods: ptr::null(),
});

/// What is registered with Janet's epoll instance.
pub struct Snapshot {
    epoll: RawFd,
    registrations: Vec<Registration>,
}

impl Snapshot {
    /// Notes what is registered. Returns none if Janet's loop uses poll(2), which shares nothing. `is_own` tells whether this
    /// process made the queue, rather than one that it was forked from.
    ///
    /// # Errors
    /// Returns what cannot be read.
    pub fn take(queue: &c::JanetStream, is_own: bool) -> Result<Option<Self>, &'static str> {
        if queue.handle < 0 {
            return Err("the event queue is closed");
        }
        let Some(epoll) = find(queue, is_own) else { return Ok(None) };
        // proc(5), /proc/pid/fdinfo.
        let list = std::fs::read_to_string(format!("/proc/self/fdinfo/{epoll}"));
        let list = list.map_err(|_| "/proc/self/fdinfo cannot be read")?;
        Ok(Some(Self { epoll, registrations: list.lines().filter_map(Registration::parse).collect() }))
    }

    /// Replaces the instance, and the descriptors by which the loop wakes itself. `new_queue`, a queue that was made in this
    /// process, is removed from the old instance, so that the parent never gets its events. It makes only system calls, since
    /// it may run right after a fork of a process with several threads.
    ///
    /// # Errors
    /// Returns what cannot be made. The instance stays shared then.
    pub fn separate(&self, new_queue: Option<RawFd>) -> Result<(), &'static str> {
        // SAFETY: it is a system call with a flag.
        let fresh = Descriptor::new(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) });
        let fresh = fresh.ok_or("no epoll instance can be made")?;
        for registration in &self.registrations {
            registration.renew(fresh.0);
        }
        // SAFETY: the descriptors are open. dup3 closes the child's copy of the shared instance.
        unsafe {
            if let Some(queue) = new_queue {
                libc::epoll_ctl(self.epoll, libc::EPOLL_CTL_DEL, queue, ptr::null_mut());
            }
            libc::dup3(fresh.0, self.epoll, libc::O_CLOEXEC);
        }
        Ok(())
    }
}

/// The epoll instance that a queue is registered with.
fn find(queue: &c::JanetStream, is_own: bool) -> Option<RawFd> {
    // The event is what Janet, or `renew`, registered for the queue, so the one call that succeeds changes nothing.
    let mut event = if is_own {
        libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: ptr::from_ref(queue) as u64 }
    } else {
        libc::epoll_event { events: libc::EPOLLET as u32, u64: Nobody::data() }
    };
    // SAFETY: EPOLL_CTL_MOD fails on a descriptor that is not an epoll instance, and on an instance that does not have the queue.
    let mut has_it = |fd: &RawFd| unsafe { libc::epoll_ctl(*fd, libc::EPOLL_CTL_MOD, queue.handle, &mut event) } == 0;
    (0..NEAR).find(&mut has_it).or_else(|| others().find(&mut has_it))
}

/// The other open descriptors, or, if the system does not tell which they are, all that may be open.
fn others() -> Box<dyn Iterator<Item = RawFd>> {
    if let Ok(folder) = std::fs::read_dir("/proc/self/fd") {
        return Box::new(folder.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()));
    }
    // SAFETY: it takes no arguments.
    Box::new(NEAR..unsafe { libc::getdtablesize() })
}

/// A descriptor that is closed when it is dropped.
struct Descriptor(RawFd);

impl Descriptor {
    fn new(fd: RawFd) -> Option<Self> {
        (fd >= 0).then_some(Self(fd))
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: this owns the descriptor.
        unsafe { libc::close(self.0) };
    }
}

/// A descriptor that is registered with the shared epoll instance.
struct Registration {
    fd: RawFd,
    events: u32,
    /// The address that Janet registered: a stream, or a descriptor of its loop.
    data: u64,
}

impl Registration {
    /// Reads `tfd: NUMBER events: HEX data: HEX …`.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let mut field = |name| if words.next()? == name { words.next() } else { None };
        Some(Self {
            fd: field("tfd:")?.parse().ok()?,
            events: u32::from_str_radix(field("events:")?, 16).ok()?,
            data: u64::from_str_radix(field("data:")?, 16).ok()?,
        })
    }

    /// Registers the descriptor with a new instance in the same way.
    fn renew(&self, epoll: RawFd) {
        // The data is the address of a struct whose first field is the descriptor, except for `NOBODY`, which an earlier fork
        // registered and which is kept.
        let is_nobodys = self.data == Nobody::data();
        if !is_nobodys && peek::<RawFd>(self.data) != Some(self.fd) {
            return;
        }
        let mut event = libc::epoll_event { events: self.events, u64: self.data };
        if !is_nobodys && !self.replace_timer() && !self.replace_pipe() && self.is_awaited() {
            // The parent's fibers wait for it, and their copies here must not take anything from them. It is still registered,
            // since Janet raises an error when it cannot remove a stream.
            event = libc::epoll_event { events: libc::EPOLLET as u32, u64: Nobody::data() };
        }
        // SAFETY: it is a system call on descriptors of this process, which fails if the number was closed meanwhile.
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, self.fd, &mut event) };
    }

    /// Replaces the loop's timer, which the parent sets for itself. Returns whether this is the timer.
    fn replace_timer(&self) -> bool {
        let mut time = MaybeUninit::<libc::itimerspec>::uninit();
        // SAFETY: there is room for the answer, and the call fails on other descriptors.
        if unsafe { libc::timerfd_gettime(self.fd, time.as_mut_ptr()) } != 0 {
            return false;
        }
        // SAFETY: it is a system call with flags.
        let timer = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) };
        if let Some(timer) = Descriptor::new(timer) {
            replace(&timer, self.fd);
        }
        true
    }

    /// Replaces the pipe by which threads wake the loop. Its two descriptors are next to each other in memory. Returns whether
    /// this is the pipe.
    fn replace_pipe(&self) -> bool {
        let Some(other) = peek::<RawFd>(self.data + size_of::<RawFd>() as u64) else { return false };
        let (Some(read), Some(write)) = (pipe(self.fd), pipe(other)) else { return false };
        // SAFETY: it is a system call on an open descriptor.
        let is_writable = unsafe { libc::fcntl(other, libc::F_GETFL) } & libc::O_ACCMODE == libc::O_WRONLY;
        if read != write || !is_writable {
            return false;
        }
        let mut ends = [-1; 2];
        // SAFETY: there is room for two descriptors.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } == 0 {
            let [from, to] = ends.map(Descriptor);
            replace(&from, self.fd);
            replace(&to, other);
        }
        true
    }

    /// Whether a fiber waits for the stream.
    fn is_awaited(&self) -> bool {
        [offset_of!(c::JanetStream, read_fiber), offset_of!(c::JanetStream, write_fiber)].into_iter().any(|offset| {
            peek::<u64>(self.data + offset as u64).filter(|&fiber| fiber != 0).is_some_and(|fiber| {
                let callback = fiber + offset_of!(c::JanetFiber, ev_callback) as u64;
                peek::<u64>(callback).is_some_and(|callback| callback != 0)
            })
        })
    }
}

/// The identity of the pipe that a descriptor is an end of.
fn pipe(fd: RawFd) -> Option<(libc::dev_t, libc::ino_t)> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: there is room for the answer.
    if unsafe { libc::fstat(fd, stat.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: fstat has succeeded, so it has filled the answer.
    let stat = unsafe { stat.assume_init() };
    (stat.st_mode & libc::S_IFMT == libc::S_IFIFO).then_some((stat.st_dev, stat.st_ino))
}

/// Puts a new descriptor in the place of an old one, with the flags of the old one.
fn replace(new: &Descriptor, old: RawFd) {
    // SAFETY: they are system calls on open descriptors.
    unsafe {
        let flags = libc::fcntl(old, libc::F_GETFL);
        libc::fcntl(new.0, libc::F_SETFL, flags);
        libc::dup3(new.0, old, libc::O_CLOEXEC);
    }
}

/// Reads a number at an address, or none if there is no memory: the stream that is registered for a socket may have been freed
/// if another process still holds the socket.
fn peek<T: Copy + Default>(address: u64) -> Option<T> {
    let mut value = T::default();
    let local = libc::iovec { iov_base: (&raw mut value).cast(), iov_len: size_of::<T>() };
    let remote = libc::iovec { iov_base: address as *mut _, iov_len: size_of::<T>() };
    // SAFETY: the kernel checks the address, and `value` has room for that many bytes.
    let count = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
    (count == size_of::<T>() as isize).then_some(value)
}
