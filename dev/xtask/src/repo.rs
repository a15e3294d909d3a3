//! Where things are in the repository.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's folder.
pub fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own)
}

/// The folder for everything that is built, which may be deleted at any time.
pub fn target() -> PathBuf {
    root().join("target")
}

/// A command of cargo that works on the repository.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}
