//! Finding what there is for the route of a request, and opening it.

use janetrs::JanetString;
use kqnet_files::{Found, Refusal};
use kqnet_http1::coding::{Coding, accepted};
use kqnet_http1::path::RelativePath;

use super::folder::ServedFolder;
use super::{OpenFile, text};
use crate::value::describe;

/// What there is for a route.
pub enum Target {
    /// A file.
    File(OpenFile),
    /// A folder whose route has no slash at its end.
    Folder,
    /// Nothing that is served.
    Nothing,
    /// Something that may not be read.
    Forbidden,
    /// Something that cannot be opened now, since there is a shortage.
    Shortage,
}

impl ServedFolder {
    /// Opens what there is for a route.
    ///
    /// # Errors
    /// Returns an error if the file system fails.
    pub fn find(&self, route: &[u8]) -> Result<Target, String> {
        let Some(below) = route.strip_prefix(&self.prefix[..]) else { return Ok(Target::Nothing) };
        if below.is_empty() {
            return Ok(Target::Folder);
        }
        let Ok(path) = RelativePath::new(below) else { return Ok(Target::Nothing) };
        if !self.hidden && path.is_hidden() {
            return Ok(Target::Nothing);
        }
        if !path.is_directory() {
            return self.open(path.as_bytes());
        }
        let Some(index) = &self.index else { return Ok(Target::Nothing) };
        let path = if path.as_bytes().is_empty() { index.clone() } else { [path.as_bytes(), b"/", index].concat() };
        Ok(match self.open(&path)? {
            Target::Folder => Target::Nothing,
            found => found,
        })
    }

    /// Opens the precompressed copy of the file at a path that the client prefers to the file, by its Accept-Encoding.
    ///
    /// # Errors
    /// Returns an error if the file system fails.
    pub fn find_coded(&self, path: &[u8], accept_encoding: &[u8]) -> Result<Option<(OpenFile, Coding)>, String> {
        for coding in accepted(accept_encoding) {
            if let Target::File(file) = self.open(&[path, coding.suffix().as_bytes()].concat())? {
                return Ok(Some((file, coding)));
            }
        }
        Ok(None)
    }

    fn open(&self, path: &[u8]) -> Result<Target, String> {
        Ok(match self.folder.open(path) {
            Ok(Found::File(file, info)) => Target::File(OpenFile::new(file, path.to_vec(), info)),
            Ok(Found::Folder) => Target::Folder,
            Err(Refusal::Missing) => Target::Nothing,
            Err(Refusal::Forbidden) => Target::Forbidden,
            Err(Refusal::Shortage(_)) => Target::Shortage,
            Err(Refusal::Failed(why)) => {
                return Err(format!("cannot open {}: {}", describe(JanetString::new(path).into()), text(&why)));
            }
        })
    }
}
