//! The options of the Connection header, by which client and handler ask to keep a connection or to close it.

use crate::grammar::elements;

/// What all Connection headers of a message mean in combination (RFC 9110, 7.6.1; RFC 9112, 9.3).
#[derive(Default)]
pub(crate) struct Connection {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
}

impl Connection {
    /// Adds the options in the value of one header. All but `close` and `keep-alive` are passed to `other`.
    pub(crate) fn add(&mut self, value: &[u8], other: &mut dyn FnMut(&[u8])) {
        for option in elements(value).filter(|option| !option.is_empty()) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else {
                other(option);
            }
        }
    }
}
