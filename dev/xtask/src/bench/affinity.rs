//! Gives the server one processor and its clients another, where the system can do that.
//!
//! Otherwise a server with threads would take a processor from the clients, and others would not.

use std::process::Command;

/// Who runs on a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The server that is measured.
    Server,
    /// Its clients.
    Clients,
}

/// Whether server and clients have a processor each: on Linux with at least two processors.
pub fn is_possible() -> bool {
    system::choose(&system::allowed()).is_some()
}

/// Makes a command run on the processor of its role.
pub fn pin(command: &mut Command, role: Role) {
    system::pin(command, role);
}

/// Keeps this thread on the processor of the clients until it is dropped.
pub struct Pinned(#[allow(dead_code)] Option<system::Restore>);

/// Moves this thread to the processor of the clients.
pub fn as_clients() -> Pinned {
    Pinned(system::pin_thread(Role::Clients))
}

#[cfg(target_os = "linux")]
mod system {
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::sync::OnceLock;
    use std::{io, mem};

    use super::Role;

    /// The processors that this process was given at first.
    static ALLOWED: OnceLock<Vec<usize>> = OnceLock::new();

    /// Puts the thread back where it was allowed to run.
    pub struct Restore(libc::cpu_set_t);

    impl Drop for Restore {
        fn drop(&mut self) {
            let _ = set(&self.0);
        }
    }

    pub fn allowed() -> Vec<usize> {
        ALLOWED
            .get_or_init(|| {
                let set = current();
                // SAFETY: CPU_ISSET only reads the set, and looks no further than its size.
                (0..libc::CPU_SETSIZE as usize).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect()
            })
            .clone()
    }

    /// The processors of the clients and of the server.
    pub fn choose(allowed: &[usize]) -> Option<(usize, usize)> {
        match allowed {
            [clients, server, ..] => Some((*clients, *server)),
            _ => None,
        }
    }

    fn only(role: Role) -> Option<libc::cpu_set_t> {
        let (clients, server) = choose(&allowed())?;
        // SAFETY: a cpu_set_t is an array of integers.
        let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
        let cpu = if role == Role::Server { server } else { clients };
        // SAFETY: the set is this function's, and the number comes from such a set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
        Some(set)
    }

    fn current() -> libc::cpu_set_t {
        // SAFETY: a cpu_set_t is an array of integers.
        let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
        // SAFETY: the set may be written up to its size. After an error it stays empty, which chooses no processor.
        unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
        set
    }

    fn set(set: &libc::cpu_set_t) -> io::Result<()> {
        // SAFETY: the set may be read up to its size.
        match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub fn pin(command: &mut Command, role: Role) {
        let Some(only) = only(role) else { return };
        // SAFETY: the closure makes one system call, which is allowed between fork and exec.
        unsafe { command.pre_exec(move || set(&only)) };
    }

    pub fn pin_thread(role: Role) -> Option<Restore> {
        let only = only(role)?;
        let before = current();
        set(&only).ok()?;
        Some(Restore(before))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn server_and_clients_never_share_a_processor() {
            assert_eq!(choose(&[]), None);
            assert_eq!(choose(&[3]), None);
            assert_eq!(choose(&[2, 5, 7]), Some((2, 5)));
        }

        #[test]
        fn a_thread_gets_its_processors_back() {
            let before = current();
            drop(pin_thread(Role::Clients));
            // SAFETY: CPU_EQUAL only reads the sets.
            assert!(unsafe { libc::CPU_EQUAL(&before, &current()) });
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::process::Command;

    use super::Role;

    pub struct Restore;

    pub fn allowed() -> Vec<usize> {
        Vec::new()
    }

    pub fn choose(_: &[usize]) -> Option<(usize, usize)> {
        None
    }

    pub fn pin(_: &mut Command, _: Role) {}

    pub fn pin_thread(_: Role) -> Option<Restore> {
        None
    }
}
