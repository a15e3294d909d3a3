//! Request heads: from bytes as they arrive to what they say about the request, its body and the connection.

mod authority;
mod fields;
mod framing;
mod head;
mod known;
mod line;
mod parser;
mod query;
mod target;

pub use fields::{Header, push_lower};
pub use framing::Framing;
pub use head::Head;
pub use known::KnownHeaders;
pub use line::MAX_METHOD;
pub use parser::{HeadLimits, HeadParser, MAX_EMPTY_LINES, Parse};
pub use query::{QueryPairs, parse_form, parse_query};
pub use target::Target;
