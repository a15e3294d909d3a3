//! The file with the number of a supervisor.

use std::path::Path;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_files::{NotClaimed, PidFile};

use crate::abstract_type::{AbstractType, NOTHING};
use crate::boundary::{Function, Outcome, native};
use crate::collected::{self, Collected, drop_collected};
use crate::files;
use crate::value::{arg, c_string};

/// The functions of this file that Janet code calls.
pub const FUNCTIONS: &[Function] = &[
    native!("claim-pid-file", "path", claim, c::JANET_SANDBOX_FS_WRITE),
    native!("remove-pid-file", "file", remove, c::JANET_SANDBOX_FS_WRITE),
];

/// The file stays claimed until the value is collected.
struct Claimed(PidFile);

static CLAIMED: AbstractType = AbstractType(c::JanetAbstractType {
    name: c"kqnet/pid-file".as_ptr(),
    gc: Some(drop_collected::<Claimed>),
    ..NOTHING
});

// SAFETY: values of the type are only made in this file, and its `gc` function is `drop_collected` for it.
unsafe impl Collected for Claimed {
    fn janet_type() -> &'static AbstractType {
        &CLAIMED
    }
}

/// Writes the number of this process to a file.
fn claim(args: &[Janet]) -> Result<Outcome, String> {
    let path = c_string("the path of a file", arg(args, 0))?;
    let path = path.to_string_lossy();
    let file = PidFile::claim(Path::new(&*path)).map_err(|why| {
        let why = match &why {
            NotClaimed::System(why) => files::text(why),
            other => other.to_string(),
        };
        format!("cannot write the process id to {path}: {why}")
    })?;
    Ok(Outcome::Value(collected::wrap(collected::make(Claimed(file)))))
}

/// Removes the file, if it is still this process's own.
fn remove(args: &[Janet]) -> Result<Outcome, String> {
    collected::first::<Claimed>(args, "a file that was claimed")?.0.remove();
    Ok(Outcome::Value(Janet::nil()))
}
