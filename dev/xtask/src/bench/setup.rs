//! What is measured: builds the interpreters, the module and the C programs, and finds the other servers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kqnet_hosts::{Built, Host, Result};

use super::load;
use super::measurements::Comparison;
use super::others::{self, OTHERS};
use super::programs::{bytes, compile, http_server};
use super::server::Program;
use super::settings::Settings;
use crate::{module, repo, spork, tools};

/// Descriptors beside those of the held connections: what a process opens for itself, and the connections that ask.
const SPARE: u64 = 200;

/// The interpreters, modules and programs that are measured.
pub struct Bench {
    /// The command line.
    pub settings: Settings,
    /// Janet 1.42.0, which runs everything unless its name says otherwise.
    pub janet: PathBuf,
    /// Janet 1.37.1, the last with janet#1560.
    pub old_janet: PathBuf,
    /// The folder for JANET_PATH.
    pub path: PathBuf,
    /// The folder for programs compiled from C, and for results.
    pub scratch: PathBuf,
    /// The folder whose files are served.
    pub files: PathBuf,
    /// How many descriptors a process may have.
    pub descriptors: u64,
    /// Whether the C loop was compiled.
    is_compiled: Cell<bool>,
    /// The servers that were looked for so far, by their keys.
    found: RefCell<BTreeMap<String, Result<Program>>>,
}

impl Bench {
    /// Builds what is missing.
    pub fn new(mut settings: Settings) -> Result<Self> {
        tools::c_compiler()?;
        let scratch = repo::target().join("bench");
        fs::create_dir_all(&scratch).map_err(|e| format!("cannot make {}: {e}", scratch.display()))?;
        let (_, old) = host("1.37.1")?;
        let (new_host, new) = host("1.42.0")?;
        let module = module::build(&new_host, &new, module::Output::OnFailure)?;
        let path = scratch.join("path");
        let given = env::var_os("SPORK").map(PathBuf::from);
        settings.spork = settings.spork.or(given.filter(|folder| folder.join("spork/http.janet").is_file()));
        let spork = match &settings.spork {
            Some(folder) => folder.join("spork"),
            None => spork::beside(&module)?.join("spork"),
        };
        link_modules(&path, &module, &spork, &settings)?;
        Ok(Bench {
            settings,
            janet: new.janet(),
            old_janet: old.janet(),
            path,
            files: scratch.join("files"),
            scratch,
            descriptors: load::raise_descriptor_limit(),
            is_compiled: Cell::new(false),
            found: RefCell::default(),
        })
    }

    /// How long one measurement takes.
    pub fn time(&self) -> Duration {
        Duration::from_secs(self.settings.seconds.into())
    }

    /// The plain C loop, which shows what the kernel allows.
    pub fn c_loop(&self, mode: &str) -> Result<Program> {
        let program = self.scratch.join("limit");
        if !self.is_compiled.replace(true) {
            compile("dev/xtask/bench/limit.c", &program, &[])?;
        }
        Ok(Program::new("C loop", &program).arg(mode))
    }

    /// Servers that answer a byte with a byte, with core's accept loop and with kqnet's.
    pub fn bytes(&self) -> Result<Vec<Program>> {
        Ok(vec![
            self.c_loop("bytes")?,
            bytes("core 1.37.1", &self.old_janet, "core", &self.path),
            bytes("core 1.42.0", &self.janet, "core", &self.path),
            bytes("kqnet", &self.janet, "kqnet", &self.path),
        ])
    }

    /// An HTTP server written in Janet.
    pub fn http(&self, kind: &str) -> Program {
        http_server(others::name(kind), &self.janet, kind, &self.path)
    }

    /// The servers with these keys, in this order. The comparison is told of each that cannot be had.
    pub fn servers(&self, keys: &[&str], comparison: &mut Comparison) -> Vec<Program> {
        let mut servers = Vec::new();
        for key in keys {
            match self.server(key) {
                Ok(program) => servers.push(program),
                Err(why) => comparison.lacks(others::name(key), &why),
            }
        }
        servers
    }

    /// A server by its key: one of those in http.janet, one of [`OTHERS`], or `c` for the C loop.
    ///
    /// # Errors
    /// Returns how to install it.
    pub fn server(&self, key: &str) -> Result<Program> {
        if let Some(found) = self.found.borrow().get(key) {
            return found.clone();
        }
        let given = |folder: &Option<PathBuf>| match folder {
            Some(_) => Ok(self.http(key)),
            None => Err(format!("not given: its folder goes with --{key}")),
        };
        let program = match key {
            "c" => self.c_loop("http"),
            "c-close" => self.c_loop("http-close"),
            "spork" => given(&self.settings.spork),
            "halo2" => given(&self.settings.halo2),
            "circlet" => given(&self.settings.circlet),
            "files" => Ok(self.http(key).arg(&self.files)),
            other if OTHERS.contains(&other) => others::find(other, &self.scratch, &self.files),
            other => Ok(self.http(other)),
        };
        // What cannot be started is left out, as what is not there.
        let program = program.and_then(|program| program.start().map(|_| program));
        self.found.borrow_mut().insert(key.to_owned(), program.clone());
        program
    }

    /// Whether a module of kqnet has a function.
    pub fn has(&self, module: &str, function: &str) -> bool {
        let code = format!("(os/exit (if (get-in (require {module:?}) ['{function} :value]) 0 1))");
        let mut command = Command::new(&self.janet);
        command.args(["-e", &code]).env("JANET_PATH", &self.path).env_remove("JANET_PROFILE");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// The reason why so many connections cannot be held, if there is one.
    pub fn cannot_hold(&self, count: usize) -> Option<String> {
        let least = count as u64 + SPARE;
        (self.descriptors < least)
            .then(|| format!("{count} connections need a limit of {least} descriptors: ulimit -n {least}"))
    }
}

fn host(version: &str) -> Result<(Host, Built)> {
    let host = Host { version: Host::version_named(version)?, ..Host::default() };
    let built = host.build(&repo::target())?;
    Ok((host, built))
}

/// Makes the folder in which the servers look for modules: one folder, since Janet 1.36 takes no more.
fn link_modules(path: &Path, module: &Path, spork: &Path, settings: &Settings) -> Result<()> {
    let _ = fs::remove_dir_all(path);
    fs::create_dir_all(path).map_err(|e| format!("cannot make {}: {e}", path.display()))?;
    let link =
        |to: &Path, name: &str| symlink(to, path.join(name)).map_err(|e| format!("cannot link {}: {e}", to.display()));
    link(&module.join("kqnet"), "kqnet")?;
    link(spork, "spork")?;
    if let Some(folder) = &settings.halo2 {
        let inner = folder.join("src/halo2.janet");
        link(if inner.is_file() { &inner } else { folder }, "halo2.janet")?;
    }
    if let Some(folder) = &settings.circlet {
        link(&folder.join("circlet.so"), "circlet.so")?;
    }
    Ok(())
}

/// Tells on standard error what is being measured.
pub fn progress(what: &str) {
    eprintln!("  {what}");
}
