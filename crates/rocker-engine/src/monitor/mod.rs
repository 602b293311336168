//! The monitor's event loop: from a running container's streams to its log and its clients.
//!
//! [`Supervision::supervise`] returns when the container's init is dead and what it had
//! written is read; recording the exit status is the caller's next step, and only then
//! [`Ended::tell_exit`] lets the clients know.
//!
//! Memory does not grow with what a container prints or a client sends; these are the rules:
//!
//! * There is one chunk of output, 64 KiB. The next one is read when every client has taken this one,
//!   so a slow client slows the container down: its pipe fills and `write` waits in it.
//! * The client in the foreground (`rocker run`) may be as slow as it likes. Any other client that takes
//!   nothing for [`STALL_LIMIT`] is dropped; one that keeps reading, however slowly, is not.
//! * Input is bounded by the window of [`crate::control::message`], 64 KiB for each client that sends any.
//! * The log blocks only as long as the file system does.
//!
//! Signals: none is handled here. The caller blocks those that must not end the monitor: all.

mod client;
mod clients;
mod ended;
mod error;
mod event_loop;
mod feed;
mod input;
mod output;
mod poller;
mod supervise;
#[cfg(test)]
mod tests;

pub use client::STALL_LIMIT;
pub use ended::{Delivery, Ended};
pub use error::SuperviseError;
pub use supervise::{Companion, InputEnd, Streams, Supervision};
