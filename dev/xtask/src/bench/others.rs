//! What people use instead of a server in Janet: nginx, hyper, Go, Node and uvicorn, each on one thread.
//!
//! A server that is not on this machine is left out, and the reason says how to install it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kqnet_hosts::Result;

use super::server::Program;
use crate::{repo, tools};

/// The other servers in the order in which they are shown, by their keys.
pub const OTHERS: [&str; 5] = ["nginx", "hyper", "go", "node", "uvicorn"];

/// Where `pip` and `npm` install what only the benchmark needs.
const PYTHON: &str = "target/bench/python";
const NODE: &str = "target/bench/node";

/// The name of a server in results.
pub fn name(key: &str) -> &str {
    match key {
        "c" => "C loop",
        "bare" | "bare-close" => "bare Janet loop",
        "kqnet" | "files" | "websocket" => "kqnet/http",
        "spork" => "spork/http",
        "go" => "Go",
        "node" => "Node",
        other => other,
    }
}

/// Finds or builds one of [`OTHERS`]. `scratch` is for what is built, and `files` is the folder that is served.
///
/// # Errors
/// Returns how to install it.
pub fn find(key: &str, scratch: &Path, files: &Path) -> Result<Program> {
    match key {
        "nginx" => nginx(scratch, files),
        "hyper" => hyper(scratch),
        "go" => go(scratch, files),
        "node" => {
            let node = node()?;
            Ok(Program::new(name(key), &node).arg(source("node.js")).arg("http").arg(files))
        }
        "uvicorn" => {
            let install = "'uvicorn[standard]'";
            let python = python("uvicorn, httptools", install)?;
            Ok(Program::new(name(key), &python).arg(source("asgi.py")))
        }
        other => Err(format!("there is no server {other}")),
    }
}

/// An echo server on Node's `ws`.
///
/// # Errors
/// Returns how to install it.
pub fn node_websockets() -> Result<Program> {
    let modules = repo::root().join(NODE).join("node_modules");
    let node = node()?;
    if !runs(Command::new(&node).args(["-e", "require('ws')"]).env("NODE_PATH", &modules)) {
        return Err(format!("not installed: npm install --prefix {NODE} ws"));
    }
    Ok(Program::new("Node, ws", &node).arg(source("node.js")).arg("websocket").env("NODE_PATH", modules))
}

/// An echo server on Python's `websockets`.
///
/// # Errors
/// Returns how to install it.
pub fn python_websockets() -> Result<Program> {
    let python = python("websockets.asyncio.server", "websockets")?;
    Ok(Program::new("Python, websockets", &python).arg(source("websocket.py")))
}

/// The versions of the servers that are installed, by name.
pub fn versions() -> Vec<(&'static str, String)> {
    let lock = fs::read_to_string(repo::root().join("dev/bench-hyper/Cargo.lock")).unwrap_or_default();
    let uvicorn = python("uvicorn, httptools", "").map(|python| said(&python, &["-m", "uvicorn", "--version"]));
    vec![
        ("nginx", said(&nginx_program().unwrap_or_default(), &["-v"])),
        ("hyper", locked(&lock, "hyper").unwrap_or_default()),
        ("Go", said(Path::new("go"), &["version"])),
        ("Node", said(Path::new("node"), &["--version"])),
        ("uvicorn", uvicorn.unwrap_or_default()),
    ]
}

/// The version of a package in the text of a Cargo.lock.
fn locked(lock: &str, package: &str) -> Option<String> {
    let named = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != named);
    let version = lines.nth(1)?.strip_prefix("version = \"")?;
    Some(version.trim_end_matches('"').to_owned())
}

/// The first line that a program prints.
fn said(program: &Path, arguments: &[&str]) -> String {
    let Ok(out) = Command::new(program).args(arguments).stdin(Stdio::null()).output() else { return String::new() };
    // nginx tells its version on standard error.
    let text = if out.stdout.is_empty() { out.stderr } else { out.stdout };
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default().trim();
    ["nginx version: ", "go version ", "Running "].into_iter().fold(line, str::trim_start_matches).to_owned()
}

fn source(file: &str) -> PathBuf {
    repo::root().join("dev/xtask/bench").join(file)
}

fn runs(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

fn nginx_program() -> Option<PathBuf> {
    // Debian installs it where only root's PATH leads.
    let sbin = Path::new("/usr/sbin/nginx");
    if tools::on_path("nginx") { Some("nginx".into()) } else { sbin.is_file().then(|| sbin.to_owned()) }
}

fn nginx(scratch: &Path, files: &Path) -> Result<Program> {
    let program = nginx_program().ok_or("not installed: apt-get install nginx")?;
    let template = source("nginx.conf");
    let text = fs::read_to_string(&template).map_err(|e| format!("cannot read {}: {e}", template.display()))?;
    let text = text.replace("{scratch}", &scratch.to_string_lossy()).replace("{files}", &files.to_string_lossy());
    let file = scratch.join("nginx.conf");
    Ok(Program::new("nginx", &program).arg("-p").arg(scratch).arg("-c").arg(&file).configured(file, text))
}

fn hyper(scratch: &Path) -> Result<Program> {
    let target = scratch.join("hyper");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--locked", "--manifest-path"])
        .arg(repo::root().join("dev/bench-hyper/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .stdin(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(Program::new("hyper", &target.join("release/bench-hyper"))),
        _ => Err("not built: cargo could not build dev/bench-hyper, which needs crates from the network".to_owned()),
    }
}

fn go(scratch: &Path, files: &Path) -> Result<Program> {
    if !tools::on_path("go") {
        return Err("not installed: apt-get install golang-go".to_owned());
    }
    let program = scratch.join("go-server");
    let status = Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(source("server.go"))
        .env("GO111MODULE", "off")
        .stdin(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => Ok(Program::new("Go", &program).arg(files).env("GOMAXPROCS", "1")),
        _ => Err("not built: go could not build dev/xtask/bench/server.go".to_owned()),
    }
}

fn node() -> Result<PathBuf> {
    if tools::on_path("node") { Ok("node".into()) } else { Err("not installed: apt-get install nodejs".to_owned()) }
}

/// A Python that can import `modules`.
fn python(modules: &str, package: &str) -> Result<PathBuf> {
    let own = repo::root().join(PYTHON).join("bin/python3");
    let python = if own.is_file() { own } else { "python3".into() };
    if runs(Command::new(&python).args(["-c", &format!("import {modules}")])) {
        return Ok(python);
    }
    Err(format!("not installed: python3 -m venv {PYTHON} && {PYTHON}/bin/pip install {package}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_a_lock_file() {
        let lock = "[[package]]\nname = \"hyper-util\"\nversion = \"0.1.2\"\n\n[[package]]\nname = \"hyper\"\nversion = \"1.2.3\"\n";
        assert_eq!(locked(lock, "hyper").as_deref(), Some("1.2.3"));
        assert_eq!(locked(lock, "tokio"), None);
    }
}
