//! Responses: how a body is framed, and writing the head.

mod failure;
mod plan;
mod status;
mod writer;

pub use crate::exchange::Exchange;
pub use failure::write_failure;
pub use plan::{Body, Delivery, Plan, plan};
pub use status::reason;
pub use writer::{Beginning, HeadError, HeadWriter};
