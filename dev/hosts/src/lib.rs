//! Janet interpreters built from source, in several versions, with several event loops and value layouts.
//!
//! A module is tested against the Janets that people have, and a machine rarely has more than one. The sources come
//! through cargo: the published `evil-janet` crates carry Janet's amalgamated source.
//!
//! - `host`: which interpreters there are, and their names.
//! - `source`: fetches Janet's source. `emulation`: the emulated kqueue that a host on Linux can be linked with.
//! - `build`: compiles an interpreter. `lock`: a lock between processes, so that each is built once.
//! - `files`: writing files.

mod build;
mod emulation;
mod files;
mod host;
mod lock;
mod source;

pub use build::{ARM64_COMPILER, ARM64_EMULATOR, ARM64_LIBRARIES, Built, compiler};
pub use host::{Host, KERNELS, Loop, VERSIONS};
pub use lock::Lock;
pub use source::fetch as source;

/// The result of a step. An error is one line that says what to do.
pub type Result<T> = std::result::Result<T, String>;
