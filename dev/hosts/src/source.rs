//! Fetches the source of a Janet version, through cargo.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::Result;

/// Returns the folder with the `janet.c` and `janet.h` of a version.
///
/// # Errors
/// Returns a message that says why the source cannot be fetched.
pub fn fetch(version: &str) -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("janet").join(version).join("Cargo.toml");
    let metadata = ["metadata", "--format-version", "1", "--offline"];
    let mut out = cargo(&manifest, &metadata)?;
    if !out.status.success() {
        eprintln!("fetching the source of Janet {version}");
        let fetched = cargo(&manifest, &["fetch", "--quiet"])?;
        if !fetched.status.success() {
            return Err(format!(
                "cannot fetch the source of Janet {version} (the crate evil-janet {version}): {}",
                complaint(&fetched)
            ));
        }
        out = cargo(&manifest, &metadata)?;
    }
    let text = String::from_utf8_lossy(&out.stdout);
    let folder = manifest_path(&text, version).map(|path| path.with_file_name("csrc"));
    match folder {
        Some(folder) if folder.join("janet.c").is_file() && folder.join("janet.h").is_file() => Ok(folder),
        _ => Err(format!("cargo metadata names no folder with the source of Janet {version}: {}", complaint(&out))),
    }
}

fn cargo(manifest: &Path, arguments: &[&str]) -> Result<Output> {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(arguments)
        .arg("--locked")
        .arg("--manifest-path")
        .arg(manifest)
        .output()
        .map_err(|e| format!("cannot run cargo: {e}"))
}

/// The manifest of the crate with the source, as `cargo metadata` tells it.
fn manifest_path(metadata: &str, version: &str) -> Option<PathBuf> {
    let end = format!("/evil-janet-{version}/Cargo.toml");
    metadata
        .split("\"manifest_path\":\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .find(|path| path.ends_with(&end))
        .map(PathBuf::from)
}

/// What cargo printed as an error, in one line.
fn complaint(out: &Output) -> String {
    let text = String::from_utf8_lossy(&out.stderr);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_folder_of_the_version_asked_for() {
        let text = r#"{"packages":[{"manifest_path":"/c/evil-janet-1.36.0/Cargo.toml"},
            {"manifest_path":"/c/evil-janet-1.37.1/Cargo.toml","x":1}]}"#;
        assert_eq!(manifest_path(text, "1.37.1"), Some(PathBuf::from("/c/evil-janet-1.37.1/Cargo.toml")));
        assert_eq!(manifest_path(text, "1.41.2"), None);
    }
}
