//! Who runs: names become numbers in the container's own files, read as if they were traps.

mod reader;
mod resolve;
mod table;

pub(crate) use reader::ImageFileReader;
pub(crate) use resolve::{Identity, Lookup};
