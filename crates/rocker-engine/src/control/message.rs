//! What client and monitor say to each other, and when.
//!
//! ```text
//!   client (rocker run, attach, wait, …)        monitor
//!   connects
//!   Hello { version, wants } ─────────────────▶
//!                            ◀───────────────── Welcome { version, window }
//!                            ◀───────────────── Stdout, Stderr          (as they come, if wanted)
//!   Stdin ────────────────────────────────────▶ at most `window` bytes not yet taken
//!                            ◀───────────────── StdinTaken { bytes }    that many more may be sent
//!   StdinEnd, Resize, Signal ─────────────────▶ at any time
//!                            ◀───────────────── StdinClosed             the container reads no more
//!                            ◀───────────────── Exited { code }         after the last output
//!   hangs up                                    hangs up
//! ```
//!
//! The client that was there first (the `rocker run` in the foreground, over a socket pair) may
//! get output before `Welcome`; every other one gets nothing before it said `Hello`.
//!
//! The window is why a signal or a resize always gets through: the monitor has room for all
//! standard input that a client may have under way, hence reads every packet at once, even
//! while the container does not read its input.
//!
//! Versions: `Welcome` carries the lesser of both sides' versions, and both then speak that one. A
//! packet of an unknown kind is ignored by either side, and bytes after the ones described here
//! are too: additions need no new version. The container lives longer than the binary that
//! started it, so version 1 stays understood.

use rocker_runtime::WindowSize;
use rocker_types::Signal;

/// The newest protocol that this binary speaks.
pub const VERSION: u8 = 1;

/// The most content that one `Stdin`, `Stdout` or `Stderr` packet carries, in bytes.
pub const MAX_CONTENT: usize = 64 * 1024;

/// The size of a buffer that takes any packet whole, in bytes.
pub const MAX_PACKET: usize = MAX_CONTENT + 1;

/// What a client takes part in; each level includes the ones before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wants {
    /// To send signals and to learn the exit code.
    Exit,
    /// To see the output too.
    Output,
    /// To send standard input too; when it hangs up, a `stdin_once` container's input ends.
    OutputAndStdin,
}

/// What a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// The first packet.
    Hello {
        /// The newest protocol that the client speaks.
        version: u8,
        /// What it takes part in.
        wants: Wants,
    },
    /// Bytes for the container's standard input.
    Stdin(&'a [u8]),
    /// No more input will come from this client.
    StdinEnd,
    /// The client's terminal has this size now.
    Resize(WindowSize),
    /// Send this signal to the container's init.
    Signal(Signal),
}

/// What the monitor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report<'a> {
    /// The answer to `Hello`.
    Welcome {
        /// The protocol of this connection.
        version: u8,
        /// How many bytes of standard input may be under way; 0 if the container takes none.
        window: u32,
    },
    /// The container wrote this to its standard output (or its terminal).
    Stdout(&'a [u8]),
    /// The container wrote this to its standard error.
    Stderr(&'a [u8]),
    /// The container took so many bytes of input.
    StdinTaken(u32),
    /// The container reads no more input.
    StdinClosed,
    /// The container ended, with the code that `rocker run` exits with.
    Exited(i32),
}

/// The most that a message has before its content, in bytes.
const MAX_HEAD: usize = 8;

/// A message as it is sent: the kind and the fixed part, then the content without a copy.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    head: [u8; MAX_HEAD],
    head_len: usize,
    content: &'a [u8],
}

impl<'a> Packet<'a> {
    fn new(kind: u8, fixed: &[u8], content: &'a [u8]) -> Self {
        let mut head = [0; MAX_HEAD];
        head[0] = kind;
        head[1..=fixed.len()].copy_from_slice(fixed);
        Self {
            head,
            head_len: 1 + fixed.len(),
            content,
        }
    }

    /// The two parts, in the order in which they are sent.
    #[must_use]
    pub fn parts(&self) -> [&[u8]; 2] {
        [&self.head[..self.head_len], self.content]
    }
}

impl<'a> Request<'a> {
    const HELLO: u8 = b'H';
    const STDIN: u8 = b'I';
    const STDIN_END: u8 = b'E';
    const RESIZE: u8 = b'R';
    const SIGNAL: u8 = b'S';

    /// The message's name, for errors.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "a greeting",
            Self::Stdin(_) => "standard input",
            Self::StdinEnd => "the end of standard input",
            Self::Resize(_) => "the terminal's size",
            Self::Signal(_) => "a signal",
        }
    }

    /// The message as bytes.
    #[must_use]
    pub fn encode(&self) -> Packet<'a> {
        match *self {
            Self::Hello { version, wants } => {
                Packet::new(Self::HELLO, &[version, wants.code()], &[])
            }
            Self::Stdin(content) => Packet::new(Self::STDIN, &[], content),
            Self::StdinEnd => Packet::new(Self::STDIN_END, &[], &[]),
            Self::Resize(WindowSize { rows, columns }) => {
                let ([r0, r1], [c0, c1]) = (rows.to_le_bytes(), columns.to_le_bytes());
                Packet::new(Self::RESIZE, &[r0, r1, c0, c1], &[])
            }
            Self::Signal(signal) => {
                let [number, ..] = signal.number().to_le_bytes();
                Packet::new(Self::SIGNAL, &[number], &[])
            }
        }
    }

    /// Reads a packet; `None` if it is of an unknown kind or too short for its kind.
    #[must_use]
    pub fn decode(packet: &'a [u8]) -> Option<Self> {
        let (&kind, rest) = packet.split_first()?;
        match kind {
            Self::HELLO => {
                let [version, wants] = *rest.first_chunk()?;
                Some(Self::Hello {
                    version,
                    wants: Wants::from_code(wants)?,
                })
            }
            Self::STDIN => Some(Self::Stdin(rest)),
            Self::STDIN_END => Some(Self::StdinEnd),
            Self::RESIZE => {
                let [r0, r1, c0, c1] = *rest.first_chunk()?;
                Some(Self::Resize(WindowSize {
                    rows: u16::from_le_bytes([r0, r1]),
                    columns: u16::from_le_bytes([c0, c1]),
                }))
            }
            Self::SIGNAL => {
                let number = i32::from(*rest.first()?);
                Signal::from_number(number).ok().map(Self::Signal)
            }
            _ => None,
        }
    }
}

impl<'a> Report<'a> {
    const WELCOME: u8 = b'W';
    const STDOUT: u8 = b'o';
    const STDERR: u8 = b'e';
    const STDIN_TAKEN: u8 = b't';
    const STDIN_CLOSED: u8 = b'c';
    const EXITED: u8 = b'x';

    /// The message as bytes.
    #[must_use]
    pub fn encode(&self) -> Packet<'a> {
        match *self {
            Self::Welcome { version, window } => {
                let [w0, w1, w2, w3] = window.to_le_bytes();
                Packet::new(Self::WELCOME, &[version, w0, w1, w2, w3], &[])
            }
            Self::Stdout(content) => Packet::new(Self::STDOUT, &[], content),
            Self::Stderr(content) => Packet::new(Self::STDERR, &[], content),
            Self::StdinTaken(bytes) => Packet::new(Self::STDIN_TAKEN, &bytes.to_le_bytes(), &[]),
            Self::StdinClosed => Packet::new(Self::STDIN_CLOSED, &[], &[]),
            Self::Exited(code) => Packet::new(Self::EXITED, &code.to_le_bytes(), &[]),
        }
    }

    /// Reads a packet; `None` if it is of an unknown kind or too short for its kind.
    #[must_use]
    pub fn decode(packet: &'a [u8]) -> Option<Self> {
        let (&kind, rest) = packet.split_first()?;
        match kind {
            Self::WELCOME => {
                let [version, w0, w1, w2, w3] = *rest.first_chunk()?;
                Some(Self::Welcome {
                    version,
                    window: u32::from_le_bytes([w0, w1, w2, w3]),
                })
            }
            Self::STDOUT => Some(Self::Stdout(rest)),
            Self::STDERR => Some(Self::Stderr(rest)),
            Self::STDIN_TAKEN => Some(Self::StdinTaken(u32::from_le_bytes(*rest.first_chunk()?))),
            Self::STDIN_CLOSED => Some(Self::StdinClosed),
            Self::EXITED => Some(Self::Exited(i32::from_le_bytes(*rest.first_chunk()?))),
            _ => None,
        }
    }
}

impl Wants {
    fn code(self) -> u8 {
        match self {
            Self::Exit => 0,
            Self::Output => 1,
            Self::OutputAndStdin => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Exit, Self::Output, Self::OutputAndStdin]
            .into_iter()
            .find(|wants| wants.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(packet: &Packet<'_>) -> Vec<u8> {
        packet.parts().concat()
    }

    #[test]
    fn every_request_survives_the_wire() {
        let requests = [
            Request::Hello {
                version: 7,
                wants: Wants::Exit,
            },
            Request::Hello {
                version: 1,
                wants: Wants::Output,
            },
            Request::Hello {
                version: 1,
                wants: Wants::OutputAndStdin,
            },
            Request::Stdin(b""),
            Request::Stdin(b"\0\xff"),
            Request::StdinEnd,
            Request::Resize(WindowSize {
                rows: 65535,
                columns: 1,
            }),
            Request::Signal(Signal::TERM),
            Request::Signal(Signal::from_number(64).unwrap()),
        ];

        for request in requests {
            assert_eq!(Request::decode(&bytes(&request.encode())), Some(request));
        }
    }

    #[test]
    fn every_report_survives_the_wire() {
        let reports = [
            Report::Welcome {
                version: 3,
                window: 65536,
            },
            Report::Stdout(b"a\0b"),
            Report::Stderr(b""),
            Report::StdinTaken(u32::MAX),
            Report::StdinClosed,
            Report::Exited(-1),
            Report::Exited(137),
        ];

        for report in reports {
            assert_eq!(Report::decode(&bytes(&report.encode())), Some(report));
        }
    }

    #[test]
    fn unknown_short_and_longer_packets_do_no_harm() {
        assert_eq!(Request::decode(b""), None);
        assert_eq!(Request::decode(b"?later"), None);
        assert_eq!(
            Request::decode(b"R\x01\x00\x02"),
            None,
            "a size without its last byte"
        );
        assert_eq!(
            Request::decode(b"H\x01\x09"),
            None,
            "a wish of a later version"
        );
        assert_eq!(Report::decode(b"x\x01\x00\x00"), None);
        assert_eq!(Report::decode(b"W\x01\x00"), None);
        assert_eq!(
            Request::decode(b"S\x0fmore"),
            Some(Request::Signal(Signal::TERM))
        );
        assert_eq!(Request::decode(b"S\x41"), None, "there is no signal 65");
    }
}
