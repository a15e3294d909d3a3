//! `cargo xtask module`: builds kqnet for a host, and lays it out as an installation does.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kqnet_hosts::{Built, Host, Lock, Loop, Result};

use crate::{arm64_build, repo};

/// What happens to the compiler's output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// It is shown while it is written.
    Shown,
    /// It is shown only if the build fails.
    OnFailure,
}

/// How the module is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// As it is for users.
    Shipped,
    /// Without optimization across crates, which takes two thirds of the time, and with Rust's checks of arithmetic and
    /// pointers.
    Checked,
    /// The same without any optimization, which compiles fastest.
    Unoptimized,
}

impl Code {
    /// The end of the names of its folders.
    fn suffix(self) -> &'static str {
        match self {
            Code::Shipped => "",
            Code::Checked => "-checked",
            Code::Unoptimized => "-unoptimized",
        }
    }

    /// Which one a folder of this name is for.
    fn of(name: &str) -> Code {
        let has = |code: &Code| name.ends_with(code.suffix());
        [Code::Checked, Code::Unoptimized].into_iter().find(has).unwrap_or(Code::Shipped)
    }
}

/// Builds the module with the host's header, as users have it. Returns the folder for JANET_PATH.
pub fn build(host: &Host, built: &Built, output: Output) -> Result<PathBuf> {
    build_code(host, built, Code::Shipped, output)
}

/// Builds the module with the host's header. Returns the folder for JANET_PATH.
pub fn build_code(host: &Host, built: &Built, code: Code, output: Output) -> Result<PathBuf> {
    let modules = repo::target().join("modules");
    let name = host.build_name() + code.suffix();
    let folder = modules.join(&name);
    fs::create_dir_all(&folder).map_err(|e| failed("make", &folder, e))?;
    let _lock = Lock::wait(&lock_file(&modules, &name))?;

    let cargo_target = folder.join("build");
    if !cargo_target.exists() {
        start_from_another(&modules, host, code, &cargo_target);
    }
    compile(host, built, code, &cargo_target, output)?;

    let path = folder.join("path");
    let kqnet = path.join("kqnet");
    fs::create_dir_all(&kqnet).map_err(|e| failed("make", &kqnet, e))?;
    let suffix = if cfg!(target_os = "macos") { "dylib" } else { "so" };
    let library = artifacts(host, &cargo_target).join(format!("libkqnet.{suffix}"));
    // Janet expects this suffix on every system.
    let native = kqnet.join("_native.so");
    place(&library, &native)?;
    if has_archive(host) {
        make_archive(built, &artifacts(host, &cargo_target), &kqnet)?;
    }
    copy_tree(&repo::root().join("janet/kqnet"), &kqnet)?;
    Ok(path)
}

/// Whether executables can be linked for a host: not with the compilers of another processor, or with what only the
/// host's own program has.
fn has_archive(host: &Host) -> bool {
    !host.asan && !host.arm64 && !host.event_loop.is_emulated()
}

/// Makes what executables are linked with, as an installation does.
fn make_archive(built: &Built, artifacts: &Path, kqnet: &Path) -> Result<()> {
    let made = artifacts.join("archive");
    fs::create_dir_all(&made).map_err(|e| failed("make", &made, e))?;
    let program = "(import ./bundle/archive) \
                   (def [library libraries folder] (drop 2 (dyn :args))) \
                   (archive/make library (archive/libraries (slurp libraries)) folder) \
                   (os/exit)";
    let status = Command::new(built.janet())
        .args(["-e", program])
        .args([&artifacts.join("libkqnet.a"), &artifacts.join(LIBRARIES), &made])
        .current_dir(repo::root())
        .status()
        .map_err(|e| format!("cannot run {}: {e}", built.janet().display()))?;
    if !status.success() {
        return Err("the archive for executables cannot be made: see above".to_owned());
    }
    ["_native.a", "_native.meta.janet"].iter().try_for_each(|name| place(&made.join(name), &kqnet.join(name)))
}

/// The file, beside the libraries, in which the compiler writes what the static one has to be linked with.
const LIBRARIES: &str = "libraries";

fn compile(host: &Host, built: &Built, code: Code, cargo_target: &Path, output: Output) -> Result<()> {
    let mut cargo = repo::cargo();
    cargo
        .args(["rustc", "--release", "--package", "kqnet", "--lib"])
        .env("CARGO_TARGET_DIR", cargo_target)
        // For debuggers, profilers and sanitizers.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only")
        .env("CARGO_PROFILE_RELEASE_STRIP", "none")
        .env("JANET_HEADERPATH", built.headers())
        .stdin(Stdio::null());
    if host.event_loop.is_emulated() {
        cargo.args(["--features", "emulated-kqueue"]);
    }
    if code == Code::Unoptimized {
        cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0");
    }
    if code != Code::Shipped {
        cargo
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true")
            .env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true");
    }
    if host.asan {
        // The sanitizer is an unstable option, which RUSTC_BOOTSTRAP allows. With a named target, build scripts go
        // without it.
        cargo
            .args(["--target", TRIPLE])
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CFLAGS", "-fsanitize=address -fno-omit-frame-pointer")
            .env("RUSTFLAGS", "-Zsanitizer=address -Cforce-frame-pointers=yes");
    }
    if host.arm64 {
        arm64_build::set_up(&mut cargo)?;
    }
    let libraries = artifacts(host, cargo_target).join(LIBRARIES);
    cargo.args(["--", "--print", &format!("native-static-libs={}", libraries.display())]);
    let failure = format!("kqnet does not build for Janet {host}: see above");
    let cannot = |e: io::Error| format!("cannot run cargo: {e}");
    match output {
        Output::Shown => {
            let status = cargo.stdout(io::stderr()).status().map_err(cannot)?;
            status.success().then_some(()).ok_or(failure)
        }
        Output::OnFailure => {
            let out = cargo.output().map_err(cannot)?;
            if out.status.success() {
                return Ok(());
            }
            eprint!("{}", String::from_utf8_lossy(&out.stderr));
            Err(failure)
        }
    }
}

/// The target that this program was compiled for, in cargo's words.
const TRIPLE: &str = env!("XTASK_TRIPLE");

fn artifacts(host: &Host, cargo_target: &Path) -> PathBuf {
    let folder = if host.arm64 {
        cargo_target.join(arm64_build::TRIPLE)
    } else if host.asan {
        cargo_target.join(TRIPLE)
    } else {
        cargo_target.to_owned()
    };
    folder.join("release")
}

/// Copies what cargo made for another host, so that only what depends on the header is compiled again. If there is
/// none, or if copying fails, cargo starts from nothing.
fn start_from_another(modules: &Path, host: &Host, code: Code, cargo_target: &Path) {
    let mut others: Vec<_> = fs::read_dir(modules).into_iter().flatten().flatten().collect();
    // Those with the same kind of event queue first: in the others, crates were compiled with other features.
    let has_kqueue = |name: &str| name.contains(Loop::Kqueue.name());
    others.sort_by_key(|other| has_kqueue(&other.file_name().to_string_lossy()) != has_kqueue(&host.build_name()));
    for other in others {
        let name = other.file_name().to_string_lossy().into_owned();
        let from = other.path().join("build");
        let alike =
            !host.asan && !name.contains("-asan") && host.arm64 == name.contains("-arm64") && code == Code::of(&name);
        let usable = alike && other.path().join("path/kqnet/_native.so").is_file();
        if !usable {
            continue;
        }
        // Another command is building that one; the next will do.
        let Some(_lock) = Lock::shared(&lock_file(modules, &name)) else { continue };
        let new = cargo_target.with_extension("new");
        let _ = fs::remove_dir_all(&new);
        let copied = Command::new("cp").arg("-a").arg(&from).arg(&new).status();
        if !(copied.is_ok_and(|status| status.success()) && fs::rename(&new, cargo_target).is_ok()) {
            let _ = fs::remove_dir_all(&new);
        }
        return;
    }
}

/// The file whose lock is held while the module of that name is built.
fn lock_file(modules: &Path, name: &str) -> PathBuf {
    modules.join(format!(".{name}.lock"))
}

/// Makes the folder `to` a copy of `from`, except that the files of the native half stay.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let mut names: HashSet<OsString> = HashSet::new();
    for entry in fs::read_dir(from).map_err(|e| failed("read", from, e))? {
        let entry = entry.map_err(|e| failed("read", from, e))?;
        let (source, copy) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            fs::create_dir_all(&copy).map_err(|e| failed("make", &copy, e))?;
            copy_tree(&source, &copy)?;
        } else {
            place(&source, &copy)?;
        }
        names.insert(entry.file_name());
    }
    for entry in fs::read_dir(to).map_err(|e| failed("read", to, e))?.flatten() {
        let path = entry.path();
        let native = entry.file_name().to_string_lossy().starts_with("_native.");
        if names.contains(&entry.file_name()) || native {
            continue;
        }
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(|e| failed("remove", &path, e))?;
    }
    Ok(())
}

/// Replaces a file by a copy of another. It never writes into the old file, which a running program may have mapped.
fn place(from: &Path, to: &Path) -> Result<()> {
    let content = fs::read(from).map_err(|e| failed("read", from, e))?;
    if fs::read(to).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let new = to.with_extension("new");
    fs::write(&new, content).map_err(|e| failed("write", &new, e))?;
    fs::rename(&new, to).map_err(|e| failed("rename", &new, e))
}

fn failed(what: &str, path: &Path, error: io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}
