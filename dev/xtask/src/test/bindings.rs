//! Whether the bindings fit every Janet, and a janet.h that they do not fit is refused in one line that says why.

use std::fs;
use std::path::Path;

use kqnet_hosts::{Result, VERSIONS};

use super::Plan;
use super::tally::Tally;
use crate::repo;

/// Settings under which a Janet can be built, as its janetconf.h has them, and which change what is compiled.
const SETTINGS: [(&str, &str); 3] = [
    ("", ""),
    ("without nanboxing", "#define JANET_NO_NANBOX\n"),
    ("on one thread", "#define JANET_SINGLE_THREADED\n"),
];

/// A change of the newest janet.h.
struct Change {
    what: &'static str,
    from: &'static str,
    to: &'static str,
    /// What the error says, if there is one.
    error: Option<&'static str>,
}

const CHANGES: [Change; 18] = [
    Change {
        what: "two fields in another order",
        from: "    int32_t count;\n    int32_t capacity;\n    Janet *data;",
        to: "    int32_t capacity;\n    int32_t count;\n    Janet *data;",
        error: Some("the field count of JanetArray differs"),
    },
    Change {
        what: "a field of another type",
        from: "    int32_t deleted;",
        to: "    uint32_t deleted;",
        error: Some("the field deleted of JanetTable differs"),
    },
    Change {
        what: "a field in the middle",
        from: "    uint32_t index;\n",
        to: "    uint32_t index;\n    void *more;\n",
        error: Some("the field read_fiber of JanetStream differs"),
    },
    Change {
        what: "a field at the end of a struct that Rust makes",
        from: "    const void *methods; /* Methods for this stream */\n",
        to: "    const void *methods;\n    void *more;\n",
        error: Some("the size of JanetStream differs"),
    },
    Change {
        what: "a field at the end of a struct that only Janet makes",
        from: "    void *supervisor_channel; /* Channel to push self to when complete */\n",
        to: "    void *supervisor_channel;\n    void *more;\n",
        error: None,
    },
    Change {
        what: "a missing field",
        from: "    uint32_t sched_id;",
        to: "    uint32_t other;",
        error: Some("has no member named 'sched_id'"),
    },
    Change {
        what: "a callback with another result",
        from: "    int32_t (*hash)(void *p, size_t len);",
        to: "    int64_t (*hash)(void *p, size_t len);",
        error: Some("the field hash of JanetAbstractType differs"),
    },
    Change {
        what: "another order of the types",
        from: "    JANET_NUMBER,\n    JANET_NIL,",
        to: "    JANET_NIL,\n    JANET_NUMBER,",
        error: Some("the constant JANET_NUMBER differs"),
    },
    Change {
        what: "another tag for a value's type",
        from: "((uint64_t)(type) | 0x1FFF0)",
        to: "((uint64_t)(type) | 0x1FFE0)",
        error: Some("the tag of a value differs"),
    },
    Change {
        what: "another place for the tag",
        from: "#define JANET_NANBOX_TAGBITS     0xFFFF800000000000llu",
        to: "#define JANET_NANBOX_TAGBITS     0xFFFF000000000000llu",
        error: Some("the place of the tag differs"),
    },
    Change {
        what: "another flag",
        from: "#define JANET_STREAM_WRITABLE 0x400",
        to: "#define JANET_STREAM_WRITABLE 0x4000",
        error: Some("the constant JANET_STREAM_WRITABLE differs"),
    },
    Change {
        what: "a function with another argument",
        from: "janet_array(int32_t capacity);",
        to: "janet_array(size_t capacity);",
        error: Some("the function janet_array differs"),
    },
    Change {
        what: "a function with one argument more",
        from: "janet_array_push(JanetArray *array, Janet x);",
        to: "janet_array_push(JanetArray *array, Janet x, int y);",
        error: Some("the function janet_array_push differs"),
    },
    Change {
        what: "a function with another result",
        from: "JANET_API int janet_truthy(Janet x);",
        to: "JANET_API int64_t janet_truthy(Janet x);",
        error: Some("the function janet_truthy differs"),
    },
    Change {
        what: "a missing function",
        from: "janet_thunk_delay(Janet x);",
        to: "janet_thunk_later(Janet x);",
        error: Some("'janet_thunk_delay' undeclared"),
    },
    Change {
        what: "a Janet without its event loop",
        from: "#define JANET_VERSION_MAJOR",
        to: "#define JANET_NO_EV\n#define JANET_VERSION_MAJOR",
        error: Some("this Janet was built without its event loop or its network functions"),
    },
    Change {
        what: "a header that is missing",
        from: "#include <stdio.h>",
        to: "#include <no-such-header.h>",
        error: Some("no-such-header.h: No such file or directory"),
    },
    Change {
        what: "a Janet that is too old",
        from: "#define JANET_VERSION_MINOR 42",
        to: "#define JANET_VERSION_MINOR 35",
        error: Some("but Janet 1.36 or later is needed"),
    },
];

/// What users have in CFLAGS: a compiler that stops at the first error, and a C without assertions.
const FLAGS: [&str; 2] = ["-Wfatal-errors", "-std=c89"];

/// The check.
pub fn tests(plan: &Plan) -> Result<Tally> {
    let mut total = Tally::default();
    if !plan.includes("bindings") {
        return Ok(total);
    }
    let folder = repo::target().join("bindings");
    for version in VERSIONS {
        let header = header(version)?;
        for (what, settings) in SETTINGS {
            total += verdict(&format!("{version} {what}"), build(&folder, &header, settings, "")?, None);
        }
    }
    let newest = header(VERSIONS.last().ok_or("there is no version")?)?;
    for flags in FLAGS {
        total += verdict(&format!("CFLAGS={flags}"), build(&folder, &newest, "", flags)?, None);
    }
    for change in CHANGES {
        let changed = newest.replacen(change.from, change.to, 1);
        if changed == newest {
            return Err(format!("the newest janet.h has no text {:?}", change.from));
        }
        total += verdict(change.what, build(&folder, &changed, "", "")?, change.error);
    }
    Ok(total)
}

fn header(version: &str) -> Result<String> {
    let path = kqnet_hosts::source(version)?.join("janet.h");
    fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

/// Builds the bindings with a header. Returns the errors, as cargo has them.
fn build(folder: &Path, header: &str, settings: &str, flags: &str) -> Result<Vec<String>> {
    let include = folder.join("include");
    fs::create_dir_all(&include).map_err(|e| format!("cannot make {}: {e}", include.display()))?;
    for (name, text) in [("janet.h", header), ("janetconf.h", settings)] {
        let path = include.join(name);
        fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    let out = repo::cargo()
        .args(["check", "--quiet", "--package", "evil-janet"])
        .env("CARGO_TARGET_DIR", folder)
        .env("JANET_HEADERPATH", &include)
        .env("CFLAGS", flags)
        .output()
        .map_err(|e| format!("cannot run cargo: {e}"))?;
    let said = String::from_utf8_lossy(&out.stderr);
    // The last of cargo's own says that a build script has failed.
    let errors = said.lines().filter(|line| *line != "error: build script logged errors");
    let errors: Vec<String> = errors.map(str::to_owned).collect();
    match (out.status.success(), errors.is_empty()) {
        (true, _) => Ok(Vec::new()),
        (false, true) => Ok(vec!["it fails and says nothing".to_owned()]),
        (false, false) => Ok(errors),
    }
}

fn verdict(what: &str, errors: Vec<String>, expected: Option<&str>) -> Tally {
    let good = match (&errors[..], expected) {
        ([], None) => true,
        ([error], Some(expected)) => plain(error).contains(expected),
        _ => false,
    };
    eprintln!("{}  bindings {}", if good { "ok  " } else { "FAIL" }, what.trim_end());
    if good {
        return Tally::PASS;
    }
    for error in errors {
        eprintln!("      {error}");
    }
    eprintln!("      expected: {}", expected.unwrap_or("no error"));
    Tally::FAIL
}

/// With the compiler's quotation marks made plain.
fn plain(text: &str) -> String {
    text.replace(['‘', '’'], "'")
}
