//! The user's terminal: raw mode and the way back, its size, the detach keys, and the pump
//! between it and a container.
//!
//! Nothing here ever hands the terminal itself to a container: bytes are copied.

mod child;
mod detach_keys;
pub(crate) mod guard;
mod interrupt;
mod program;
pub(crate) mod prompt;
mod pump;
mod raw_mode;
mod signals;
mod stop;

pub(crate) use child::Child;
pub(crate) use detach_keys::{DetachKeys, DetachWatch};
pub(crate) use interrupt::interruptible;
pub(crate) use program::Program;
pub(crate) use pump::{End, Pump, PumpError, Streams};
pub(crate) use raw_mode::RawMode;
pub(crate) use signals::{SignalPlan, Signals};
pub(crate) use stop::StopRequests;

use std::io::{IsTerminal, stderr, stdin, stdout};

use rocker_engine::control::WindowSize;

/// Whether standard input, output and error are all terminals.
pub(crate) fn all_streams_are_terminals() -> bool {
    stdin().is_terminal() && stdout().is_terminal() && stderr().is_terminal()
}

/// The size of the terminal on standard output or, failing that, standard input.
pub(crate) fn window_size() -> Option<WindowSize> {
    let size = rustix::termios::tcgetwinsize(stdout())
        .or_else(|_| rustix::termios::tcgetwinsize(stdin()))
        .ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some(WindowSize {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}
