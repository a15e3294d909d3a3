//! Which interpreters can be built, and their names.

use std::fmt;

use crate::Result;

/// The versions of Janet that can be built, the oldest first.
pub const VERSIONS: [&str; 4] = ["1.36.0", "1.37.1", "1.41.2", "1.42.0"];

/// The system interface that Janet's event loop is compiled on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loop {
    /// Linux's event queue.
    Epoll,
    /// The event queue of macOS and the BSDs. On Linux it is emulated (dev/kqueue-emu).
    Kqueue,
    /// poll(2), which Janet uses where it knows nothing better.
    Poll,
}

impl Loop {
    /// The loops that can be built on this system. Its own is the first.
    pub const ALL: &[Loop] =
        if cfg!(target_os = "linux") { &[Loop::Epoll, Loop::Poll, Loop::Kqueue] } else { &[Loop::Kqueue, Loop::Poll] };

    /// Its name in options and folders.
    pub fn name(self) -> &'static str {
        match self {
            Loop::Epoll => "epoll",
            Loop::Kqueue => "kqueue",
            Loop::Poll => "poll",
        }
    }

    /// Whether it runs on the emulated kqueue.
    pub fn is_emulated(self) -> bool {
        self == Loop::Kqueue && cfg!(target_os = "linux")
    }

    /// The settings in `janet.h` that select it.
    fn defines(self) -> &'static [&'static str] {
        match self {
            Loop::Poll if cfg!(target_os = "linux") => &["JANET_EV_NO_EPOLL"],
            Loop::Poll => &["JANET_EV_NO_KQUEUE"],
            Loop::Kqueue if cfg!(target_os = "linux") => &["JANET_EV_NO_EPOLL", "JANET_EV_KQUEUE"],
            Loop::Epoll | Loop::Kqueue => &[],
        }
    }
}

/// The kernels that the emulation imitates. Janet's own servers stall on the first.
pub const KERNELS: [&str; 5] = ["xnu", "freebsd", "netbsd", "netbsd7", "openbsd"];

/// Which interpreter to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// One of [`VERSIONS`].
    pub version: &'static str,
    /// The system interface of its event loop.
    pub event_loop: Loop,
    /// The kernel that an emulated loop imitates, one of [`KERNELS`]. It is chosen when the interpreter starts, not
    /// when it is built.
    pub kernel: Option<&'static str>,
    /// Whether a value has 8 bytes (the default on x86_64) or 16 (as on arm64 up to 1.41).
    pub nanbox: bool,
    /// Whether it is built with AddressSanitizer.
    pub asan: bool,
    /// Whether it is built for Linux on arm64, and run by QEMU.
    pub arm64: bool,
}

impl Default for Host {
    /// The newest version, with the loop that Janet has on this system.
    fn default() -> Self {
        Host {
            version: VERSIONS[VERSIONS.len() - 1],
            event_loop: Loop::ALL[0],
            kernel: None,
            nanbox: true,
            asan: false,
            arm64: false,
        }
    }
}

/// The name of a host on the command line and in reports, such as `1.37.1-epoll-nonanbox` or `1.37.1-kqueue-xnu`.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.build_name())?;
        self.kernel.map_or(Ok(()), |kernel| write!(f, "-{kernel}"))
    }
}

impl Host {
    /// The version of that name.
    ///
    /// # Errors
    /// Returns a message that lists the versions.
    pub fn version_named(name: &str) -> Result<&'static str> {
        named("Janet", name, &VERSIONS)
    }

    /// The loop of that name.
    ///
    /// # Errors
    /// Returns a message that lists the loops of this system.
    pub fn loop_named(name: &str) -> Result<Loop> {
        let names: Vec<_> = Loop::ALL.iter().map(|l| l.name()).collect();
        named("event loop", name, &names)?;
        Loop::ALL.iter().copied().find(|l| l.name() == name).ok_or_else(String::new)
    }

    /// The kernel of that name.
    ///
    /// # Errors
    /// Returns a message that lists the kernels.
    pub fn kernel_named(name: &str) -> Result<&'static str> {
        named("kernel", name, &KERNELS)
    }

    /// The host of that name, which is the name that it displays.
    ///
    /// # Errors
    /// Returns a message that says how names are made.
    pub fn named(name: &str) -> Result<Host> {
        let mut host = Host::default();
        let mut parts = name.split('-');
        host.version = Host::version_named(parts.next().unwrap_or_default())?;
        host.event_loop = Host::loop_named(parts.next().unwrap_or_default())?;
        for part in parts {
            match part {
                "nonanbox" => host.nanbox = false,
                "asan" => host.asan = true,
                "arm64" => host.arm64 = true,
                kernel => host.kernel = Some(Host::kernel_named(kernel)?),
            }
        }
        if host.kernel.is_some() != host.event_loop.is_emulated() || host.to_string() != name {
            return Err(format!(
                "no host {name}: a name is VERSION-LOOP[-nonanbox][-asan][-arm64], and -KERNEL where emulated"
            ));
        }
        host.check()?;
        Ok(host)
    }

    /// Checks that the host can be built.
    ///
    /// # Errors
    /// Returns a message if its properties cannot be combined.
    pub fn check(&self) -> Result<()> {
        if self.arm64 && (self.asan || self.event_loop.is_emulated() || !cfg!(target_os = "linux")) {
            return Err(format!("no host {self}: arm64 is for Linux's own event loops, without a sanitizer"));
        }
        Ok(())
    }

    /// The name of its build: the same for hosts that differ only in their kernel. It names a folder.
    pub fn build_name(&self) -> String {
        let mut name = format!("{}-{}", self.version, self.event_loop.name());
        if !self.nanbox {
            name += "-nonanbox";
        }
        if self.asan {
            name += "-asan";
        }
        if self.arm64 {
            name += "-arm64";
        }
        name
    }

    /// What the host's copy of janet.h defines before anything else. The header alone then says how the host was
    /// compiled.
    pub(crate) fn defines(&self) -> Vec<&'static str> {
        let mut defines = self.event_loop.defines().to_vec();
        if !self.nanbox {
            defines.push("JANET_NO_NANBOX");
        }
        defines
    }
}

fn named<'a>(what: &str, name: &str, known: &[&'a str]) -> Result<&'a str> {
    let found = known.iter().copied().find(|k| *k == name);
    found.ok_or_else(|| format!("no {what} {name} here: there are {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_found_by_its_name() {
        for event_loop in Loop::ALL.iter().copied() {
            for (nanbox, asan) in [(true, false), (false, false), (true, true)] {
                let kernel = event_loop.is_emulated().then_some("netbsd7");
                let host = Host { version: "1.37.1", event_loop, kernel, nanbox, asan, arm64: false };
                assert_eq!(Host::named(&host.to_string()), Ok(host));
            }
        }
    }

    #[test]
    fn what_names_no_host_is_refused() {
        for name in
            ["", "1.37.1", "1.37-poll", "1.37.1-poll-xnu", "1.37.1-poll-asan-nonanbox", "1.37.1-poll-", "poll-1.37.1"]
        {
            assert!(Host::named(name).is_err(), "{name}");
        }
        assert_eq!(Host::named("1.37.1-kqueue").is_err(), cfg!(target_os = "linux"));
    }

    #[test]
    fn arm64_is_for_the_loops_of_linux() {
        assert_eq!(Host::named("1.37.1-poll-arm64").is_ok(), cfg!(target_os = "linux"));
        for name in ["1.37.1-kqueue-arm64-xnu", "1.37.1-epoll-asan-arm64", "1.37.1-epoll-arm64-nonanbox"] {
            assert!(Host::named(name).is_err(), "{name}");
        }
    }
}
