//! Folders whose files are served, and how they are served.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

use janetrs::Janet;
use janetrs::lowlevel as c;
use kqnet_files::{Folder, Validators};

use super::content_types::ContentTypes;
use super::{OpenFile, text};
use crate::abstract_type::{AbstractType, NOTHING};
use crate::boundary::{Function, Outcome, native};
use crate::collected::{self, Collected, drop_collected};
use crate::options::Options;
use crate::value::{arg, bytes, describe};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[native!("folder", "path options", folder, c::JANET_SANDBOX_FS_READ)];

/// A folder, and how its files are served. Nothing in it belongs to a VM, since threads may share it.
pub struct ServedFolder {
    pub folder: Folder,
    /// What the routes of its files begin with.
    pub prefix: Vec<u8>,
    /// The name of the file that is served for a folder.
    pub index: Option<Vec<u8>>,
    /// Whether names that begin with a dot are served.
    pub hidden: bool,
    /// Whether there is no handler after it, so that other methods than GET and HEAD are refused.
    pub is_last: bool,
    /// Whether precompressed copies of files are sent.
    pub precompressed: bool,
    /// The content types of its files.
    pub types: ContentTypes,
    /// What Cache-Control says of its files.
    pub cache_control: CacheControl,
}

/// What the header Cache-Control says.
pub enum CacheControl {
    /// There is no such header.
    None,
    /// It is the same for all files.
    Value(Vec<u8>),
    /// A Janet function decides for each file.
    Function,
}

static FOLDER: AbstractType = AbstractType(c::JanetAbstractType {
    name: c"kqnet/folder".as_ptr(),
    gc: Some(drop_collected::<ServedFolder>),
    ..NOTHING
});

// SAFETY: only `folder` makes values of this Janet type, and they are dropped as a `ServedFolder`.
unsafe impl Collected for ServedFolder {
    fn janet_type() -> &'static AbstractType {
        &FOLDER
    }
}

/// The folder in a value.
///
/// # Errors
/// Returns an error that says what the value is, if it is not a folder.
pub fn get(value: &Janet) -> Result<&ServedFolder, String> {
    collected::expect(value, "a folder")
}

/// `(native/folder path options)`: Returns a folder whose files are served. The options are those of `kqnet/http/static`, and
/// `:last`, which is true if there is no next handler.
fn folder(args: &[Janet]) -> Result<Outcome, String> {
    let (value, options) = (arg(args, 0), Options::new(arg(args, 1))?);
    let path = bytes(&value).ok_or_else(|| format!("a folder's path must be a string, got {}", describe(value)))?;
    let folder = Folder::new(OsStr::from_bytes(path).as_ref(), options.is_true("symlinks"))
        .map_err(|why| format!("cannot open the folder {}: {}", describe(value), text(&why)))?;
    let option = |name| bytes(&options.get(name)).map(<[u8]>::to_vec);
    let served = ServedFolder {
        folder,
        prefix: option("prefix").unwrap_or_default(),
        index: option("index"),
        is_last: options.is_true("last"),
        hidden: options.is_true("hidden"),
        precompressed: options.is_true("precompressed"),
        types: ContentTypes::new(options.get("types"))?,
        cache_control: match option("cache-control") {
            Some(value) => CacheControl::Value(value),
            None if options.is_true("cache-control") => CacheControl::Function,
            None => CacheControl::None,
        },
    };
    // A handler that is given to another thread may take the folder with it.
    Ok(Outcome::Value(collected::wrap(collected::make_shared(served))))
}

impl ServedFolder {
    /// What tells an open file of this folder from its other versions.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub fn validators(&self, file: &OpenFile) -> Result<Validators, String> {
        let handle = file.remaining()?.file;
        self.folder.validators(handle, &file.info, SystemTime::now()).map_err(|why| file.unreadable(&why))
    }
}
