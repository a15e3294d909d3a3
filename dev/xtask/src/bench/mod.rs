//! `cargo xtask bench`: kqnet beside what its users would use instead.
//!
//! Every figure is taken of all subjects in turn, round after round, so that what disturbs the machine for a while
//! disturbs all of them; the result is the ratios of figures of the same round. Absolute figures are of this machine.

mod accept;
mod chart;
pub mod counts;
mod figures;
mod growth;
mod http;
mod kqueue;
pub mod load;
mod machine;
mod memory;
mod page;
mod report;
pub mod server;
mod usage;
mod wrk;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use kqnet_hosts::{Built, Host, Result};
use lexopt::{Arg, Parser};

use crate::{module, options, process, repo, spork, tools};
use figures::Comparison;
use server::Program;

type Measure = fn(&Bench) -> Result<Vec<Comparison>>;

/// What can be measured, by name.
const MEASURES: [(&str, Measure); 5] = [
    ("accept", accept::measure),
    ("http", http::measure),
    ("memory", memory::measure),
    ("growth", growth::measure),
    ("kqueue", kqueue::measure),
];

/// How it is measured.
struct Settings {
    rounds: usize,
    seconds: u32,
    page: bool,
    spork: Option<PathBuf>,
    halo2: Option<PathBuf>,
    circlet: Option<PathBuf>,
    names: Vec<String>,
}

impl Settings {
    fn parse(mut args: Parser) -> Result<Self> {
        let mut settings =
            Settings { rounds: 5, seconds: 2, page: false, spork: None, halo2: None, circlet: None, names: Vec::new() };
        while let Some(arg) = args.next().map_err(|e| e.to_string())? {
            match arg {
                Arg::Long("rounds") => settings.rounds = options::number(&mut args, "--rounds", 1)?,
                Arg::Long("seconds") => settings.seconds = options::number(&mut args, "--seconds", 1)?,
                Arg::Long("page") => settings.page = true,
                Arg::Long("spork") => settings.spork = Some(folder(&mut args, "--spork", &["spork/http.janet"])?),
                Arg::Long("halo2") => {
                    settings.halo2 = Some(folder(&mut args, "--halo2", &["halo2.janet", "src/halo2.janet"])?);
                }
                Arg::Long("circlet") => settings.circlet = Some(folder(&mut args, "--circlet", &["circlet.so"])?),
                Arg::Value(name) => settings.names.push(name.to_string_lossy().into_owned()),
                other => {
                    let names = MEASURES.map(|(name, _)| name).join(", ");
                    let allowed = format!("--rounds, --seconds, --page, --spork, --halo2, --circlet, {names}");
                    return Err(options::unknown(&other, &allowed));
                }
            }
        }
        if let Some(name) = settings.names.iter().find(|name| MEASURES.iter().all(|(known, _)| known != name)) {
            return Err(format!("no benchmark {name}: there are {}", MEASURES.map(|(name, _)| name).join(", ")));
        }
        if settings.page && !settings.names.is_empty() {
            return Err("--page goes with all benchmarks: leave the names out".to_owned());
        }
        Ok(settings)
    }
}

/// The value of an option: a folder with one of these files in it.
fn folder(args: &mut Parser, option: &str, files: &[&str]) -> Result<PathBuf> {
    let given = options::text(args)?;
    let found = fs::canonicalize(&given).map_err(|e| format!("{option}: cannot find {given}: {e}"))?;
    if files.iter().any(|file| found.join(file).is_file()) {
        return Ok(found);
    }
    Err(format!("{option}: there is no {} in {given}", files.join(" or ")))
}

/// What the measures need.
struct Bench {
    settings: Settings,
    /// Janet 1.42.0, on which all runs unless it says otherwise.
    janet: PathBuf,
    /// Janet 1.37.1, the last with janet#1560.
    old_janet: PathBuf,
    /// The folder for JANET_PATH.
    path: PathBuf,
    /// Programs compiled from C, and what is written.
    scratch: PathBuf,
    /// How many descriptors a process may have.
    descriptors: u64,
}

impl Bench {
    fn new(settings: Settings) -> Result<Self> {
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

    /// How long a measurement takes.
    fn time(&self) -> Duration {
        Duration::from_secs(self.settings.seconds.into())
    }

    /// The plain C loop.
    fn limit(&self, mode: &str) -> Result<Program> {
        let program = self.scratch.join("limit");
        compile("dev/xtask/bench/limit.c", &program, &[])?;
        Ok(Program::new("C loop", &program).arg(mode))
    }

    /// Servers that answer a byte with a byte, with core's accept loop and with kqnet's.
    fn bytes(&self) -> Result<Vec<Program>> {
        Ok(vec![
            self.limit("bytes")?,
            bytes("core 1.37.1", &self.old_janet, "core", &self.path),
            bytes("core 1.42.0", &self.janet, "core", &self.path),
            bytes("kqnet", &self.janet, "kqnet", &self.path),
        ])
    }

    /// An HTTP server written in Janet.
    fn http(&self, kind: &str) -> Program {
        let name = match kind {
            "kqnet" => "kqnet/http",
            "spork" => "spork/http",
            "bare" | "bare-close" => "bare Janet loop",
            other => other,
        };
        http_server(name, &self.janet, kind, &self.path)
    }

    /// The other HTTP servers that are there, by the names that http.janet has for them; and of those that are not, why.
    fn peers(&self) -> (Vec<&'static str>, Vec<String>) {
        let settings = &self.settings;
        let peers = [("spork", &settings.spork), ("halo2", &settings.halo2), ("circlet", &settings.circlet)];
        let (mut there, mut missing) = (Vec::new(), Vec::new());
        for (name, folder) in peers {
            match folder {
                Some(_) => there.push(name),
                None => missing.push(format!("{name} was not measured: give its folder by --{name}")),
            }
        }
        (there, missing)
    }
}

/// A server that answers bytes, on a Janet.
pub fn bytes(name: &str, janet: &Path, kind: &str, janet_path: &Path) -> Program {
    script(name, janet, "dev/xtask/bench/bytes.janet", kind, janet_path)
}

/// A server that answers requests, on a Janet.
pub fn http_server(name: &str, janet: &Path, kind: &str, janet_path: &Path) -> Program {
    script(name, janet, "dev/xtask/bench/http.janet", kind, janet_path)
}

fn script(name: &str, janet: &Path, file: &str, kind: &str, janet_path: &Path) -> Program {
    Program::new(name, janet).arg(repo::root().join(file)).arg(kind).env("JANET_PATH", janet_path)
}

fn host(version: &str) -> Result<(Host, Built)> {
    let host = Host { version: Host::version_named(version)?, ..Host::default() };
    let built = host.build(&repo::target())?;
    Ok((host, built))
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

/// Makes the one folder where the servers look for modules.
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

/// Says on standard error what is going on.
fn progress(what: &str) {
    eprintln!("  {what}");
}

/// Runs the command.
pub fn run(args: Parser) -> Result<ExitCode> {
    let settings = Settings::parse(args)?;
    process::end_groups_on_signals();
    let bench = Bench::new(settings)?;
    let machine = machine::describe();
    let start = Instant::now();
    let mut comparisons = Vec::new();
    let mut failures = Vec::new();
    for (name, measure) in MEASURES {
        let names = &bench.settings.names;
        if !names.is_empty() && names.iter().all(|wanted| wanted != name) {
            continue;
        }
        eprintln!("{name}");
        match measure(&bench) {
            Ok(measured) => comparisons.extend(measured),
            Err(message) => failures.push(format!("{name}: {message}")),
        }
    }
    let aims = page::aims(&comparisons);
    print!("{}", report::table(&comparisons, &aims));
    report::write(&bench.scratch, &comparisons, &machine, &bench.settings)?;
    if bench.settings.page && failures.is_empty() {
        page::write(&comparisons, &aims, &machine, &bench.settings)?;
    }
    eprintln!("measured in {:.0} s; figures and pictures are in target/bench", start.elapsed().as_secs_f64());
    for failure in &failures {
        eprintln!("error: {failure}");
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
