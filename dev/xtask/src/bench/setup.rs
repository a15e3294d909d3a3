//! What is measured: builds the interpreters, the module and the C programs, and finds the other servers.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kqnet_hosts::{Built, Host, Result};

use super::load;
use super::programs::{bytes, compile, http_server};
use super::server::Program;
use super::settings::Settings;
use crate::{module, repo, spork, tools};

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
    /// How many descriptors a process may have.
    pub descriptors: u64,
}

impl Bench {
    /// Builds what is missing.
    pub fn new(settings: Settings) -> Result<Self> {
        tools::c_compiler()?;
        let scratch = repo::target().join("bench");
        fs::create_dir_all(&scratch).map_err(|e| format!("cannot make {}: {e}", scratch.display()))?;
        let (_, old) = host("1.37.1")?;
        let (new_host, new) = host("1.42.0")?;
        let module = module::build(&new_host, &new, module::Output::OnFailure)?;
        let path = scratch.join("path");
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
            scratch,
            descriptors: load::raise_descriptor_limit(),
        })
    }

    /// How long one measurement takes.
    pub fn time(&self) -> Duration {
        Duration::from_secs(self.settings.seconds.into())
    }

    /// The plain C loop, which shows what the kernel allows.
    pub fn c_loop(&self, mode: &str) -> Result<Program> {
        let program = self.scratch.join("limit");
        compile("dev/xtask/bench/limit.c", &program, &[])?;
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
        let name = match kind {
            "kqnet" => "kqnet/http",
            "spork" => "spork/http",
            "bare" | "bare-close" => "bare Janet loop",
            other => other,
        };
        http_server(name, &self.janet, kind, &self.path)
    }

    /// The other HTTP servers that were given, by their names in http.janet; and a note for each that was not.
    pub fn peers(&self) -> (Vec<&'static str>, Vec<String>) {
        let settings = &self.settings;
        let peers = [("spork", &settings.spork), ("halo2", &settings.halo2), ("circlet", &settings.circlet)];
        let (mut there, mut missing) = (Vec::new(), Vec::new());
        for (name, folder) in peers {
            match folder {
                Some(_) => there.push(name),
                None => missing.push(format!("{name} was not measured: give its folder with --{name}")),
            }
        }
        (there, missing)
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
