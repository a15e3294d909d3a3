//! Reading and making Janet values without raising errors, unlike the functions janet_get… of the C API.

use std::ffi::CString;

use janetrs::lowlevel as c;
use janetrs::{Janet, JanetString, TaggedJanet};

/// The argument at `index`, or nil if there is none.
pub fn arg(args: &[Janet], index: usize) -> Janet {
    args.get(index).copied().unwrap_or_else(Janet::nil)
}

unsafe extern "C-unwind" {
    fn kqnet_description(value: c::Janet) -> *const u8;
}

/// The most bytes of a value that an error shows.
const SHOWN: usize = 200;

/// How Janet would print a value. Long strings are cut.
pub fn describe(value: Janet) -> String {
    match bytes(&value) {
        Some(all) if all.len() > SHOWN => {
            let start = description(JanetString::new(&all[..SHOWN]).into());
            format!("{}… ({} bytes)", start.trim_end_matches('"'), all.len())
        }
        _ => description(value),
    }
}

fn description(value: Janet) -> String {
    // SAFETY: any value can be described. The string lives until the next collection, and nothing here starts one.
    unsafe {
        let text = kqnet_description(value.into());
        if text.is_null() {
            return "a value that cannot be printed".into();
        }
        let length = (*c::janet_string_head(text)).length as usize;
        String::from_utf8_lossy(std::slice::from_raw_parts(text, length)).into_owned()
    }
}

/// The text in a value, which must be a string without a NUL. `what` names it in the error.
///
/// # Errors
/// Returns an error if it is not such a string.
pub fn c_string(what: &str, value: Janet) -> Result<CString, String> {
    match value.unwrap() {
        TaggedJanet::String(text) => {
            CString::new(text.as_bytes()).map_err(|_| format!("{what} has a NUL in it: {}", describe(value)))
        }
        _ => Err(format!("{what} must be a string, got {}", describe(value))),
    }
}

/// Whether a value is anything but nil and false. (`is_truthy` of janetrs 0.8.0 returns the opposite.)
pub fn is_true(value: Janet) -> bool {
    // SAFETY: it only looks at the value.
    unsafe { c::janet_truthy(value.into()) != 0 }
}

/// Whether two values are the same thing, and not only equal.
pub fn is_identical(one: Janet, other: Janet) -> bool {
    c::Janet::from(one).is_identical(other.into())
}

/// A text as a string. (janetrs turns a text that begins with a colon into a keyword.)
pub fn string(text: &str) -> Janet {
    Janet::string(text.into())
}

/// Whether a value is the keyword of that name.
pub fn is_keyword(value: Janet, name: &str) -> bool {
    matches!(value.unwrap(), TaggedJanet::Keyword(keyword) if keyword.as_bytes() == name.as_bytes())
}

/// The integer in a value. Numbers in Janet are doubles.
pub fn integer(value: Janet) -> Option<i32> {
    // SAFETY: the type is checked before the value is unwrapped.
    let number = unsafe {
        if c::janet_checktype(value.into(), c::JanetType_JANET_NUMBER) == 0 {
            return None;
        }
        c::janet_unwrap_number(value.into())
    };
    // A number that is not an integer, or is too large, differs from what the cast makes of it.
    (f64::from(number as i32) == number).then_some(number as i32)
}

/// A struct with keyword keys.
pub fn structure(pairs: &[(&str, Janet)]) -> Janet {
    // SAFETY: as many pairs are put as were announced, and nothing in between starts a collection.
    unsafe {
        let building = c::janet_struct_begin(pairs.len() as i32);
        for (key, value) in pairs {
            c::janet_struct_put(building, Janet::keyword((*key).into()).into(), (*value).into());
        }
        c::janet_wrap_struct(c::janet_struct_end(building)).into()
    }
}

/// A tuple.
pub fn tuple(values: &[Janet]) -> Janet {
    // SAFETY: `Janet` is a transparent wrapper of the C type, so this is an array of that many values.
    unsafe { c::janet_wrap_tuple(c::janet_tuple_n(values.as_ptr().cast(), values.len() as i32)).into() }
}

/// An array.
pub fn array(values: &[Janet]) -> Janet {
    // SAFETY: `Janet` is a transparent wrapper of the C type, so this is an array of that many values.
    unsafe { c::janet_wrap_array(c::janet_array_n(values.as_ptr().cast(), values.len() as i32)).into() }
}

/// The bytes of a string, symbol, keyword or buffer, or of an abstract value that gives some.
///
/// The slice of a buffer is valid until the buffer changes, so the caller must not write to it through a
/// [`Buffer`](crate::buffer::Buffer) while it holds the slice.
#[inline]
pub fn bytes(value: &Janet) -> Option<&[u8]> {
    let value: c::Janet = (*value).into();
    // SAFETY: the type is checked before the live value is unwrapped. No Janet code and no collection runs while the bytes
    // are borrowed, and no Rust code changes a buffer meanwhile.
    unsafe {
        match c::janet_type(value) {
            c::JanetType_JANET_STRING | c::JanetType_JANET_SYMBOL | c::JanetType_JANET_KEYWORD => {
                // All three are kept in the same way, and end with a NUL, so there always is memory.
                let data = c::janet_unwrap_string(value);
                Some(std::slice::from_raw_parts(data, (*c::janet_string_head(data)).length as usize))
            }
            c::JanetType_JANET_BUFFER | c::JanetType_JANET_ABSTRACT => viewed(value),
            _ => None,
        }
    }
}

/// Whether a value is a string, symbol or keyword, whose bytes never change.
pub fn is_text(value: Janet) -> bool {
    // SAFETY: it only looks at the value.
    let kind = unsafe { c::janet_type(value.into()) };
    matches!(kind, c::JanetType_JANET_STRING | c::JanetType_JANET_SYMBOL | c::JanetType_JANET_KEYWORD)
}

/// Whether a value is a string, and neither a symbol nor a keyword.
pub fn is_string(value: Janet) -> bool {
    // SAFETY: it only looks at the value.
    unsafe { c::janet_checktype(value.into(), c::JanetType_JANET_STRING) != 0 }
}

/// Whether a value is a struct.
pub fn is_struct(value: Janet) -> bool {
    // SAFETY: it only looks at the value.
    unsafe { c::janet_checktype(value.into(), c::JanetType_JANET_STRUCT) != 0 }
}

/// A new array of so many nils, for values that Rust code keeps in it. `hold` keeps it alive for as long as the VM lives.
pub fn held_nils(count: usize, hold: &dyn Fn(c::Janet)) -> *mut c::JanetArray {
    // SAFETY: the array is new, and nothing collects garbage within a native function.
    unsafe {
        let array = c::janet_array(count as i32);
        hold(c::janet_wrap_array(array));
        for _ in 0..count {
            c::janet_array_push(array, c::janet_wrap_nil());
        }
        array
    }
}

/// The elements of an array or a tuple, which must not change while the slice is used.
pub fn elements(value: &Janet) -> Option<&[Janet]> {
    let (mut data, mut length) = (std::ptr::null(), 0);
    // SAFETY: janet_indexed_view only looks at the live value, and writes to these two variables. `Janet` is a transparent wrapper
    // of the C type. No Janet code runs while the slice is borrowed.
    unsafe {
        if c::janet_indexed_view((*value).into(), &mut data, &mut length) == 0 {
            return None;
        }
        Some(if length == 0 { &[] } else { std::slice::from_raw_parts(data.cast(), length as usize) })
    }
}

/// Whether a table or a struct has a prototype.
pub fn has_prototype(dictionary: Janet) -> bool {
    prototype(dictionary).is_some()
}

/// The prototype of a table or a struct, if it has one.
pub fn prototype(dictionary: Janet) -> Option<Janet> {
    let value = dictionary.into();
    // SAFETY: the type is checked before the live value is unwrapped.
    unsafe {
        match c::janet_type(value) {
            c::JanetType_JANET_TABLE => {
                let prototype = (*c::janet_unwrap_table(value)).proto;
                (!prototype.is_null()).then(|| c::janet_wrap_table(prototype).into())
            }
            c::JanetType_JANET_STRUCT => {
                let prototype = (*c::janet_struct_head(c::janet_unwrap_struct(value))).proto;
                (!prototype.is_null()).then(|| c::janet_wrap_struct(prototype).into())
            }
            _ => None,
        }
    }
}

/// Looks a key of a table or a struct up. Returns nil if it has no such key, and for any other value.
pub fn look_up(dictionary: Janet, key: c::Janet) -> Janet {
    let value = dictionary.into();
    // SAFETY: the type is checked before the live value is unwrapped.
    unsafe {
        match c::janet_type(value) {
            c::JanetType_JANET_TABLE => c::janet_table_get(c::janet_unwrap_table(value), key).into(),
            c::JanetType_JANET_STRUCT => c::janet_struct_get(c::janet_unwrap_struct(value), key).into(),
            _ => Janet::nil(),
        }
    }
}

/// The slots of a table or a struct: its pairs, and free ones, whose keys are nil. Its prototype is left out.
///
/// The slots of a table are valid until the table changes, so the caller must not change it while it holds them.
#[inline]
pub fn slots(value: &Janet) -> Option<&[c::JanetKV]> {
    let value: c::Janet = (*value).into();
    // SAFETY: the type is checked before the live value is unwrapped. No Janet code and no collection runs while the slots
    // are borrowed, and no Rust code changes a table meanwhile.
    unsafe {
        let (pairs, capacity) = match c::janet_type(value) {
            c::JanetType_JANET_TABLE => {
                let table = &*c::janet_unwrap_table(value);
                (table.data.cast_const(), table.capacity)
            }
            c::JanetType_JANET_STRUCT => {
                let pairs = c::janet_unwrap_struct(value);
                (pairs, (*c::janet_struct_head(pairs)).capacity)
            }
            _ => return None,
        };
        // An empty table may have no memory.
        Some(if capacity == 0 { &[] } else { std::slice::from_raw_parts(pairs, capacity as usize) })
    }
}

/// The bytes of a value that are not where its type alone says.
///
/// # Safety
/// As for the slice of [`bytes`].
unsafe fn viewed<'a>(value: c::Janet) -> Option<&'a [u8]> {
    let (mut data, mut length) = (std::ptr::null(), 0);
    // SAFETY: janet_bytes_view only looks at the live value, and writes to these two variables.
    unsafe {
        if c::janet_bytes_view(value, &mut data, &mut length) == 0 {
            return None;
        }
        Some(if length == 0 { &[] } else { std::slice::from_raw_parts(data, length as usize) })
    }
}
