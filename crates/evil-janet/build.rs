//! Finds the installed Janet's header and makes the bindings from it.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest Janet with the stream functions that a module needs: `janet_async_start_fiber`, `janet_stream_ext`,
/// `janet_stream_level_triggered`.
const OLDEST: (u32, u32) = (1, 36);

fn main() {
    println!("cargo::rerun-if-env-changed=JANET_HEADERPATH");
    println!("cargo::rerun-if-changed=build.rs");
    let made = find_header().and_then(|header| {
        generate(&header)?;
        Ok(header)
    });
    match made {
        Ok(header) => {
            println!("cargo::metadata=include={}", header.folder.display());
            println!("cargo::metadata=version={}", header.version);
        }
        // Fails the build by itself; a failing exit status would add the script's whole output.
        Err(message) => println!("cargo::error={message}"),
    }
}

/// A `janet.h` and what it says of itself.
struct Header {
    folder: PathBuf,
    version: String,
}

impl Header {
    fn path(&self) -> PathBuf {
        self.folder.join("janet.h")
    }
}

/// The header to build against: `JANET_HEADERPATH`, else the one that goes with the `janet` on the PATH, else
/// pkg-config's.
fn find_header() -> Result<Header, String> {
    if let Some(folder) = env::var_os("JANET_HEADERPATH").filter(|v| !v.is_empty()) {
        let folder = PathBuf::from(folder);
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
                return Err(format!("{why}; JANET_HEADERPATH names another folder with janet.h"));
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
        return Err(format!("{} does not say which version of Janet it is of", path.display()));
    };
    if (major, minor) < OLDEST {
        return Err(format!(
            "{} is of Janet {version}, but Janet {}.{} or later is needed",
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

fn generate(header: &Header) -> Result<(), String> {
    if let Err(why) = clang_sys::load() {
        let what = match env::consts::OS {
            "macos" => "xcode-select --install",
            "linux" => "apt-get install libclang-dev (Debian, Ubuntu)",
            _ => "your system's package of LLVM or clang",
        };
        let why = why.lines().next().unwrap_or_default();
        return Err(format!("libclang, which reads janet.h, was not found; install it with: {what} [{why}]"));
    }

    let ours = "^(janet|Janet|JANET|evil_janet_).*";
    // The bits are an expression that bindgen does not evaluate in every version, and the compiler does.
    let wrapper = "#include \"janet.h\"\nenum { evil_janet_config_bits = JANET_CURRENT_CONFIG_BITS };\n";
    bindgen::Builder::default()
        .header_contents("evil_janet.h", wrapper)
        .clang_arg(format!("-I{}", header.folder.display()))
        .use_core()
        .generate_cstr(true)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .allowlist_type(format!("{ours}|^FILE$"))
        .allowlist_function(format!("{ours}|^_?(set|long)jmp$"))
        .allowlist_var(ours)
        .blocklist_item("^JANET_CURRENT_CONFIG_BITS$")
        // Written in lib.rs with two fields only: janetrs makes one with those, and newer headers have a third.
        .blocklist_type("^JanetFile$")
        .raw_line("use super::JanetFile;")
        // lib.rs has the traits of a value: they call Janet.
        .no_debug("^Janet$")
        .no_hash("^Janet$")
        .no_partialeq("^Janet$")
        // A function that raises leaves by longjmp, and a callback may unwind.
        .override_abi(bindgen::Abi::CUnwind, ".*")
        .formatter(bindgen::Formatter::None)
        .generate()
        .map_err(|e| one_line(format!("cannot make bindings from {}: {e}", header.path().display())))?
        .write_to_file(Path::new(&env::var_os("OUT_DIR").unwrap_or_default()).join(OsStr::new("bindings.rs")))
        .map_err(|e| format!("cannot write the bindings: {e}"))
}

fn one_line(text: String) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
