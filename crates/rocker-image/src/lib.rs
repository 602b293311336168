//! Image bytes in, verified, kept as layers, and out again: registry client and layer store.
//!
//! Four rooms that know little of each other: [`document`] turns registry JSON into strict
//! values, [`store`] turns layer bytes into directories and back, [`registry`] fetches what the
//! one describes and hands it to the other, [`exchange`] does so with files; [`policy`] says
//! what the user lets in. The database is not known here: whoever calls
//! records what [`store::Store::commit`] returned.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod document;
pub mod exchange;
pub mod policy;
pub mod registry;
pub mod store;
