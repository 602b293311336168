//! The control socket: how `rocker` talks to the monitor of a running container.
//!
//! One packet of a `SOCK_SEQPACKET` socket is one message, so there is no framing to get
//! wrong; the first byte says what it is, the rest is its content. Both sides live here,
//! next to the diagram in [`message`], so that they cannot drift apart.
//!
//! What this module must never do: hold output back in memory. Whoever cannot take a packet
//! now is asked again when its socket is writable.

mod error;
mod link;
mod listener;
pub mod message;
mod session;
#[cfg(test)]
mod tests;

pub use error::{ListenError, SessionError};
pub use link::{Link, pair};
pub(crate) use link::{Received, Sent};
pub(crate) use listener::Accepted;
pub use listener::ControlListener;
#[cfg(test)]
pub(crate) use listener::connect;
pub use message::Wants;
pub use rocker_runtime::WindowSize;
pub use session::{Event, Session};
