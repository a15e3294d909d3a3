//! The hosts of a run, and which files of test/ each of them runs.

use kqnet_hosts::{Host, Result};

use crate::module::Code;

/// Which files of test/ a host runs.
///
/// A file runs where something that it depends on differs:
///
/// - Every file runs on two hosts at least: the newest Janet on Linux, and 1.37.1 on macOS's kernel, where core's servers
///   stall.
/// - [`Core`] runs on every host.
/// - The oldest Janet, and the newest one on macOS's kernel, run [`Most`], since Janet's own functions differ most there.
/// - Another representation of values, and another way of Janet's loop to wait, matter to [`Servers`].
/// - Another kernel matters to [`Main`]: once with the loop that Janet has had since 1.38, and once with the older one. The
///   versions before and after a change are enough, so the other versions run no more than [`Core`].
/// - Memory matters to [`Memory`], under a sanitizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// Every file, at its full length.
    Long,
    /// Every file. Those that would take minutes run for a shorter time.
    All,
    /// Every file except those about what other projects' clients, proxies and browsers do, and those that only take long.
    Most,
    /// What shows most in half a minute.
    Quick,
    /// What servers of all kinds do with connections, requests and values.
    Servers,
    /// The core, and what a shortage and kqnet-doctor show of a kernel.
    Main,
    /// What accepting and handlers depend on: each version of Janet, each event loop, and each kernel.
    Core,
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
        let is_one_of = |names: &[&str]| names.contains(&stem);
        let is_slow = is_one_of(&["browser", "demo", "http-leaving", "proxies", "soak"]) || stem.ends_with("-clients");
        match self {
            Files::Long | Files::All => true,
            Files::Most => !is_slow && !is_one_of(&["churn"]) && !stem.starts_with("serve-"),
            Files::Quick => {
                (stem.starts_with("http") && !is_slow && !is_one_of(&["http-isolation", "http-memory"]))
                    || Files::Core.include(stem)
                    || is_one_of(&[
                        "contributing",
                        "docs",
                        "docs-api",
                        "drain",
                        "errors",
                        "examples",
                        "hygiene",
                        "inherited",
                        "install",
                        "messages",
                        "stats",
                        "unix",
                    ])
            }
            Files::Servers => {
                Files::Core.include(stem)
                    || is_one_of(&["drain", "errors", "inherited", "messages", "stats", "unix", "websocket"])
                    || (stem.starts_with("http") && !is_slow)
            }
            Files::Main => Files::Core.include(stem) || is_one_of(&["doctor", "exhaustion"]),
            Files::Core => is_one_of(&["behaviours", "bursts", "forks", "handlers", "http-tables", "limits", "shared"]),
            Files::Arm64 => Files::Arm64Short.include(stem) || is_one_of(&["inherited", "unix"]),
            Files::Arm64Short => is_one_of(&[
                "behaviours",
                "drain",
                "errors",
                "handlers",
                "http-conversations",
                "http-server",
                "limits",
                "stats",
            ]),
            Files::Memory => is_one_of(&[
                "bursts",
                "forks",
                "handlers",
                "http-files",
                "http-form",
                "http-response-heads",
                "http-server",
                "http-tables",
                "shared",
                "websocket",
            ]),
        }
    }
}

use Files::{All, Core, Long, Main, Most, Servers};

/// The hosts with the most files come first, so that no processor waits for a long file at the end.
#[cfg(target_os = "linux")]
const TABLE: &[(&str, Files)] = &[
    ("1.42.0-epoll", Long),
    ("1.37.1-kqueue-xnu", All),
    ("1.36.0-epoll", Most),
    ("1.42.0-kqueue-xnu", Most),
    ("1.42.0-epoll-asan", Files::Memory),
    ("1.37.1-epoll-nonanbox", Servers),
    ("1.37.1-poll", Servers),
    ("1.37.1-epoll", Main),
    ("1.37.1-kqueue-freebsd", Main),
    ("1.42.0-kqueue-freebsd", Main),
    ("1.42.0-kqueue-netbsd", Main),
    ("1.42.0-kqueue-netbsd7", Main),
    ("1.42.0-kqueue-openbsd", Main),
    ("1.41.2-epoll", Core),
    ("1.42.0-poll", Core),
    ("1.41.2-poll", Core),
    ("1.36.0-poll", Core),
    ("1.41.2-kqueue-xnu", Core),
    ("1.41.2-kqueue-freebsd", Core),
    ("1.41.2-kqueue-netbsd", Core),
    ("1.41.2-kqueue-netbsd7", Core),
    ("1.41.2-kqueue-openbsd", Core),
    ("1.37.1-kqueue-netbsd", Core),
    ("1.37.1-kqueue-netbsd7", Core),
    ("1.37.1-kqueue-openbsd", Core),
    ("1.36.0-kqueue-xnu", Core),
    ("1.36.0-kqueue-freebsd", Core),
    ("1.36.0-kqueue-netbsd", Core),
    ("1.36.0-kqueue-netbsd7", Core),
    ("1.36.0-kqueue-openbsd", Core),
];

/// Elsewhere the kernel is the system's own. There is no host with a sanitizer: the compiler there would give the
/// module a sanitizer of its own beside the host's.
#[cfg(not(target_os = "linux"))]
const TABLE: &[(&str, Files)] = &[
    ("1.42.0-kqueue", Long),
    ("1.37.1-kqueue", All),
    ("1.36.0-kqueue", Most),
    ("1.37.1-kqueue-nonanbox", Servers),
    ("1.37.1-poll", Servers),
    ("1.41.2-kqueue", Core),
    ("1.42.0-poll", Core),
    ("1.36.0-poll", Core),
];

/// A host on which core's servers stall, on macOS and on the emulation of its kernel.
pub const STALLING: &str = if cfg!(target_os = "linux") { "1.37.1-kqueue-xnu" } else { "1.37.1-kqueue" };

/// How the module is compiled for a host: as it is shipped for hosts that run at least [`Most`] of the files and for
/// arm64, and with checks for the others.
pub fn code(host: &Host) -> Code {
    let has_build = |name| Host::named(name).is_ok_and(|one| one.build_name() == host.build_name());
    let is_main = TABLE.iter().any(|&(name, files)| [Long, All, Most].contains(&files) && has_build(name));
    if host.arm64 || is_main { Code::Shipped } else { Code::Checked }
}

/// The hosts of a full run.
pub fn full() -> Result<Vec<(Host, Files)>> {
    TABLE.iter().map(|&(name, files)| Ok((Host::named(name)?, files))).collect()
}

/// The host of a quick run: the newest.
pub fn quick() -> Vec<(Host, Files)> {
    vec![(Host::default(), Files::Quick)]
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

    #[test]
    fn the_module_is_as_shipped_where_most_files_run_and_on_every_host_that_shares_its_build() {
        let shipped = TABLE.iter().filter(|(_, files)| [Long, All, Most].contains(files)).map(|&(name, _)| name);
        let others = TABLE.iter().filter(|(_, files)| [Core, Servers].contains(files)).map(|&(name, _)| name);
        let named = |name| Host::named(name).expect("a host");
        let builds: Vec<String> = shipped.map(|name| named(name).build_name()).collect();
        for name in others {
            let expected = if builds.contains(&named(name).build_name()) { Code::Shipped } else { Code::Checked };
            assert_eq!(code(&named(name)), expected, "{name}");
        }
        assert_eq!(code(&Host::default()), Code::Shipped);
    }

    #[test]
    fn every_host_runs_the_core_and_the_one_with_stalled_servers_runs_everything() {
        let core = ["behaviours", "bursts", "forks", "handlers", "limits", "shared"];
        for (name, files) in TABLE.iter().filter(|(_, files)| *files != Files::Memory) {
            assert!(core.iter().all(|file| files.include(file)), "{name}");
        }
        assert!(TABLE.contains(&(STALLING, All)));
    }
}
