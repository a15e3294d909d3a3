//! The emulated kqueue that a host on Linux can be linked with.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::files::write_script;
use crate::host::KERNELS;

/// The folder of `sys/event.h`.
pub fn headers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../kqueue-emu/include")
}

/// Builds the shared library. Cargo does nothing if it is up to date.
pub fn library(target: &Path) -> Result<PathBuf> {
    let folder = target.join("kqueue-emu");
    let out = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--package", "kqueue-emu", "--lib"])
        .env("CARGO_TARGET_DIR", &folder)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .map_err(|e| format!("cannot run cargo: {e}"))?;
    if !out.status.success() {
        eprint!("{}", String::from_utf8_lossy(&out.stderr));
        return Err("the kqueue emulation does not build: see above".to_owned());
    }
    Ok(folder.join("release/libkqueue_emu.so"))
}

/// Writes a script `janet-KERNEL` for each kernel, beside `janet`.
pub fn write_starters(bin: &Path) -> Result<()> {
    for kernel in KERNELS {
        let path = bin.join(format!("janet-{kernel}"));
        let script = format!("#!/bin/sh\nKQUEUE_EMU_KERNEL={kernel} exec \"$(dirname \"$0\")/janet\" \"$@\"\n");
        write_script(&path, &script)?;
    }
    Ok(())
}
