//! The command line of `cargo xtask bench`.

use std::fs;
use std::path::PathBuf;

use kqnet_hosts::Result;
use lexopt::{Arg, Parser};

use crate::options;

/// What is measured, and how many times.
pub struct Settings {
    /// How many times everything is measured.
    pub rounds: usize,
    /// How long one measurement takes.
    pub seconds: u32,
    /// Whether docs/benchmarks.md is written: from this run, and what this run leaves out from earlier ones.
    pub page: bool,
    /// Whether the page is only written again, from earlier runs, and nothing is measured.
    pub page_only: bool,
    /// The folder of spork, if it is to be measured.
    pub spork: Option<PathBuf>,
    /// The folder of halo2, if it is to be measured.
    pub halo2: Option<PathBuf>,
    /// The folder of circlet, if it is to be measured.
    pub circlet: Option<PathBuf>,
    /// What is measured; everything if there is no name.
    pub names: Vec<String>,
}

impl Settings {
    /// Reads the command line. `known` are the names of what can be measured.
    pub fn parse(mut args: Parser, known: &[&str]) -> Result<Self> {
        let mut settings = Settings {
            rounds: 5,
            seconds: 1,
            page: false,
            page_only: false,
            spork: None,
            halo2: None,
            circlet: None,
            names: Vec::new(),
        };
        while let Some(arg) = args.next().map_err(|e| e.to_string())? {
            match arg {
                Arg::Long("rounds") => settings.rounds = options::number(&mut args, "--rounds", 1)?,
                Arg::Long("seconds") => settings.seconds = options::number(&mut args, "--seconds", 1)?,
                Arg::Long("page") => settings.page = true,
                Arg::Long("page-only") => settings.page_only = true,
                Arg::Long("spork") => settings.spork = Some(folder(&mut args, "--spork", &["spork/http.janet"])?),
                Arg::Long("halo2") => {
                    settings.halo2 = Some(folder(&mut args, "--halo2", &["halo2.janet", "src/halo2.janet"])?);
                }
                Arg::Long("circlet") => settings.circlet = Some(folder(&mut args, "--circlet", &["circlet.so"])?),
                Arg::Value(name) => settings.names.push(name.to_string_lossy().into_owned()),
                other => {
                    let allowed = format!(
                        "--rounds, --seconds, --page, --page-only, --spork, --halo2, --circlet, {}",
                        known.join(", ")
                    );
                    return Err(options::unknown(&other, &allowed));
                }
            }
        }
        if let Some(name) = settings.names.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(format!("no benchmark {name}: there are {}", known.join(", ")));
        }
        Ok(settings)
    }
}

/// Reads the value of an option: a folder with one of these files in it.
fn folder(args: &mut Parser, option: &str, files: &[&str]) -> Result<PathBuf> {
    let given = options::text(args)?;
    let found = fs::canonicalize(&given).map_err(|e| format!("{option}: cannot find {given}: {e}"))?;
    if files.iter().any(|file| found.join(file).is_file()) {
        return Ok(found);
    }
    Err(format!("{option}: there is no {} in {given}", files.join(" or ")))
}
