//! The hosts of a run, and which files of test/ each of them runs.

use kqnet_hosts::{Host, Result};

/// Which files of test/ a host runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// Every file, at its full length.
    Long,
    /// Every file. Those that would take minutes run for a shorter time.
    All,
    /// Every file except those that start many programs or clients of other projects, which need no more than a few hosts.
    Most,
    /// Every file except those that take a minute even then.
    Quick,
    /// The files whose results depend most on the version of Janet and on the kernel.
    Main,
    /// None: the host is only for the bursts of `cargo xtask burst`.
    Bursts,
    /// The files that use every kind of value and structure shared with Janet, and do not depend on speed.
    Arm64,
    /// The same without those that start many programs, which is slow on an emulator.
    Arm64Short,
    /// The files in which memory changes hands most often, for a sanitizer.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    Memory,
}

impl Files {
    /// Whether a file, named without its suffix, is one of them.
    pub fn include(self, stem: &str) -> bool {
        match self {
            Files::Long | Files::All => true,
            Files::Most => ![
                "demo",
                "http-form-clients",
                "serve",
                "serve-reload",
                "serve-trouble",
                "serve-workers",
                "websocket-clients",
            ]
            .contains(&stem),
            // These take the longest.
            Files::Quick => {
                Files::Most.include(stem)
                    && !["browser", "http-leaving", "proxies", "soak", "websocket"].contains(&stem)
            }
            Files::Main => ["behaviours", "bursts", "doctor", "exhaustion", "forks", "handlers", "limits", "shared"]
                .contains(&stem),
            Files::Bursts => false,
            Files::Arm64 => Files::Arm64Short.include(stem) || ["inherited", "unix"].contains(&stem),
            Files::Arm64Short => {
                ["behaviours", "drain", "errors", "handlers", "http-conversations", "http-server", "limits", "stats"]
                    .contains(&stem)
            }
            Files::Memory => ["bursts", "forks", "handlers", "http-form", "shared", "websocket"].contains(&stem),
        }
    }
}

use Files::{All, Long, Main, Most};

/// On macOS's kernel, servers of Janet 1.36.0 and 1.37.1 stall; 1.41.2 and 1.42.0 have another event loop.
#[cfg(target_os = "linux")]
const TABLE: &[(&str, Files)] = &[
    ("1.42.0-epoll", Long),
    ("1.41.2-epoll", Main),
    ("1.37.1-epoll", Main),
    ("1.37.1-epoll-nonanbox", Most),
    ("1.36.0-epoll", All),
    ("1.42.0-poll", Main),
    ("1.41.2-poll", Main),
    ("1.37.1-poll", Most),
    ("1.36.0-poll", Main),
    ("1.42.0-kqueue-xnu", Most),
    ("1.42.0-kqueue-freebsd", Main),
    ("1.42.0-kqueue-netbsd", Main),
    ("1.42.0-kqueue-netbsd7", Main),
    ("1.42.0-kqueue-openbsd", Main),
    ("1.41.2-kqueue-xnu", Main),
    ("1.41.2-kqueue-freebsd", Main),
    ("1.41.2-kqueue-netbsd", Main),
    ("1.41.2-kqueue-netbsd7", Main),
    ("1.41.2-kqueue-openbsd", Main),
    ("1.37.1-kqueue-xnu", All),
    ("1.37.1-kqueue-freebsd", Main),
    ("1.37.1-kqueue-netbsd", Main),
    ("1.37.1-kqueue-netbsd7", Main),
    ("1.37.1-kqueue-openbsd", Main),
    ("1.36.0-kqueue-xnu", Main),
    ("1.36.0-kqueue-freebsd", Main),
    ("1.36.0-kqueue-netbsd", Main),
    ("1.36.0-kqueue-netbsd7", Main),
    ("1.36.0-kqueue-openbsd", Main),
    ("1.42.0-epoll-asan", Files::Memory),
];

/// Elsewhere the kernel is the system's own. There is no host with a sanitizer: the compiler there would give the
/// module a sanitizer of its own beside the host's.
#[cfg(not(target_os = "linux"))]
const TABLE: &[(&str, Files)] = &[
    ("1.42.0-kqueue", Long),
    ("1.41.2-kqueue", Main),
    ("1.37.1-kqueue", All),
    ("1.37.1-kqueue-nonanbox", Main),
    ("1.36.0-kqueue", Most),
    ("1.42.0-poll", Main),
    ("1.37.1-poll", Main),
    ("1.36.0-poll", Main),
];

/// A host on which core's servers stall, on macOS and on the emulation of its kernel.
pub const STALLING: &str = if cfg!(target_os = "linux") { "1.37.1-kqueue-xnu" } else { "1.37.1-kqueue" };

/// The hosts of a full run.
pub fn full() -> Result<Vec<(Host, Files)>> {
    TABLE.iter().map(|&(name, files)| Ok((Host::named(name)?, files))).collect()
}

/// The hosts of a quick run: the newest, and one that shows a stalled server.
pub fn quick() -> Result<Vec<(Host, Files)>> {
    Ok(vec![(Host::default(), Files::Quick), (Host::named(STALLING)?, Files::Bursts)])
}

/// The hosts for arm64: the last version whose values have 16 bytes there, and the newest.
pub fn arm64() -> Result<Vec<(Host, Files)>> {
    [("1.41.2-epoll-arm64", Files::Arm64), ("1.42.0-epoll-arm64", Files::Arm64Short)]
        .into_iter()
        .map(|(name, files)| Ok((Host::named(name)?, files)))
        .collect()
}

/// The host of that name, with every file.
pub fn alone(name: &str) -> Result<(Host, Files)> {
    let host = Host::named(name)?;
    let is_long = TABLE.contains(&(name, Long));
    Ok((host, if is_long { Long } else { All }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_the_table_is_a_host_and_there_once() {
        let mut names: Vec<String> = full().expect("names").iter().map(|(host, _)| host.to_string()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn the_newest_host_runs_every_file_at_full_length() {
        assert_eq!(full().expect("names")[0], (Host::default(), Long));
        assert_eq!(alone(TABLE[0].0), Ok((Host::default(), Long)));
    }
}
