//! Options: a table or struct by which Janet code passes many arguments by name.

use janetrs::{Janet, TaggedJanet};

use crate::value::{describe, integer, look_up};

/// The options that were passed. An absent option is nil.
#[derive(Clone, Copy)]
pub struct Options(Janet);

impl Options {
    /// The options in an argument. Nil stands for no options.
    ///
    /// # Errors
    /// Returns an error for a value that is neither a table nor a struct.
    pub fn new(value: Janet) -> Result<Self, String> {
        match value.unwrap() {
            TaggedJanet::Nil | TaggedJanet::Table(_) | TaggedJanet::Struct(_) => Ok(Self(value)),
            _ => Err(format!("expected a table or a struct of options, got {}", describe(value))),
        }
    }

    /// The option of that name.
    pub fn get(self, name: &str) -> Janet {
        self.at(Janet::keyword(name.into()))
    }

    /// The option under a keyword. To make the keyword once and use it often costs less than [`Options::get`].
    pub fn at(self, name: Janet) -> Janet {
        look_up(self.0, name.into())
    }

    /// Whether an option is anything but nil and false.
    pub fn is_true(self, name: &str) -> bool {
        crate::value::is_true(self.get(name))
    }

    /// A positive integer, or nothing for nil.
    ///
    /// # Errors
    /// Returns an error that names the option for any other value.
    pub fn count(self, name: &str) -> Result<Option<u32>, String> {
        match self.get(name) {
            nil if nil.is_nil() => Ok(None),
            value => match integer(value) {
                Some(count) if count > 0 => Ok(Some(count.unsigned_abs())),
                _ => Err(format!(":{name} must be a positive integer, got {}", describe(value))),
            },
        }
    }

    /// A positive number, or nothing for nil.
    ///
    /// # Errors
    /// Returns an error that names the option for any other value.
    pub fn rate(self, name: &str) -> Result<Option<f64>, String> {
        match self.get(name).unwrap() {
            TaggedJanet::Nil => Ok(None),
            TaggedJanet::Number(rate) if rate > 0.0 && rate.is_finite() => Ok(Some(rate)),
            _ => Err(format!(":{name} must be a positive number, got {}", describe(self.get(name)))),
        }
    }
}
