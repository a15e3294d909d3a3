//! Real descriptors as the [`Sources`] of a model: each watched descriptor is in an epoll of its queue.

use std::collections::HashMap;

use libc::{
    EBADF, EEXIST, EINVAL, ELOOP, EPERM, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLET, EPOLLIN, EPOLLOUT,
    EPOLLRDHUP,
};

use super::look::look;
use crate::kevent::Errno;
use crate::model::{Direction, KnoteId, Look, QueueId, SourceId, Sources, Target};
use crate::system;

/// The tokens of an epoll that do not belong to a knote. Those of knotes are above `u32::MAX`.
pub(super) const KICK: u64 = 0;
pub(super) const WRITES: u64 = 1;
pub(super) const TIMER: u64 = 2;

/// The device and the inode of a file. Each socket has an inode of its own.
pub(super) type Key = (u64, u64);

#[derive(Debug)]
struct File {
    key: Key,
    kind: u32,
    knotes: usize,
}

#[derive(Debug)]
pub(super) struct Epolls {
    pub(super) epoll: i32,
    pub(super) writes: i32,
    pub(super) timer: i32,
    pub(super) kicked: bool,
    pub(super) armed: Option<u64>,
}

/// Real descriptors as the [`Sources`] of a model.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) by_fd: HashMap<i32, QueueId>,
    pub(super) epolls: HashMap<QueueId, Epolls>,
    pub(super) by_key: HashMap<Key, SourceId>,
    files: Vec<File>,
    pub(super) readable: i32,
    pub(super) spare: i32,
}

/// The key and the type of the file behind a descriptor.
pub(super) fn identity(fd: i32) -> Option<(Key, u32)> {
    system::stat(fd).map(|stat| ((stat.st_dev, stat.st_ino), stat.st_mode & libc::S_IFMT))
}

impl Files {
    /// No files yet. `readable` is a descriptor that is always readable, and `spare` one that can be closed to make
    /// room.
    pub(super) fn new(readable: i32, spare: i32) -> Self {
        Self {
            by_fd: HashMap::new(),
            epolls: HashMap::new(),
            by_key: HashMap::new(),
            files: Vec::new(),
            readable,
            spare,
        }
    }

    pub(super) fn is_hidden(&self, fd: i32) -> bool {
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
            None => system::is_open(fd).then_some(Target::Source),
        }
    }

    fn is_same(&mut self, queue: QueueId, fd: i32, direction: Direction, source: SourceId) -> bool {
        let Ok(epoll) = self.epoll_for(queue, direction) else { return false };
        match system::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, 0, KICK) {
            Err(Errno(EEXIST)) => true,
            // epoll does not accept such a file, so its inode has to do.
            Err(Errno(EPERM)) => identity(fd).is_some_and(|(key, _)| key == self.files[source.0 as usize].key),
            Err(_) => false,
            Ok(()) => {
                let _ = system::epoll_ctl(epoll, EPOLL_CTL_DEL, fd, 0, KICK);
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
        match system::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, events, token) {
            // Left over from a number that was closed and has become a duplicate of the same file.
            Err(Errno(EEXIST)) => system::epoll_ctl(epoll, EPOLL_CTL_MOD, fd, events, token)?,
            Err(Errno(ELOOP)) => return Err(Errno(EINVAL)),
            // A regular file or the like is always ready, and nothing ever posts it.
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
            let _ = system::epoll_ctl(epoll, EPOLL_CTL_DEL, fd, 0, KICK);
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
        look(fd, self.files[source.0 as usize].kind, direction)
    }
}
