//! Makes the response that serves a file.

use std::borrow::Cow;

use kqnet_http1::coding::Coding;

use super::OpenFile;
use super::answer::Answer;
use super::folder::{CacheControl, ServedFolder};
use super::request_headers::{RequestHeaders, joined};
use super::response::Response;
use crate::common_strings::new_string;
use crate::file_responses::Headers;
use crate::value::tuple;
use crate::vm::Vm;

/// Makes the response to GET or HEAD for an open file. If a function decides on Cache-Control, and the response is no error,
/// returns a tuple of the response and the path that the function is given.
///
/// # Errors
/// Returns an error if the file, or a precompressed copy of it, cannot be opened or read.
pub fn serve(
    vm: &Vm,
    folder: &ServedFolder,
    request: &RequestHeaders,
    is_get: bool,
    original: OpenFile,
) -> Result<Response, String> {
    let content_type = folder.types.of(original.path());
    // A function is given the path of the original.
    let path = match folder.cache_control {
        CacheControl::Function => Some([b"/", original.path()].concat()),
        _ => None,
    };
    let (file, coding) = if folder.precompressed { in_coding(folder, request, original)? } else { (original, None) };
    let known = folder.validators(&file)?;
    let tag = match coding {
        Some(coding) => [known.tag.trim_end_matches('"'), "-", coding.name(), "\""].concat().into(),
        None => Cow::from(&known.tag),
    };
    let size = file.info.size;
    let answer = Answer::new(request, is_get, &known, tag.as_bytes(), size);

    let made = &vm.file_responses;
    let has_content = answer.has_content();
    // SAFETY: the VM holds the names, the rest is new, and nothing collects garbage before the response is returned.
    unsafe {
        let headers = made.headers(
            &vm.spare_tables,
            &Headers {
                etag: tag.as_bytes(),
                last_modified: known.last_modified,
                content_type: has_content.then_some(content_type),
                content_length: has_content.then_some(answer.length),
            },
        );
        let add = |name, value: &[u8]| made.add(headers, name, value);
        if folder.precompressed {
            add(made.rare.vary, b"Accept-Encoding");
        }
        if let Some(coding) = coding.filter(|_| has_content) {
            add(made.rare.content_encoding, coding.name().as_bytes());
        }
        if let Some(range) = answer.content_range(size) {
            add(made.rare.content_range, range.as_bytes());
        }
        // A 304 has it too (RFC 9110, 15.4.5).
        let is_error = answer.status >= 400;
        match &folder.cache_control {
            CacheControl::Value(value) if !is_error => add(made.rare.cache_control, value),
            _ => {}
        }
        let (body, opened) = if has_content && is_get {
            let (body, opened) = file.into_body(answer.first, answer.length)?;
            (Some(body.into()), opened)
        } else {
            (None, None)
        };
        let response = made.response(&vm.spare_tables, answer.status, headers, body);
        Ok(match path.filter(|_| !is_error) {
            Some(path) => (tuple(&[response, new_string(&path).into()]), opened),
            None => (response, opened),
        })
    }
}

/// The precompressed copy of a file that the client prefers, and its coding, or the file itself.
fn in_coding(
    folder: &ServedFolder,
    request: &RequestHeaders,
    original: OpenFile,
) -> Result<(OpenFile, Option<Coding>), String> {
    let accepted = joined(&request.accept_encoding).unwrap_or_default();
    Ok(match folder.find_coded(original.path(), &accepted)? {
        Some((file, coding)) => (file, Some(coding)),
        None => (original, None),
    })
}
