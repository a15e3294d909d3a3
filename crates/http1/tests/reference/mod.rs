//! Parsers to compare with: they follow the RFCs on whole buffers, in another way than the crate, and are slow. And the
//! generators of what to compare on. Shared by the tests, the bulk run and the fuzz targets.
#![allow(dead_code, reason = "each user takes a part")]

pub mod chunked;
pub mod compare;
pub mod feed;
pub mod generate;
pub mod head;
