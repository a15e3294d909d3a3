//! Finds the installed Janet's header, and has the C compiler compare it with the bindings.

mod check;
mod compiler;
mod header;

use std::path::Path;
use std::{env, fs};

use compiler::Compiler;
use header::Header;

/// The file that is compared.
const BINDINGS: &str = "src/bindings.rs";
/// Macros whose values the bindings take from the header.
const NUMBERS: [&str; 5] = [
    "JANET_VERSION_MAJOR",
    "JANET_VERSION_MINOR",
    "JANET_VERSION_PATCH",
    "JANET_CURRENT_CONFIG_BITS",
    "JANET_MAX_PROTO_DEPTH",
];
/// The names for `#[cfg(NAME)]` in the bindings, and the preprocessor's condition for each.
const CFGS: [(&str, &str); 5] = [
    ("nanbox_64", "defined(JANET_NANBOX_64)"),
    ("nanbox_32", "defined(JANET_NANBOX_32)"),
    ("no_nanbox", "!defined(JANET_NANBOX_64) && !defined(JANET_NANBOX_32)"),
    // Pointers are shifted where they may have more than 47 bits.
    (
        "inlined",
        "defined(JANET_NANBOX_64) && (!defined(JANET_NANBOX_64_POINTER_SHIFT) || !JANET_NANBOX_64_POINTER_SHIFT)",
    ),
    ("gcperthread", "defined(JANET_ATEND_GCPERTHREAD)"),
];

fn main() {
    println!("cargo::rerun-if-env-changed=JANET_HEADERPATH");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed={BINDINGS}");
    for (name, _) in CFGS {
        println!("cargo::rustc-check-cfg=cfg({name})");
    }
    let made = header::find().and_then(|header| {
        bind(&header)?;
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

/// Takes from the header what differs between Janets, and compares all the rest with it.
fn bind(header: &Header) -> Result<(), String> {
    let compiler = Compiler::find(&header.folder)?;
    let facts = compiler.facts(&NUMBERS, &CFGS)?;
    let mut bindings = fs::read_to_string(BINDINGS).map_err(|e| format!("cannot read {BINDINGS}: {e}"))?;
    let mut numbers = String::new();
    for (name, value) in NUMBERS.iter().zip(&facts.numbers) {
        numbers += &format!("pub const {name}: u32 = {value};\n");
    }
    let out = env::var_os("OUT_DIR").unwrap_or_default();
    fs::write(Path::new(&out).join("numbers.rs"), &numbers).map_err(|e| format!("cannot write numbers.rs: {e}"))?;

    bindings += &numbers;
    let text = check::program(&bindings, &facts.cfgs).map_err(|why| format!("{BINDINGS}: {why}"))?;
    compiler.check(&text).map_err(|why| {
        format!(
            "janet.h of Janet {} in {} is not as kqnet expects: {why}; a newer kqnet may know this Janet, else report this \
             (docs/troubleshooting.md)",
            header.version,
            header.folder.display()
        )
    })?;
    for name in facts.cfgs {
        println!("cargo::rustc-cfg={name}");
    }
    Ok(())
}
