//! `cargo xtask docs`: writes docs/api.md from the docstrings, as the newest Janet shows them.

use std::fs;
use std::process::{Command, ExitCode, Stdio};

use kqnet_hosts::{Host, Result};
use lexopt::Parser;

use crate::{module, options, repo, spork, tools};

/// Runs the Janet program that makes the page, and writes what it prints.
pub fn run(mut args: Parser) -> Result<ExitCode> {
    if let Some(arg) = args.next().map_err(|e| e.to_string())? {
        return Err(options::unknown(&arg, "nothing"));
    }
    tools::c_compiler()?;
    let host = Host::default();
    let built = host.build(&repo::target())?;
    let folder = module::build(&host, &built, module::Output::Shown)?;
    let out = Command::new(built.janet())
        .arg(repo::root().join("dev/xtask/docs/page.janet"))
        .env("JANET_PATH", spork::beside(&folder)?)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|e| format!("cannot run {}: {e}", built.janet().display()))?;
    if !out.status.success() {
        return Err(format!("docs/api.md cannot be made ({}): see above", out.status));
    }
    let path = repo::root().join("docs/api.md");
    fs::write(&path, out.stdout).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    println!("{}", path.display());
    Ok(ExitCode::SUCCESS)
}
