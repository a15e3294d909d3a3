//! Which spork the tests and the demo use: the installed one, or else a stand-in.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use kqnet_hosts::Result;

use crate::repo;

/// Makes the folder for the JANET_PATH of a program that uses spork, and kqnet from `module`. It is one folder, since
/// Janet 1.36 takes no more.
pub fn beside(module: &Path) -> Result<PathBuf> {
    let folder = module.with_file_name("path-with-spork");
    fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    link(&module.join("kqnet"), &folder.join("kqnet"))?;
    link(&find()?.join("spork"), &folder.join("spork"))?;
    Ok(folder)
}

/// Finds the folder whose `spork/http.janet` is used: $SPORK, or the first on JANET_PATH that has one, or the stand-in.
fn find() -> Result<PathBuf> {
    if let Some(given) = env::var_os("SPORK").filter(|v| !v.is_empty()) {
        let given = PathBuf::from(given);
        if !has_spork(&given) {
            return Err(format!("SPORK is {}, but there is no spork/http.janet in it", given.display()));
        }
        return fs::canonicalize(&given).map_err(|e| format!("SPORK is {}: {e}", given.display()));
    }
    let given = env::var_os("JANET_PATH").unwrap_or_default();
    let installed = env::split_paths(&given).find(|folder| has_spork(folder));
    Ok(installed.unwrap_or_else(|| repo::root().join("test/stand-in")))
}

fn has_spork(folder: &Path) -> bool {
    folder.join("spork/http.janet").is_file()
}

fn link(to: &Path, at: &Path) -> Result<()> {
    if fs::read_link(at).is_ok_and(|old| old == to) {
        return Ok(());
    }
    // By renaming, since another command may be using the old link.
    let new = at.with_extension(format!("{}.new", std::process::id()));
    let made = symlink(to, &new).and_then(|()| fs::rename(&new, at));
    match made {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(format!("cannot link {}: {e}", at.display())),
        _ => Ok(()),
    }
}
