//! The servers that are measured: Janet programs, and what is compiled from C.

use std::path::Path;
use std::process::Command;

use kqnet_hosts::Result;

use super::server::Program;
use crate::repo;

/// A server written in Janet that answers each byte with a byte.
pub fn bytes(name: &str, janet: &Path, kind: &str, janet_path: &Path) -> Program {
    script(name, janet, "dev/xtask/bench/bytes.janet", kind, janet_path).answers(b"?")
}

/// An HTTP server written in Janet.
pub fn http_server(name: &str, janet: &Path, kind: &str, janet_path: &Path) -> Program {
    script(name, janet, "dev/xtask/bench/http.janet", kind, janet_path)
}

fn script(name: &str, janet: &Path, file: &str, kind: &str, janet_path: &Path) -> Program {
    Program::new(name, janet).arg(repo::root().join(file)).arg(kind).env("JANET_PATH", janet_path)
}

/// Compiles a C file of the repository.
pub fn compile(source: &str, to: &Path, flags: &[&str]) -> Result<()> {
    let cc = kqnet_hosts::compiler().ok_or("no C compiler was found: set CC, or install gcc or clang")?;
    let mut words = cc.split_whitespace();
    let status = Command::new(words.next().unwrap_or("cc"))
        .args(words)
        .args(["-O2", "-D_GNU_SOURCE"])
        .arg(repo::root().join(source))
        .args(flags)
        .arg("-o")
        .arg(to)
        .status()
        .map_err(|e| format!("cannot run {cc}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{cc} failed on {source}: see above")) }
}
