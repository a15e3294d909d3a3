//! Reading what a handler returned: the status, the headers and the body of a response.

use std::ffi::CStr;

use janetrs::lowlevel as c;
use janetrs::{Janet, TaggedJanet};

use crate::keys::Keys;
use crate::value::{bytes, describe, elements, has_prototype, integer, look_up, slots};

/// Takes a header's name and value.
type EachHeader<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), String> + 'a;

/// What a response has under the keys that the server looks at. Nil where it has nothing.
#[allow(missing_docs)]
pub struct Fields {
    pub status: Janet,
    pub headers: Janet,
    pub body: Janet,
    pub detached: Janet,
}

impl Fields {
    /// Looks a response's keys up.
    ///
    /// # Errors
    /// Returns an error that says what the handler returned, if it is neither a table nor a struct.
    #[inline(always)]
    pub fn of(response: Janet, keys: &Keys) -> Result<Self, String> {
        let slots = slots(&response).ok_or_else(|| not_a_response(response))?;
        let nil = Janet::nil();
        let mut fields = Self { status: nil, headers: nil, body: nil, detached: nil };
        if has_prototype(response) {
            fields.status = look_up(response, keys.status);
            fields.headers = look_up(response, keys.headers);
            fields.body = look_up(response, keys.body);
            fields.detached = look_up(response, keys.detached);
            return Ok(fields);
        }
        // Most responses are small and have no prototype, and going through them is cheaper than four look-ups.
        for pair in slots {
            let is = |key| pair.key.is_identical(key);
            // Most slots are free.
            if is(nil.into()) {
                continue;
            }
            let value = pair.value.into();
            if is(keys.body) {
                fields.body = value;
            } else if is(keys.status) {
                fields.status = value;
            } else if is(keys.headers) {
                fields.headers = value;
            } else if is(keys.detached) {
                fields.detached = value;
            }
        }
        Ok(fields)
    }
}

/// Says what the handler returned, which is neither a table nor a struct.
#[cold]
fn not_a_response(value: Janet) -> String {
    match value.unwrap() {
        TaggedJanet::Nil => "the handler returned nil, which is not a response".into(),
        TaggedJanet::Function(_) | TaggedJanet::CFunction(_) => format!(
            "the handler returned {}, which is not a response: if the handler is middleware, call it with the next \
             handler first",
            describe(value)
        ),
        _ => format!("a response must be a table or a struct, got {}", describe(value)),
    }
}

/// The status in the value of a response's `:status`. Nil stands for 200.
pub fn status(value: Janet) -> Result<u16, String> {
    if value.is_nil() {
        return Ok(200);
    }
    integer(value)
        .and_then(|status| u16::try_from(status).ok())
        .ok_or_else(|| format!("a response's :status must be a number of three digits, got {}", describe(value)))
}

/// Returns an error for a dictionary that has keys, but none of a response's. They are misspelled, or the dictionary is
/// something else.
pub fn check_keys(response: Janet, fields: &Fields) -> Result<(), String> {
    let is_known = |value: &Janet| !value.is_nil();
    if [fields.status, fields.headers, fields.body, fields.detached].iter().any(is_known) {
        return Ok(());
    }
    let mut keys = Vec::new();
    each_pair(slots(&response).unwrap_or_default(), &mut |key, _| {
        keys.push(describe(key));
        Ok(())
    })?;
    if keys.is_empty() {
        return Ok(());
    }
    // A dictionary has no order.
    keys.sort();
    let (more, _) = (keys.len() > 4, keys.truncate(4));
    let keys = keys.join(" ");
    Err(format!(
        "what the handler returned is not a response: it has none of :status, :headers and :body, but {keys}{}",
        if more { " …" } else { "" }
    ))
}

/// Checks what can be known of a body in pieces before any of it is sent: that Janet's `each` can go through it, and that
/// pieces that are there already are bytes.
pub fn check_pieces(body: Janet) -> Result<(), String> {
    match body.unwrap() {
        TaggedJanet::Array(_) | TaggedJanet::Tuple(_) => each_item(body, &mut check_piece).map(drop),
        TaggedJanet::Table(_) | TaggedJanet::Struct(_) => {
            each_pair(slots(&body).unwrap_or_default(), &mut |_, piece| check_piece(piece))
        }
        TaggedJanet::Fiber(_) => Ok(()),
        TaggedJanet::Abstract(_) if !is_core_abstract(body) => Ok(()),
        _ => Err(format!("a response's :body must be bytes or iterable, got {}", describe(body))),
    }
}

fn check_piece(piece: Janet) -> Result<(), String> {
    match bytes(&piece) {
        Some(_) => Ok(()),
        None => Err(format!("a piece of a response's body must be bytes, got {}", describe(piece))),
    }
}

/// Whether an abstract value is one of Janet's own, such as a file or a channel. `each` goes through their methods, which
/// are never pieces of a body.
fn is_core_abstract(value: Janet) -> bool {
    // SAFETY: the value is an abstract one, whose type and its name are static.
    let name =
        unsafe { CStr::from_ptr((*(*c::janet_abstract_head(c::janet_unwrap_abstract(value.into()))).type_).name) };
    name.to_bytes().starts_with(b"core/")
}

/// The slots of a response's headers. Nil stands for no headers.
///
/// # Errors
/// Returns an error for anything else but a table or a struct.
pub fn headers(value: &Janet) -> Result<&[c::JanetKV], String> {
    if value.is_nil() {
        return Ok(&[]);
    }
    slots(value).ok_or_else(|| format!("a response's :headers must be a table or a struct, got {}", describe(*value)))
}

/// Calls `each` with every header and value in the slots of a dictionary. A header with an array or tuple of values is sent
/// once for each of them.
pub fn each_header(headers: &[c::JanetKV], each: &mut EachHeader<'_>) -> Result<(), String> {
    each_pair(headers, &mut |name, value| {
        let name = bytes(&name).ok_or_else(|| format!("a header's name must be a string, got {}", describe(name)))?;
        if let Some(value) = bytes(&value) {
            return each(name, value);
        }
        let is_indexed = each_item(value, &mut |item| one_header(name, item, each))?;
        if is_indexed { Ok(()) } else { one_header(name, value, each) }
    })
}

fn one_header(name: &[u8], value: Janet, each: &mut EachHeader<'_>) -> Result<(), String> {
    match bytes(&value) {
        Some(bytes) => each(name, bytes),
        None => each(name, describe(value).as_bytes()),
    }
}

/// Calls `each` with every item of an array or tuple. Returns false if the value is something else.
fn each_item(value: Janet, each: &mut dyn FnMut(Janet) -> Result<(), String>) -> Result<bool, String> {
    let Some(items) = elements(&value) else { return Ok(false) };
    items.iter().try_for_each(|&item| each(item))?;
    Ok(true)
}

/// Calls `each` with every key and value in the slots of a dictionary.
fn each_pair(slots: &[c::JanetKV], each: &mut dyn FnMut(Janet, Janet) -> Result<(), String>) -> Result<(), String> {
    for pair in slots {
        let key = Janet::from(pair.key);
        if !key.is_nil() {
            each(key, pair.value.into())?;
        }
    }
    Ok(())
}
