//! Finds the header of the installed Janet.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest Janet with the stream functions that a module needs: `janet_async_start_fiber`, `janet_stream_ext`,
/// `janet_stream_level_triggered`.
const OLDEST: (u32, u32) = (1, 36);

/// A `janet.h` and what it says of itself.
pub struct Header {
    pub folder: PathBuf,
    pub version: String,
}

/// The header to build against: `JANET_HEADERPATH`, else the one that goes with the `janet` on the PATH, else
/// pkg-config's.
pub fn find() -> Result<Header, String> {
    if let Some(folder) = env::var_os("JANET_HEADERPATH").filter(|v| !v.is_empty()) {
        let folder = from_shell(PathBuf::from(folder));
        return match read_header(&folder) {
            Some(found) => found.map_err(|why| format!("JANET_HEADERPATH: {why}")),
            None => Err(format!("JANET_HEADERPATH is {}, but there is no janet.h in that folder", folder.display())),
        };
    }

    for name in ["PATH", "PKG_CONFIG", "PKG_CONFIG_PATH"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let installed = installed_janet();
    let mut folders = installed.as_ref().map(|j| j.folders()).unwrap_or_default();
    folders.extend(pkg_config());
    let mut others = Vec::new();
    for folder in &folders {
        match (read_header(folder), &installed) {
            (None, _) => {}
            // A module is refused by a Janet of another version, so the header must be that of the `janet` found.
            (Some(Ok(header)), Some(janet)) if header.version != janet.version => {
                others.push(format!("{} has janet.h of {}", header.folder.display(), header.version))
            }
            (Some(Ok(header)), _) => return Ok(header),
            (Some(Err(why)), _) => {
                return Err(format!("{why}; to use another janet.h, set JANET_HEADERPATH to its folder"));
            }
        }
    }
    Err(match installed {
        Some(janet) => {
            let seen = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
            format!(
                "found Janet {} at {}, but not its janet.h{seen}: set JANET_HEADERPATH to the folder that holds it",
                janet.version,
                janet.program.display()
            )
        }
        None => "janet.h was not found: no `janet` on the PATH and no `janet` known to pkg-config; install Janet \
                 1.36 or later, or set JANET_HEADERPATH to the folder that holds janet.h"
            .to_owned(),
    })
}

/// Makes a path that was typed absolute: a relative one starts from the folder of the user's shell, and build scripts run in
/// other folders.
fn from_shell(path: PathBuf) -> PathBuf {
    if path.is_absolute() {
        return path;
    }
    println!("cargo::rerun-if-env-changed=PWD");
    match env::var_os("PWD") {
        Some(folder) => Path::new(&folder).join(path),
        None => path,
    }
}

/// The header in `folder`, if there is one: an error when it cannot be used.
fn read_header(folder: &Path) -> Option<Result<Header, String>> {
    let path = folder.join("janet.h");
    if !path.is_file() {
        return None;
    }
    // Paths in the metadata are read by build scripts that run in other folders.
    let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    println!("cargo::rerun-if-changed={}", folder.join("janet.h").display());
    Some(check_version(folder, &path))
}

fn check_version(folder: PathBuf, path: &Path) -> Result<Header, String> {
    let bytes = fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let define = |name: &str| {
        text.lines().find_map(|line| {
            let rest = line.strip_prefix("#define")?.trim_start().strip_prefix(name)?;
            let value = rest.strip_prefix(char::is_whitespace)?.trim();
            Some(value.trim_matches('"').to_owned())
        })
    };
    let number = |name: &str| define(name)?.parse::<u32>().ok();
    let (Some(major), Some(minor), Some(version)) =
        (number("JANET_VERSION_MAJOR"), number("JANET_VERSION_MINOR"), define("JANET_VERSION"))
    else {
        return Err(format!("{} does not state its version", path.display()));
    };
    if (major, minor) < OLDEST {
        return Err(format!(
            "{} belongs to Janet {version}, but Janet {}.{} or later is needed",
            path.display(),
            OLDEST.0,
            OLDEST.1
        ));
    }
    Ok(Header { folder, version })
}

/// The `janet` that the PATH finds.
struct Janet {
    program: PathBuf,
    version: String,
    syspath: PathBuf,
}

impl Janet {
    /// Where its header may be: an installation puts `bin/janet`, `lib/janet` (the syspath) and `include/janet`
    /// under one prefix, which is how jpm finds it too.
    fn folders(&self) -> Vec<PathBuf> {
        let real = fs::canonicalize(&self.program).unwrap_or_else(|_| self.program.clone());
        let prefixes = [
            self.syspath.parent().and_then(Path::parent),
            self.program.parent().and_then(Path::parent),
            real.parent().and_then(Path::parent),
        ];
        prefixes
            .into_iter()
            .flatten()
            .flat_map(|prefix| [prefix.join("include/janet"), prefix.join("include")])
            .collect()
    }
}

fn installed_janet() -> Option<Janet> {
    let program =
        env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join("janet")).find(|file| file.is_file())?;
    let said = output(Command::new(&program).args(["-e", "(print janet/version) (print (dyn :syspath))"]))?;
    let mut lines = said.lines();
    println!("cargo::rerun-if-changed={}", program.display());
    Some(Janet { program, version: lines.next()?.to_owned(), syspath: PathBuf::from(lines.next().unwrap_or_default()) })
}

fn pkg_config() -> Vec<PathBuf> {
    let tool = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
    let ask = |what: &str| output(Command::new(&tool).args([what, "janet"])).unwrap_or_default();
    let mut folders: Vec<PathBuf> = ask("--cflags-only-I")
        .split_whitespace()
        .filter_map(|flag| flag.strip_prefix("-I"))
        .map(PathBuf::from)
        .collect();
    // A folder that the C compiler searches anyway is left out of the flags.
    let include = ask("--variable=includedir");
    if !include.trim().is_empty() {
        let include = Path::new(include.trim());
        folders.extend([include.join("janet"), include.to_owned()]);
    }
    folders
}

/// What a command printed, if it could be run and succeeded.
fn output(command: &mut Command) -> Option<String> {
    let out = command.output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}
