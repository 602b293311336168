//! A container's log: docker's `json-file` format, bounded, written by the monitor and read by
//! `rocker logs`.
//!
//! One line of output is one line of JSON,
//! `{"log":"text\n","stream":"stdout","time":"2026-01-02T03:04:05.123456789Z"}`, in files that
//! are renamed away when they are full: `NAME`, `NAME.1`, `NAME.2` (the oldest). Writer and
//! readers share nothing but the directory: no lock, no message.
//!
//! The policy when the disk is full or fails: the container goes on, whole lines are dropped
//! and counted, and a line in the log says how many as soon as one fits again. A slow disk
//! slows the container down (blocking mode, docker's default).

mod decode;
mod encode;
mod entry_end;
mod error;
mod files;
mod follow;
mod lines;
mod reader;
mod stream;
mod tail;
#[cfg(test)]
mod tests;
mod time;
mod writer;

pub use error::{LogReadError, LogWriteError};
pub use files::{LogFiles, LogLimits};
pub use reader::{Follow, LogEntry, LogReader, ReadOptions, Tail};
pub use stream::Stream;
pub use writer::LogWriter;
