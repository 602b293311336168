//! The layer store, from outside: hostile and ordinary archives, digests, whiteouts,
//! crashes and full disks, on a real file system as root.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "functions that tests share fail by panicking and say what they skip; tables are long"
)]

mod archive;
mod chain;
mod crash;
mod exchange;
mod golden;
mod hostile;
mod inspect;
mod integrity;
mod listing;
mod opening;
mod recipe;
mod resources;
mod support;
mod unsynced;
