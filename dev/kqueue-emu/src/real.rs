//! The queues of this process: a [`Model`] whose descriptors are real ones, and Linux's epoll to say what has changed.
//!
//! - The descriptor that `kqueue()` returns is an epoll. It holds each watched descriptor edge-triggered: a wake-up in
//!   Linux's kernel is a KNOTE in the emulated one. A second epoll, inside the first, holds those watched for writing,
//!   since a wake-up does not say which direction it was for.
//! - Edges are taken from Linux when someone looks: at the start of a kevent() on that queue or on one that watches it,
//!   and before an accept() on a listener of it. That is as good as at once, since nothing else can see a queue.
//! - A queue that has something to report makes its epoll readable with a descriptor that always is, so that waiting,
//!   poll(2) and watching queues need nothing else.
//! - Closing: the exported close(), dup2(), dup3() and close_range() drop the knotes of a descriptor, for which epoll
//!   alone would not do: it forgets a file with its last duplicate, a kernel's knote goes with the number. For what
//!   closes without them (fclose(), a bare system call), each evaluation first asks epoll whether the number still
//!   stands for the file that was added (adding it again must fail with EEXIST); so a reused number gets nothing.
//! - One lock for all queues; never held while waiting.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError};

use libc::{
    EAGAIN, EBADF, ECONNABORTED, ECONNREFUSED, EEXIST, EINVAL, ELOOP, EMFILE, ENFILE, ENOMEM, ENOTCONN, EPERM,
    EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLET, EPOLLIN, EPOLLOUT, EPOLLRDHUP, EWOULDBLOCK, POLLERR, POLLHUP,
    POLLIN, POLLNVAL, POLLOUT, POLLPRI, POLLRDHUP, pollfd,
};

use crate::ffi;
use crate::kevent::{Errno, Kevent};
use crate::model::{Direction, KnoteId, Look, Model, QueueId, SourceId, Sources, Target};
use crate::profile::{Backlog, Kernel, Profile, Shutdown};

/// Tokens of an epoll that are no knote's: those are above `u32::MAX`.
const KICK: u64 = 0;
const WRITES: u64 = 1;
const TIMER: u64 = 2;

/// The state of a TCP socket whose connection was reset; libc does not name it.
const TCP_CLOSE: u8 = 7;

thread_local! {
    static KERNEL: Cell<Option<Kernel>> = const { Cell::new(None) };
}

/// Chooses the semantics of the queues that this thread makes and of what it accepts, instead of the environment
/// variable `KQUEUE_EMU_KERNEL`. None: as that says.
pub fn set_kernel(kernel: Option<Kernel>) {
    KERNEL.set(kernel);
}

/// The semantics that this thread's next queue has.
///
/// # Panics
/// If `KQUEUE_EMU_KERNEL` names no kernel.
pub fn kernel() -> Kernel {
    static FROM_ENVIRONMENT: OnceLock<Kernel> = OnceLock::new();
    KERNEL.get().unwrap_or_else(|| {
        *FROM_ENVIRONMENT.get_or_init(|| match std::env::var("KQUEUE_EMU_KERNEL") {
            Ok(name) => Kernel::from_name(&name).unwrap_or_else(|| panic!("KQUEUE_EMU_KERNEL: no kernel {name:?}")),
            Err(_) => Kernel::Xnu,
        })
    })
}

/// A queue does not survive fork(), so a child has none of its parent's state: each generation of processes has its own.
static GENERATION: AtomicUsize = AtomicUsize::new(0);
static STATES: [Mutex<Option<Real>>; 8] = [const { Mutex::new(None) }; 8];
/// The process whose state it is; 0 before its first kqueue(). Not that of a child made by a bare clone().
static OWNER: AtomicI32 = AtomicI32::new(0);
/// This process, or one that it was forked from, has made a queue. It goes on to have the kernel's accept(2) and the like.
static IS_USED: AtomicBool = AtomicBool::new(false);
/// Every descriptor of the emulation, plus one. For the child of a fork, where no lock may be taken.
static OWN: [AtomicI32; 512] = [const { AtomicI32::new(0) }; 512];

fn state() -> MutexGuard<'static, Option<Real>> {
    let generation = GENERATION.load(Ordering::Relaxed) % STATES.len();
    STATES[generation].lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `action` on the state, if this process has any queue.
fn with<T>(action: impl FnOnce(&mut Real) -> T) -> Option<T> {
    if OWNER.load(Ordering::Relaxed) != ffi::pid() {
        return None;
    }
    state().as_mut().map(action)
}

fn own(fd: i32) -> i32 {
    for slot in &OWN {
        if slot.compare_exchange(0, fd + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            break;
        }
    }
    fd
}

fn disown(fd: i32) {
    for slot in &OWN {
        if slot.compare_exchange(fd + 1, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            break;
        }
    }
}

fn close_own(fd: i32) {
    disown(fd);
    // Nothing can be done about a failure.
    let _ = ffi::close_fd(fd);
}

/// Moves a descriptor of the emulation to a high number, out of the way of a program that counts its own or lets them
/// run out. Not above 1023, since a table of descriptors is as long as its highest.
fn hide(fd: i32) -> i32 {
    let hidden = (3..ffi::descriptor_limit().min(1024)).rev().find_map(|lowest| ffi::dup_from(fd, lowest).ok());
    if let Some(hidden) = hidden {
        let _ = ffi::close_fd(fd);
        return own(hidden);
    }
    own(fd)
}

pub(crate) fn after_fork() {
    for slot in &OWN {
        let fd = slot.swap(0, Ordering::Relaxed) - 1;
        if fd >= 0 {
            let _ = ffi::close_fd(fd);
        }
    }
    GENERATION.fetch_add(1, Ordering::Relaxed);
    OWNER.store(0, Ordering::Relaxed);
}

pub(crate) fn kqueue() -> Result<i32, Errno> {
    static FORK_HANDLER: Once = Once::new();
    FORK_HANDLER.call_once(|| ffi::in_forked_child(ffi::forked_child));
    if GENERATION.load(Ordering::Relaxed) >= STATES.len() {
        return Err(Errno(ENOMEM));
    }
    let profile = kernel().profile();
    let epoll = ffi::epoll_create()?;
    let mut state = state();
    let real = match &mut *state {
        Some(real) => real,
        empty => match Real::new() {
            Ok(real) => empty.insert(real),
            Err(error) => {
                let _ = ffi::close_fd(epoll);
                return Err(error);
            }
        },
    };
    OWNER.store(ffi::pid(), Ordering::Relaxed);
    IS_USED.store(true, Ordering::Relaxed);
    // A number that is known already was closed behind the emulation's back.
    real.close_queue(epoll);
    let added = ffi::epoll_ctl(epoll, EPOLL_CTL_ADD, real.files.readable, 0, KICK);
    if let Err(error) = added {
        let _ = ffi::close_fd(epoll);
        return Err(error);
    }
    // At once: in a kernel neither a timer nor a knote needs a descriptor, and when one is made there may be none left,
    // or a program has counted those that are.
    let (timer, writes) = match beside(epoll) {
        Ok(made) => made,
        Err(error) => {
            let _ = ffi::close_fd(epoll);
            return Err(error);
        }
    };
    let queue = real.model.kqueue(profile);
    real.files.by_fd.insert(own(epoll), queue);
    real.files.epolls.insert(queue, Epolls { epoll, writes, timer, kicked: false, armed: None });
    Ok(epoll)
}

/// What stands in the epoll of a new queue: its timer, and the epoll of what is watched for writing.
fn beside(epoll: i32) -> Result<(i32, i32), Errno> {
    let timer = ffi::timer_create().map(hide)?;
    let added = ffi::epoll_ctl(epoll, EPOLL_CTL_ADD, timer, EPOLLIN as u32, TIMER);
    let writes = added.and_then(|()| ffi::epoll_create().map(hide)).inspect_err(|_| close_own(timer))?;
    ffi::epoll_ctl(epoll, EPOLL_CTL_ADD, writes, EPOLLIN as u32, WRITES).inspect_err(|_| {
        close_own(timer);
        close_own(writes);
    })?;
    Ok((timer, writes))
}

pub(crate) fn kevent(kq: i32, changes: &[Kevent], events: &mut [Kevent], timeout: Option<u64>) -> Result<usize, Errno> {
    let deadline = timeout.map(|timeout| ffi::now().saturating_add(timeout));
    let queue = with(|real| real.files.by_fd.get(&kq).copied()).flatten().ok_or(Errno(EBADF))?;
    let mut changes = Some(changes);
    loop {
        let count = with(|real| real.kevent(queue, changes.take(), events)).unwrap_or(Err(Errno(EBADF)))?;
        let left = match deadline {
            Some(deadline) => match deadline.saturating_sub(ffi::now()) {
                0 => return Ok(count.unwrap_or(0)),
                left => Some(left),
            },
            None => None,
        };
        if let Some(count) = count {
            return Ok(count);
        }
        ffi::wait_readable(kq, left)?;
    }
}

/// Before close(2) of `fd`.
pub(crate) fn closing(fd: i32) -> Result<(), Errno> {
    with(|real| {
        if real.files.is_hidden(fd) {
            return Err(Errno(EBADF));
        }
        real.closing(fd);
        Ok(())
    })
    .unwrap_or(Ok(()))
}

/// Before `to` becomes a duplicate of `from`.
pub(crate) fn replacing(from: i32, to: i32) -> Result<(), Errno> {
    if from != to && ffi::is_open(from) { closing(to) } else { Ok(()) }
}

/// Before close_range(2).
pub(crate) fn closing_range(first: u32, last: u32) {
    with(|real| {
        let watched = real.model.watched_fds();
        let fds: Vec<i32> = watched.chain(real.files.by_fd.keys().copied()).collect();
        for fd in fds {
            if u32::try_from(fd).is_ok_and(|fd| (first..=last).contains(&fd)) {
                real.closing(fd);
            }
        }
    });
}

/// accept(2) (no `flags`) or accept4(2) on `fd`. `take` is the system call, and `clear` makes the address empty.
pub(crate) fn accept(
    fd: i32,
    flags: Option<i32>,
    take: impl Fn(i32) -> Result<i32, Errno>,
    clear: impl Fn(),
) -> Result<i32, Errno> {
    // What has arrived so far was posted before anything is taken.
    let key = with(|real| real.harvest_listener(fd)).flatten();
    let Some(profile) = profile() else { return take(flags.unwrap_or(0)) };
    let inherits = profile.nonblock_inherited && ffi::is_nonblocking(fd);
    let flags = flags.unwrap_or(if inherits { libc::SOCK_NONBLOCK } else { 0 });
    let (mut outcome, mut dequeued) = match take(flags) {
        Err(error) if profile.emfile_closes && (error.0 == EMFILE || error.0 == ENFILE) => kill_one(fd, error),
        outcome => (outcome, outcome.is_ok()),
    };
    if let Ok(conn) = outcome {
        if ffi::tcp_info(conn).is_some_and(|info| info.tcpi_state == TCP_CLOSE) {
            if profile.reset_is_handed_out {
                if ffi::is_ipv6(conn) {
                    clear();
                }
            } else {
                let _ = ffi::close_fd(conn);
                outcome = Err(Errno(ECONNABORTED));
            }
        }
        dequeued = true;
    }
    if dequeued {
        with(|real| real.dequeued(key));
    }
    outcome
}

/// poll(2). XNU looks with filters, so it finds nothing where no event is asked for, not even that the number is closed; and
/// where there is no filter, it says that the number is closed.
pub(crate) fn poll(entries: &mut [pollfd], timeout: Option<u64>) -> Result<i32, Errno> {
    if profile().is_none_or(|profile| profile.poll_finds_closed) {
        return ffi::poll_all(entries, timeout);
    }
    let is_asked = |entry: &pollfd| entry.events & (POLLIN | POLLPRI | POLLOUT) != 0;
    let unfiltered: Vec<bool> = entries.iter().map(|entry| is_asked(entry) && has_no_filter(entry.fd)).collect();
    let mut asked: Vec<pollfd> = entries.to_vec();
    for (entry, unfiltered) in asked.iter_mut().zip(&unfiltered) {
        if *unfiltered || !is_asked(entry) {
            entry.fd = -1;
        }
    }
    let timeout = if unfiltered.contains(&true) { Some(0) } else { timeout };
    let found = ffi::poll_all(&mut asked, timeout)?;
    let mut refused = 0;
    for ((entry, asked), unfiltered) in entries.iter_mut().zip(&asked).zip(&unfiltered) {
        entry.revents = if *unfiltered { POLLNVAL } else { asked.revents };
        refused += i32::from(*unfiltered);
    }
    Ok(found + refused)
}

/// Directories, and /dev/null of the devices.
fn has_no_filter(fd: i32) -> bool {
    ffi::stat(fd).is_some_and(|stat| match stat.st_mode & libc::S_IFMT {
        libc::S_IFDIR => true,
        libc::S_IFCHR => stat.st_rdev == libc::makedev(1, 3),
        _ => false,
    })
}

/// The most descriptors that are looked for.
const MOST_NUMBERS: i32 = 10_240;

/// The open descriptors of this process below its limit, with those of the emulation, since their numbers are taken.
pub(crate) fn open_numbers() -> Vec<i32> {
    let limit = ffi::descriptor_limit().min(MOST_NUMBERS);
    let mut open = Vec::new();
    // poll(2) takes no more entries than there may be descriptors.
    for first in (0..limit).step_by(1024) {
        let mut entries: Vec<pollfd> =
            (first..limit.min(first + 1024)).map(|fd| pollfd { fd, events: 0, revents: 0 }).collect();
        if ffi::poll_all(&mut entries, Some(0)).is_ok() {
            open.extend(entries.iter().filter(|entry| entry.revents & POLLNVAL == 0).map(|entry| entry.fd));
        }
    }
    open
}

/// How many numbers XNU's table of descriptors would have: it begins with 25, and doubles.
pub(crate) fn table_size() -> usize {
    let needed = open_numbers().last().map_or(0, |last| *last as usize + 1);
    let mut size = 25;
    while size < needed {
        size *= 2;
    }
    size.min(usize::try_from(ffi::descriptor_limit()).unwrap_or(0)).max(needed)
}

/// The semantics that this process has, once it is one with queues.
fn profile() -> Option<Profile> {
    IS_USED.load(Ordering::Relaxed).then(|| kernel().profile())
}

/// What to give to Linux's listen(2), which lets one more connection wait than it is told. The cap is imitated for unix
/// sockets only: a TCP client beyond it waits for seconds in Linux's own way, which says nothing about the other kernels.
pub(crate) fn backlog(fd: i32, asked: i32) -> i32 {
    const SOMAXCONN: i32 = 128;
    let Some(profile) = profile() else { return asked };
    // A negative one is the most, as it is for Linux.
    let backlog = match u32::try_from(asked) {
        Ok(0) if profile.backlog == Backlog::Total => SOMAXCONN,
        Ok(asked) => asked.min(SOMAXCONN as u32) as i32,
        Err(_) => SOMAXCONN,
    };
    match profile.backlog {
        _ if !ffi::is_unix(fd) => asked.max(backlog),
        Backlog::Total => backlog - 1,
        Backlog::CompleteOneAndAHalf | Backlog::TotalOneAndAHalf => 3 * backlog / 2,
        Backlog::TotalThree => 3 * backlog,
    }
}

/// Before shutdown(2) of `fd`: whether Linux is to do it. There a listener stops listening. FreeBSD's abort of the next
/// accept() is not imitated.
pub(crate) fn shutting_down(fd: i32) -> Result<bool, Errno> {
    match profile() {
        Some(profile) if ffi::socket_option(fd, libc::SO_ACCEPTCONN) == Some(1) => match profile.shutdown {
            Shutdown::Refused => Err(Errno(ENOTCONN)),
            Shutdown::AbortsOne | Shutdown::Ignored => Ok(false),
        },
        _ => Ok(true),
    }
}

/// What a connect(2) of `fd` gives. Where it has succeeded at once, as those of unix sockets do, the kernels post the socket;
/// Linux has no wake-up for the side that connects. Where a unix socket's backlog is full, the kernels refuse the connection;
/// Linux has it try again.
pub(crate) fn connected(fd: i32, done: Result<i32, Errno>) -> Result<i32, Errno> {
    match done {
        Err(Errno(EAGAIN)) if profile().is_some() => return Err(Errno(ECONNREFUSED)),
        Err(error) => return Err(error),
        Ok(_) => {}
    }
    with(|real| {
        if let Some(source) = identity(fd).and_then(|(key, _)| real.files.by_key.get(&key).copied()) {
            for direction in [Direction::Read, Direction::Write] {
                real.model.post_source(source, direction, &mut real.files);
            }
            real.sync();
        }
    });
    done
}

/// XNU's accept() with no descriptor left: it takes a connection first, if there is one, and then closes it.
fn kill_one(fd: i32, error: Errno) -> (Result<i32, Errno>, bool) {
    if ffi::poll_one(fd, POLLIN) & POLLIN == 0 {
        return (Err(if ffi::is_nonblocking(fd) { Errno(EWOULDBLOCK) } else { error }), false);
    }
    let killed = with(|real| {
        let spare = real.files.spare;
        close_own(spare);
        // The limit may have been lowered below the spare's number since.
        let taken = ffi::with_descriptor_limit(spare + 1, || ffi::accept_raw(fd));
        let killed = taken.is_ok();
        if let Ok(conn) = taken {
            let _ = ffi::close_fd(conn);
        }
        if let Ok(spare) = ffi::with_descriptor_limit(spare + 1, || ffi::dup_from(real.files.readable, spare)) {
            real.files.spare = own(spare);
        }
        killed
    });
    (Err(error), killed.unwrap_or(false))
}

#[derive(Debug)]
struct Real {
    model: Model,
    files: Files,
}

#[derive(Debug)]
struct Epolls {
    epoll: i32,
    writes: i32,
    timer: i32,
    kicked: bool,
    armed: Option<u64>,
}

/// The device and the inode of a file: a socket's are its own.
type Key = (u64, u64);

#[derive(Debug)]
struct File {
    key: Key,
    kind: u32,
    knotes: usize,
}

/// Real descriptors as the [`Sources`] of a model.
#[derive(Debug)]
struct Files {
    by_fd: HashMap<i32, QueueId>,
    epolls: HashMap<QueueId, Epolls>,
    by_key: HashMap<Key, SourceId>,
    files: Vec<File>,
    readable: i32,
    spare: i32,
}

impl Real {
    fn new() -> Result<Self, Errno> {
        let readable = hide(ffi::always_readable()?);
        let spare = match ffi::dup_from(readable, 3) {
            Ok(spare) => hide(spare),
            Err(error) => {
                close_own(readable);
                return Err(error);
            }
        };
        Ok(Self {
            model: Model::new(),
            files: Files {
                by_fd: HashMap::new(),
                epolls: HashMap::new(),
                by_key: HashMap::new(),
                files: Vec::new(),
                readable,
                spare,
            },
        })
    }

    /// None: there is nothing yet, and the caller waits if it wants to.
    fn kevent(
        &mut self,
        queue: QueueId,
        changes: Option<&[Kevent]>,
        events: &mut [Kevent],
    ) -> Result<Option<usize>, Errno> {
        if !self.model.is_open(queue) {
            return Err(Errno(EBADF));
        }
        self.harvest(queue);
        self.model.tick(ffi::now(), &mut self.files);
        if let Some(changes) = changes {
            let applied = self.model.apply(queue, changes, events, ffi::now(), &mut self.files);
            if !matches!(applied, Ok(None)) {
                self.sync();
                return applied;
            }
            // A descriptor that is ready when epoll gets it is an edge at once. The knote was evaluated when it was
            // attached, so that edge must not be left to be a second event.
            self.harvest(queue);
        }
        let count = self.model.fetch(queue, events, &mut self.files);
        self.sync();
        Ok(if count > 0 || events.is_empty() { Some(count) } else { None })
    }

    /// Takes the edges of a queue from Linux, and of those that it watches.
    fn harvest(&mut self, queue: QueueId) {
        let Some(&Epolls { epoll, writes, .. }) = self.files.epolls.get(&queue) else { return };
        let mut tokens = [0; 64];
        loop {
            let count = ffi::epoll_take(epoll, &mut tokens);
            for token in &tokens[..count] {
                match *token {
                    KICK | TIMER => {}
                    WRITES => self.harvest_writes(writes),
                    token => {
                        let knote = KnoteId::from_bits(token);
                        match self.model.watched_queue(knote) {
                            Some(inner) => self.harvest(inner),
                            None => self.model.post(knote, &mut self.files),
                        }
                    }
                }
            }
            if count < tokens.len() {
                break;
            }
        }
    }

    fn harvest_writes(&mut self, writes: i32) {
        let mut tokens = [0; 64];
        let count = ffi::epoll_take(writes, &mut tokens);
        for token in &tokens[..count] {
            self.model.post(KnoteId::from_bits(*token), &mut self.files);
        }
    }

    fn harvest_listener(&mut self, fd: i32) -> Option<Key> {
        let (key, _) = identity(fd)?;
        if let Some(source) = self.files.by_key.get(&key) {
            let queues: Vec<QueueId> = self.model.queues_of(*source).collect();
            for queue in queues {
                self.harvest(queue);
            }
            self.sync();
        }
        Some(key)
    }

    fn dequeued(&mut self, key: Option<Key>) {
        if let Some(source) = key.and_then(|key| self.files.by_key.get(&key)) {
            self.model.dequeued(*source, &mut self.files);
            self.sync();
        }
    }

    fn closing(&mut self, fd: i32) {
        if !self.close_queue(fd) {
            self.model.close_fd(fd, &mut self.files);
        }
        self.sync();
    }

    fn close_queue(&mut self, fd: i32) -> bool {
        let Some(queue) = self.files.by_fd.remove(&fd) else { return false };
        self.model.close_queue(queue, &mut self.files);
        if let Some(epolls) = self.files.epolls.remove(&queue) {
            // Wakes who waits in it, to find it closed.
            let _ = ffi::epoll_ctl(epolls.epoll, EPOLL_CTL_MOD, self.files.readable, EPOLLIN as u32, KICK);
            [epolls.writes, epolls.timer].into_iter().for_each(close_own);
        }
        disown(fd);
        true
    }

    /// Makes the epolls readable, or not, and sets their timers, as the model is now.
    fn sync(&mut self) {
        while let Some(queue) = self.model.take_dirty() {
            let Some(epolls) = self.files.epolls.get_mut(&queue) else { continue };
            let kicked = !self.model.is_empty(queue);
            if kicked != epolls.kicked {
                epolls.kicked = kicked;
                let events = if kicked { EPOLLIN as u32 } else { 0 };
                let _ = ffi::epoll_ctl(epolls.epoll, EPOLL_CTL_MOD, self.files.readable, events, KICK);
            }
            let armed = self.model.next_deadline(queue);
            if armed != epolls.armed {
                epolls.armed = armed;
                ffi::timer_set(epolls.timer, armed);
            }
        }
    }
}

/// The key and the type of a descriptor's file.
fn identity(fd: i32) -> Option<(Key, u32)> {
    ffi::stat(fd).map(|stat| ((stat.st_dev, stat.st_ino), stat.st_mode & libc::S_IFMT))
}

impl Files {
    fn is_hidden(&self, fd: i32) -> bool {
        let in_epolls = |epolls: &Epolls| epolls.writes == fd || epolls.timer == fd;
        fd == self.readable || fd == self.spare || self.epolls.values().any(in_epolls)
    }

    fn epoll_for(&self, queue: QueueId, direction: Direction) -> Result<i32, Errno> {
        let epolls = self.epolls.get(&queue).ok_or(Errno(EBADF))?;
        Ok(match direction {
            Direction::Read => epolls.epoll,
            Direction::Write => epolls.writes,
        })
    }
}

impl Sources for Files {
    fn identify(&mut self, fd: i32) -> Option<Target> {
        match self.by_fd.get(&fd) {
            Some(queue) => Some(Target::Queue(*queue)),
            None => ffi::is_open(fd).then_some(Target::Source),
        }
    }

    fn is_same(&mut self, queue: QueueId, fd: i32, direction: Direction, source: SourceId) -> bool {
        let Ok(epoll) = self.epoll_for(queue, direction) else { return false };
        match ffi::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, 0, KICK) {
            Err(Errno(EEXIST)) => true,
            // epoll does not take such a file, so its inode has to do.
            Err(Errno(EPERM)) => identity(fd).is_some_and(|(key, _)| key == self.files[source.0 as usize].key),
            Err(_) => false,
            Ok(()) => {
                let _ = ffi::epoll_ctl(epoll, EPOLL_CTL_DEL, fd, 0, KICK);
                false
            }
        }
    }

    fn attach(
        &mut self,
        queue: QueueId,
        fd: i32,
        direction: Direction,
        target: Target,
        knote: KnoteId,
    ) -> Result<SourceId, Errno> {
        let epoll = self.epoll_for(queue, direction)?;
        let events = EPOLLET
            | match (target, direction) {
                (Target::Queue(_), _) => EPOLLIN,
                (_, Direction::Read) => EPOLLIN | EPOLLRDHUP,
                (_, Direction::Write) => EPOLLOUT,
            };
        let (events, token) = (events as u32, knote.to_bits());
        match ffi::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, events, token) {
            // Left from a number that was closed and came back as a duplicate of the same file.
            Err(Errno(EEXIST)) => ffi::epoll_ctl(epoll, EPOLL_CTL_MOD, fd, events, token)?,
            Err(Errno(ELOOP)) => return Err(Errno(EINVAL)),
            // A regular file or the like: always ready, and nothing ever posts it.
            Ok(()) | Err(Errno(EPERM)) => {}
            Err(error) => return Err(error),
        }
        if matches!(target, Target::Queue(_)) {
            return Ok(SourceId(0));
        }
        let (key, kind) = identity(fd).ok_or(Errno(EBADF))?;
        let source = match self.by_key.get(&key) {
            Some(source) => *source,
            None => {
                let file = File { key, kind, knotes: 0 };
                let index = match self.files.iter().position(|file| file.knotes == 0) {
                    Some(free) => {
                        self.files[free] = file;
                        free
                    }
                    None => {
                        self.files.push(file);
                        self.files.len() - 1
                    }
                };
                let source = SourceId(index as u32);
                self.by_key.insert(key, source);
                source
            }
        };
        self.files[source.0 as usize].knotes += 1;
        Ok(source)
    }

    fn detach(&mut self, queue: QueueId, fd: i32, direction: Direction, target: Target, source: SourceId) {
        if let Ok(epoll) = self.epoll_for(queue, direction) {
            // The descriptor may be closed, or another file that was never added.
            let _ = ffi::epoll_ctl(epoll, EPOLL_CTL_DEL, fd, 0, KICK);
        }
        if target == Target::Source {
            let file = &mut self.files[source.0 as usize];
            file.knotes -= 1;
            if file.knotes == 0 {
                self.by_key.remove(&file.key);
            }
        }
    }

    fn look(&mut self, queue: QueueId, fd: i32, direction: Direction, source: SourceId) -> Look {
        if !self.is_same(queue, fd, direction, source) {
            return Look::Gone;
        }
        match (self.files[source.0 as usize].kind, direction) {
            (libc::S_IFSOCK, _) => look_at_socket(fd, direction),
            (libc::S_IFREG, Direction::Read) => {
                let size = ffi::stat(fd).map_or(0, |stat| stat.st_size);
                let left = usize::try_from(size - ffi::position(fd)).unwrap_or(0);
                Look::Stream { ready: left > 0, data: left, eof: false }
            }
            (_, Direction::Read) => {
                let found = ffi::poll_one(fd, POLLIN);
                Look::Stream { ready: found & POLLIN != 0, data: ffi::unread(fd), eof: found & POLLHUP != 0 }
            }
            (kind, Direction::Write) => {
                let found = ffi::poll_one(fd, POLLOUT);
                let room = if kind == libc::S_IFIFO { ffi::pipe_size(fd).saturating_sub(ffi::unread(fd)) } else { 0 };
                Look::Stream { ready: found & POLLOUT != 0, data: room, eof: found & POLLERR != 0 }
            }
        }
    }
}

fn look_at_socket(fd: i32, direction: Direction) -> Look {
    let found = ffi::poll_one(fd, POLLIN | POLLOUT | POLLRDHUP);
    if ffi::socket_option(fd, libc::SO_ACCEPTCONN) == Some(1) {
        // Linux tells only TCP's number; a Unix listener counts as one. Half-open connections are not to be had: on
        // loopback a handshake is over before connect() returns.
        let waiting = ffi::tcp_info(fd).map(|info| info.tcpi_unacked as usize);
        let complete = waiting.unwrap_or(usize::from(found & POLLIN != 0));
        return Look::Listener { complete, half_open: 0, aborted: false };
    }
    // Linux calls a stream that was never connected hung up; the kernels that are emulated call it neither readable
    // nor writable. One whose connection is over has both directions shut as well.
    let over = found & POLLHUP != 0 && found & POLLRDHUP != 0;
    let unconnected = found & POLLHUP != 0 && !over;
    match direction {
        _ if unconnected => Look::Stream { ready: false, data: 0, eof: false },
        Direction::Read => {
            Look::Stream { ready: found & (POLLIN | POLLERR) != 0, data: ffi::unread(fd), eof: found & POLLRDHUP != 0 }
        }
        Direction::Write => {
            let room = ffi::socket_option(fd, libc::SO_SNDBUF).and_then(|size| usize::try_from(size).ok());
            Look::Stream {
                ready: found & (POLLOUT | POLLERR) != 0,
                data: room.unwrap_or(0).saturating_sub(ffi::unsent(fd)),
                eof: over,
            }
        }
    }
}
