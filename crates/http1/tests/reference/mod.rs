//! Reference parsers to compare the crate with, and generators of inputs. The reference parsers follow the RFCs on
//! whole buffers, work in a different way than the crate, and are slow. The tests and the fuzz targets share them.
#![allow(dead_code, reason = "each user needs a part")]

pub mod chunked;
pub mod compare;
pub mod feed;
pub mod generate;
pub mod head;
pub mod targets;
