//! Forms: the pairs of an urlencoded one, and the parts of one with files (crates/multipart).

use std::cell::{RefCell, RefMut};

use janetrs::lowlevel as c;
use janetrs::{Janet, JanetString, TaggedJanet};
use kqnet_http1::{parse_form, push_lower};
use kqnet_multipart::{Event, Form, Parser, PartHead, Reject, file_name, form};

use super::connection::close_upload_with_request;
use crate::abstract_type::{AbstractType, NOTHING};
use crate::boundary::{Function, Outcome, native};
use crate::buffer::{self, Buffer};
use crate::collected::{self, Collected, drop_collected};
use crate::common_strings::new_string;
use crate::files::{Unstored, Upload, borrow_upload};
use crate::header_tables::accumulate;
use crate::value::{arg, array, bytes, describe, string, structure, tuple};

/// The native functions of this file.
pub const FUNCTIONS: &[Function] = &[
    native!("form-type", "content-type max-part-head", form_type),
    native!("form-pairs", "body most", pairs),
    native!("multipart-next", "parser buffer sink most", next),
    native!("multipart-finish", "parser", finish),
    native!("upload", "field max-memory max-size stream", upload),
];

/// A parser, and where it is in the buffer that it reads.
struct Reading {
    parser: Parser,
    /// How many bytes at the front of the buffer were read. They are removed together, since removing those of each part would
    /// move all that follows, and take time in proportion to the square of a body that came whole.
    passed: usize,
}

static PARSER: AbstractType = AbstractType(c::JanetAbstractType {
    name: c"kqnet/multipart".as_ptr(),
    gc: Some(drop_collected::<RefCell<Reading>>),
    ..NOTHING
});

// SAFETY: only `form_type` makes values of this Janet type, and they are dropped as a `RefCell<Reading>`.
unsafe impl Collected for RefCell<Reading> {
    fn janet_type() -> &'static AbstractType {
        &PARSER
    }
}

fn borrow(value: &Janet) -> Result<RefMut<'_, Reading>, String> {
    collected::expect(value, "a parser of forms").map(RefCell::borrow_mut)
}

/// The number of bytes in an argument.
fn count(value: Janet) -> Result<u64, String> {
    match value.unwrap() {
        TaggedJanet::Number(number) if number >= 0.0 => Ok(number as u64),
        _ => Err(format!("expected a number of bytes, got {}", describe(value))),
    }
}

fn refused(reject: Reject) -> Outcome {
    Outcome::Value(tuple(&[Janet::number(reject.status.into()), string(reject.reason)]))
}

fn keyword(name: &str) -> Outcome {
    Outcome::Value(Janet::keyword(name.into()))
}

fn text(bytes: &[u8]) -> Janet {
    JanetString::new(bytes).into()
}

/// `(native/form-type content-type max-part-head)`: Returns how a body of this type is to be read: :urlencoded, a parser for
/// one with parts, nil if it is not a form, or a tuple of a status and a reason if the type is malformed.
fn form_type(args: &[Janet]) -> Result<Outcome, String> {
    let value = arg(args, 0);
    let Some(content_type) = bytes(&value) else { return Err(format!("expected a text, got {}", describe(value))) };
    let max_head = usize::try_from(count(arg(args, 1))?).unwrap_or(usize::MAX);
    Ok(match form(content_type) {
        Ok(Some(Form::Urlencoded)) => keyword("urlencoded"),
        Ok(Some(Form::Multipart(boundary))) => {
            let reading = Reading { parser: Parser::new(&boundary, max_head), passed: 0 };
            Outcome::Value(collected::wrap(collected::make(RefCell::new(reading))))
        }
        Ok(None) => Outcome::Value(Janet::nil()),
        Err(reject) => refused(reject),
    })
}

/// `(native/form-pairs body most)`: Returns the names and values of an urlencoded form, one after the other, in an array. If
/// there are more than `most` pairs, the array has one more.
fn pairs(args: &[Janet]) -> Result<Outcome, String> {
    let value = arg(args, 0);
    let body = bytes(&value).ok_or_else(|| format!("expected a text, got {}", describe(value)))?;
    let most = usize::try_from(count(arg(args, 1))?).unwrap_or(usize::MAX);
    let mut all = Vec::new();
    for (name, value) in parse_form(body).take(most.saturating_add(1)) {
        all.push(text(&name));
        all.push(text(&value.unwrap_or_default()));
    }
    Ok(Outcome::Value(array(&all)))
}

/// Where the data of a part goes.
enum Sink<'a> {
    Nowhere,
    /// A buffer that may have so many bytes.
    Buffer(Buffer, usize),
    Upload(RefMut<'a, Upload>),
}

impl Sink<'_> {
    fn room(&self) -> usize {
        match self {
            Self::Nowhere => usize::MAX,
            Self::Buffer(into, most) => most.saturating_sub(buffer::contents(into).len()),
            Self::Upload(upload) => usize::try_from(upload.room()).unwrap_or(usize::MAX),
        }
    }

    fn write(&mut self, data: &[u8]) -> Result<(), Unstored> {
        match self {
            Self::Nowhere => Ok(()),
            Self::Buffer(into, _) => buffer::push(into, data).map_err(Unstored::Failed),
            Self::Upload(upload) => upload.write(data),
        }
    }
}

/// `(native/multipart-next parser buffer sink most)`: Reads on in a buffer, which is always the same one for a parser, and in
/// which only this removes bytes: at some time those that were read, and all of them when it returns nil. The data of a part goes to a sink: nil for nowhere, a buffer, which gets at most `most` bytes in all, or an upload. Returns
///
/// * a struct of :name, :filename, :content-type and :headers when a part begins;
/// * :end when it has ended;
/// * :full when the sink has as many bytes as it may have, and the part has more;
/// * :spill when an upload has as many as it may have in memory (`native/upload-spill`);
/// * nil when more of the body is needed, or all parts have ended;
/// * a tuple of a status and a reason when the body is refused. A third element is what the system said when there is a
///   shortage.
fn next(args: &[Janet]) -> Result<Outcome, String> {
    let (parser, target) = (arg(args, 0), arg(args, 2));
    let Reading { parser, passed } = &mut *borrow(&parser)?;
    let from = &mut buffer::get(arg(args, 1))?;
    let mut sink = if target.is_nil() {
        Sink::Nowhere
    } else if collected::of::<RefCell<Upload>>(&target).is_some() {
        Sink::Upload(borrow_upload(&target)?)
    } else {
        Sink::Buffer(buffer::get(target)?, usize::try_from(count(arg(args, 3))?).unwrap_or(usize::MAX))
    };
    let mut taken = (*passed).min(buffer::contents(from).len());
    let outcome = loop {
        let step = match parser.step(&buffer::contents(from)[taken..], sink.room()) {
            Ok(step) => step,
            Err(reject) => break Ok(refused(reject)),
        };
        taken += step.consumed;
        match step.event {
            Some(Event::Data([])) => {
                let is_full = !matches!(&sink, Sink::Upload(upload) if !upload.is_full());
                break Ok(keyword(if is_full { "full" } else { "spill" }));
            }
            Some(Event::Data(data)) => {
                if let Err(why) = sink.write(data) {
                    break why.outcome();
                }
            }
            Some(Event::Part(head)) => break Ok(Outcome::Value(part(&head))),
            Some(Event::End) => break Ok(keyword("end")),
            None => break Ok(Outcome::Value(Janet::nil())),
        }
    };
    // More will be appended after nil. Otherwise no byte is moved more often than once on average.
    if matches!(&outcome, Ok(Outcome::Value(value)) if value.is_nil()) || taken > buffer::contents(from).len() / 2 {
        buffer::consume(from, taken);
        taken = 0;
    }
    *passed = taken;
    outcome
}

/// What Janet code gets of the head of a part.
fn part(head: &PartHead<'_>) -> Janet {
    // SAFETY: all values are new, and nothing collects garbage within a native function.
    let headers: Janet = unsafe {
        let table = c::janet_table(2 * head.headers.len() as i32);
        let mut name = Vec::new();
        for (key, value) in &head.headers {
            name.clear();
            push_lower(&String::from_utf8_lossy(key), &mut name);
            accumulate(table, new_string(&name), new_string(value));
        }
        c::janet_wrap_table(table).into()
    };
    structure(&[
        ("name", text(&head.disposition.name)),
        ("filename", head.disposition.filename.as_ref().map_or_else(Janet::nil, |name| text(&file_name(name)))),
        ("content-type", head.content_type.map_or_else(Janet::nil, text)),
        ("headers", headers),
    ])
}

/// `(native/multipart-finish parser)`: Ends a body. Returns nil, or a tuple of a status and a reason if parts are missing.
fn finish(args: &[Janet]) -> Result<Outcome, String> {
    let result = borrow(&arg(args, 0))?.parser.finish();
    Ok(result.map_or_else(refused, |()| Outcome::Value(Janet::nil())))
}

/// `(native/upload field max-memory max-size stream)`: Returns an empty upload, which is closed when the request that runs on
/// the HTTP connection of `stream` has ended. `field` is what errors call it.
fn upload(args: &[Janet]) -> Result<Outcome, String> {
    let field = arg(args, 0);
    let field = String::from_utf8_lossy(bytes(&field).unwrap_or_default()).into_owned();
    let upload = collected::make(RefCell::new(Upload::new(field, count(arg(args, 1))?, count(arg(args, 2))?)));
    close_upload_with_request(arg(args, 3), upload);
    Ok(Outcome::Value(collected::wrap(upload)))
}
