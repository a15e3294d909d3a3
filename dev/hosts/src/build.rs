//! Compiles an interpreter, unless that is not needed.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::files::{copy, failed, remove, write, write_script};
use crate::host::Host;
use crate::lock::Lock;
use crate::{Result, emulation, source};

const MAIN: &str = include_str!("host.c");

/// The format of a host's folder. The number is raised when the format changes, so that older hosts are built again.
const FORMAT: u32 = 3;

/// The file name of the emulation's library, in the folder lib.
const EMULATION: &str = "libkqueue_emu.so";

/// The C compiler for Linux on arm64.
pub const ARM64_COMPILER: &str = "aarch64-linux-gnu-gcc";
/// The program that runs what that compiler made.
pub const ARM64_EMULATOR: &str = "qemu-aarch64";
/// The folder that holds `lib` and `include` for Linux on arm64.
pub const ARM64_LIBRARIES: &str = "/usr/aarch64-linux-gnu";

/// The folder, in the interpreter's own, in which it looks for installed modules.
const MODULES: &str = "lib/janet";

/// An interpreter that was built.
#[derive(Clone, Debug)]
pub struct Built {
    pub(crate) folder: PathBuf,
    pub(crate) kernel: Option<&'static str>,
}

impl Built {
    /// The same interpreter, which imitates another kernel when it starts.
    pub fn as_kernel(&self, kernel: Option<&'static str>) -> Built {
        Built { kernel, ..self.clone() }
    }

    /// The path of the program.
    pub fn janet(&self) -> PathBuf {
        match self.kernel {
            Some(kernel) => self.folder.join(format!("bin/janet-{kernel}")),
            None => self.folder.join("bin/janet"),
        }
    }

    /// The folder of its `janet.h`.
    pub fn headers(&self) -> PathBuf {
        self.folder.join("include/janet")
    }
}

impl Host {
    /// Builds the interpreter under `target/hosts`, unless it is there and nothing that it is made of has changed.
    /// Reports its progress on standard error.
    ///
    /// # Errors
    /// Returns a message that says which step failed.
    pub fn build(&self, target: &Path) -> Result<Built> {
        let hosts = target.join("hosts");
        let name = self.build_name();
        let folder = hosts.join(&name);
        fs::create_dir_all(&hosts).map_err(|e| failed("make", &hosts, e))?;
        // Held until this returns, so that two commands that need the same host build it once.
        let _lock = Lock::wait(&hosts.join(format!(".{name}.lock")))?;

        let recipe = Recipe::new(self, &folder, target)?;
        let stamp = recipe.stamp();
        let stamp_path = folder.join("stamp");
        if fs::read_to_string(&stamp_path).is_ok_and(|old| old == stamp) {
            recipe.place_emulation(&folder)?;
            return Ok(Built { folder, kernel: self.kernel });
        }

        eprintln!("building Janet {name}");
        let start = Instant::now();
        let new = hosts.join(format!(".{name}.new"));
        remove(&new)?;
        recipe.make(&new)?;
        write(&new.join("stamp"), &stamp)?;
        remove(&folder)?;
        fs::rename(&new, &folder).map_err(|e| failed("rename", &new, e))?;
        eprintln!("built Janet {name} in {:.0} s", start.elapsed().as_secs_f64());
        Ok(Built { folder, kernel: self.kernel })
    }
}

/// The C compiler to use: `$CC`, or the first that is on the PATH.
pub fn compiler() -> Option<String> {
    if let Ok(cc) = env::var("CC") {
        return Some(cc);
    }
    let path = env::var_os("PATH")?;
    ["cc", "gcc", "clang"]
        .into_iter()
        .find(|name| env::split_paths(&path).any(|folder| folder.join(name).is_file()))
        .map(str::to_owned)
}

/// Everything that a host is made from.
struct Recipe {
    /// Its final folder, in which the interpreter looks for installed modules.
    folder: PathBuf,
    source: PathBuf,
    header: String,
    cc: String,
    flags: Vec<String>,
    /// The shared library of the emulated kqueue, if the host needs it.
    emulation: Option<PathBuf>,
    /// Whether the host is for arm64.
    arm64: bool,
}

impl Recipe {
    fn new(host: &Host, folder: &Path, target: &Path) -> Result<Self> {
        let source = source::fetch(host.version)?;
        let header = header(host, &source)?;
        let cc = if host.arm64 {
            ARM64_COMPILER.to_owned()
        } else {
            compiler().ok_or("no C compiler was found: set CC, or install gcc or clang")?
        };
        let mut flags: Vec<String> = ["-std=c99", "-g1", "-fPIC"].map(str::to_owned).to_vec();
        if host.asan {
            flags.extend(["-O1", "-fsanitize=address", "-fno-omit-frame-pointer"].map(str::to_owned));
        } else {
            flags.push("-O2".to_owned());
        }
        // The folder's final name, under which the interpreter will run.
        flags.push(format!("-DHOST_SYSPATH=\"{}\"", folder.join(MODULES).display()));
        let emulation = if host.event_loop.is_emulated() { Some(emulation::library(target)?) } else { None };
        if emulation.is_some() {
            flags.push(format!("-I{}", emulation::headers().display()));
        }
        Ok(Recipe { folder: folder.to_owned(), source, header, cc, flags, emulation, arm64: host.arm64 })
    }

    /// A text that changes when anything changes that the host is made from.
    fn stamp(&self) -> String {
        let mut hash = DefaultHasher::new();
        // The name of the source's folder has the version, and cargo checks what is in it.
        (FORMAT, &self.folder, &self.source, &self.header, MAIN, &self.cc, &self.flags).hash(&mut hash);
        self.arm64.then(arm64_starter).hash(&mut hash);
        if self.emulation.is_some() {
            fs::read(emulation::headers().join("sys/event.h")).unwrap_or_default().hash(&mut hash);
        }
        format!("{:016x}\n", hash.finish())
    }

    /// Compiles into `new`, which will be renamed to the host's folder.
    fn make(&self, new: &Path) -> Result<()> {
        let include = new.join("include/janet");
        let (bin, lib, work) = (new.join("bin"), new.join("lib"), new.join("build"));
        for folder in [&include, &bin, &new.join(MODULES), &work] {
            fs::create_dir_all(folder).map_err(|e| failed("make", folder, e))?;
        }
        write(&include.join("janet.h"), &self.header)?;
        // Where janet-pm looks for it.
        let link = new.join("include/janet.h");
        symlink("janet/janet.h", &link).map_err(|e| failed("make", &link, e))?;
        write(&work.join("host.c"), MAIN)?;
        // Compiled from a copy: janet.c would include the janet.h beside it, and not the one with the settings.
        copy(&self.source.join("janet.c"), &work.join("janet.c"))?;

        let object = work.join("janet.o");
        run(self.compiler().arg("-I").arg(&include).arg("-c").arg(work.join("janet.c")).arg("-o").arg(&object))?;
        // For executables that have Janet in them, as an installed Janet has it.
        run(Command::new("ar").arg("rcs").arg(lib.join("libjanet.a")).arg(&object))?;

        let mut command = self.compiler();
        command
            .arg("-I")
            .arg(&include)
            .args([work.join("host.c"), object])
            .arg("-o")
            .arg(bin.join(if self.arm64 { "janet.arm64" } else { "janet" }))
            // A module gets Janet's functions from the program that loads it.
            .args(["-rdynamic", "-lm", "-lpthread"]);
        if cfg!(target_os = "linux") {
            command.arg("-ldl");
        }
        if self.arm64 {
            write_script(&bin.join("janet"), &arm64_starter())?;
        }
        if self.emulation.is_some() {
            self.place_emulation(new)?;
            emulation::write_starters(&bin)?;
            // A module finds kqueue() in the program too, so that both share one instance. The library is found by
            // RPATH and not by RUNPATH: cargo run sets LD_LIBRARY_PATH, to a folder that may have another build of the
            // library.
            command.arg("-L").arg(&lib).args([
                "-Wl,--no-as-needed",
                "-lkqueue_emu",
                "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../lib",
            ]);
        }
        run(&mut command)?;
        remove(&work)
    }

    /// The C compiler with the flags that all parts of a host have.
    fn compiler(&self) -> Command {
        let mut words = self.cc.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or("cc"));
        command.args(words).args(&self.flags);
        command
    }

    /// Puts a copy of the emulation's library into `folder`, where the interpreter finds it when it starts. Never
    /// writes into the old file, which a running program may have mapped.
    fn place_emulation(&self, folder: &Path) -> Result<()> {
        let Some(library) = &self.emulation else { return Ok(()) };
        let place = folder.join("lib").join(EMULATION);
        let content = fs::read(library).map_err(|e| failed("read", library, e))?;
        if fs::read(&place).is_ok_and(|old| old == content) {
            return Ok(());
        }
        let new = place.with_extension("new");
        fs::write(&new, content).map_err(|e| failed("write", &new, e))?;
        fs::rename(&new, &place).map_err(|e| failed("rename", &new, e))
    }
}

/// The script `janet` that runs the interpreter for arm64 in the emulator. The interpreter takes the script's name for
/// its own, so programs that start the interpreter again start the script.
fn arm64_starter() -> String {
    format!("#!/bin/sh\nexec {ARM64_EMULATOR} -L {ARM64_LIBRARIES} -0 \"$0\" \"${{0%/*}}/janet.arm64\" \"$@\"\n")
}

/// Janet's header, after the host's settings. Bindings and C code that are made from it then match the host.
fn header(host: &Host, source: &Path) -> Result<String> {
    let path = source.join("janet.h");
    let text = fs::read_to_string(&path).map_err(|e| failed("read", &path, e))?;
    let mut header = String::new();
    for define in host.defines() {
        header += &format!("#ifndef {define}\n#define {define}\n#endif\n");
    }
    Ok(header + &text)
}

/// Runs a command to its end, and shows its errors if it fails.
fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.output().map_err(|e| format!("cannot run {name}: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    eprint!("{}", String::from_utf8_lossy(&out.stderr));
    Err(format!("{name} failed on Janet ({})", out.status))
}
