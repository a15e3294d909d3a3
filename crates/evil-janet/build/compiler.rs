//! Asks the C compiler about janet.h. It only compiles, so that this works for another system too.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What differs between Janets.
pub struct Facts {
    /// The values of the macros that were asked for.
    pub numbers: Vec<u32>,
    /// The names whose conditions hold.
    pub cfgs: Vec<&'static str>,
}

/// The compiler that compiles C for the target, and the folder with janet.h.
pub struct Compiler {
    tool: cc::Tool,
    include: PathBuf,
}

impl Compiler {
    pub fn find(include: &Path) -> Result<Self, String> {
        let tool = cc::Build::new().warnings(false).try_get_compiler().map_err(|e| one_line(&e.to_string()))?;
        Ok(Self { tool, include: include.to_owned() })
    }

    /// Looks up numbers and conditions. Each bit that is set fails an assertion whose message names it, which needs
    /// no program to be run; `check` compares the numbers with the header again.
    pub fn facts(&self, numbers: &[&str], cfgs: &[(&'static str, &str)]) -> Result<Facts, String> {
        let mut text = String::from("#include <janet.h>\n");
        for name in numbers {
            for bit in 0..32 {
                text += &format!("_Static_assert(!((({name}) >> {bit}) & 1), \"kqnet fact {name} {bit}.\");\n");
            }
        }
        for (name, condition) in cfgs {
            text += &format!("#if {condition}\n_Static_assert(0, \"kqnet fact {name}.\");\n#endif\n");
        }
        let said = self.compile("facts.c", &text)?.unwrap_or_default();
        // The header itself did not compile.
        if let Some(other) = errors(&said).find(|line| !line.contains("kqnet fact ")) {
            return Err(format!("the C compiler cannot read {}: {other}", self.include.join("janet.h").display()));
        }
        let has = |fact: String| errors(&said).any(|line| line.contains(&format!("kqnet fact {fact}.")));
        Ok(Facts {
            numbers: numbers
                .iter()
                .map(|name| (0..32).filter(|bit| has(format!("{name} {bit}"))).fold(0, |sum, bit| sum | 1 << bit))
                .collect(),
            cfgs: cfgs.iter().map(|(name, _)| *name).filter(|name| has((*name).to_owned())).collect(),
        })
    }

    /// Compiles a text of assertions. The error is what failed first.
    pub fn check(&self, text: &str) -> Result<(), String> {
        let said = self.compile("check.c", text)?;
        let Some(first) = said.as_deref().and_then(|said| errors(said).next()) else { return Ok(()) };
        // The text between the two markers says what differs.
        match first.split_once("kqnet: ").and_then(|(_, rest)| rest.split_once('.')) {
            Some((what, _)) => Err(format!("{what} differs")),
            None => Err(first.to_owned()),
        }
    }

    /// Compiles a text, and returns what the compiler says if there are errors.
    fn compile(&self, name: &str, text: &str) -> Result<Option<String>, String> {
        let path = Path::new(&env::var_os("OUT_DIR").unwrap_or_default()).join(name);
        fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        let mut command = self.tool.to_command();
        command.args(["-w", "-I"]).arg(&self.include).arg("-c").arg(&path).arg("-o").arg(path.with_extension("o"));
        command.env("LC_ALL", "C");
        // These come after the user's CFLAGS, which may stop at the first error or choose a C without assertions.
        command.args(["-std=gnu11", "-Wno-fatal-errors"]);
        // clang stops after 20 errors otherwise.
        command.arg(if self.tool.is_like_clang() { "-ferror-limit=0" } else { "-fmax-errors=0" });
        let out = command.output().map_err(|e| self.cannot_run(&e))?;
        if out.status.success() {
            return Ok(None);
        }
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        if errors(&said).next().is_none() {
            return Err(format!("{} failed: {}", self.tool.path().display(), one_line(&said)));
        }
        Ok(Some(said))
    }

    fn cannot_run(&self, why: &std::io::Error) -> String {
        let compiler = self.tool.path().display();
        if why.kind() != ErrorKind::NotFound {
            return format!("cannot run the C compiler {compiler}: {why}");
        }
        let what = match env::consts::OS {
            "macos" => "xcode-select --install",
            "linux" => "apt-get install gcc libc6-dev (Debian, Ubuntu)",
            _ => "your system's package of gcc or clang, or set CC",
        };
        format!("no C compiler was found ({compiler}); install one with: {what}")
    }
}

/// The lines of a compiler's output that are errors, without the place in the text.
fn errors(said: &str) -> impl Iterator<Item = &str> {
    said.lines().filter_map(|line| line.split_once("error: ")).map(|(_, what)| what.trim())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
