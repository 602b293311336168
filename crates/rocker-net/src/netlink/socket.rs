//! A netlink socket on which requests are sent in batches and answered at once.
//!
//! The kernel works through a datagram before `send` returns, so there is nothing to wait
//! for: reading ends with the answer to the last request of the batch.

use std::cell::Cell;
use std::io;

use netlink_sys::{SocketAddr, protocols};

use super::error::NetlinkError;

/// Bytes of `struct nlmsghdr`.
pub(crate) const HEADER_LEN: usize = 16;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 0x1;
/// `NLM_F_MULTI`: one of several messages that a "done" message ends.
const MULTI: u16 = 0x2;
/// `NLM_F_DUMP_INTR` of an answer: what is listed changed meanwhile.
const INTERRUPTED: u16 = 0x10;
/// How often a list is asked for that changed while it was written; the last one has to do.
const DUMP_ATTEMPTS: usize = 8;

/// Flags of requests, from `linux/netlink.h`.
pub(crate) mod flag {
    /// `NLM_F_ACK`: answer success too.
    pub(crate) const ACK: u16 = 0x4;
    /// `NLM_F_DUMP`: all objects, not one.
    pub(crate) const DUMP: u16 = 0x300;
    /// `NLM_F_EXCL`: refuse to change what is there.
    pub(crate) const EXCLUSIVE: u16 = 0x200;
    /// `NLM_F_CREATE`: make what is not there.
    pub(crate) const CREATE: u16 = 0x400;
    /// `NLM_F_APPEND`: behind what is there.
    pub(crate) const APPEND: u16 = 0x800;
}

/// `NLM_F_ACK_TLVS` of an answer: extended acknowledgement attributes follow.
const ACK_TLVS: u16 = 0x200;
/// `NLMSG_ERROR`, also the acknowledgement of success.
const ERROR: u16 = 2;
/// `NLMSG_DONE`, the end of a dump.
const DONE: u16 = 3;
/// `NLMSGERR_ATTR_MSG`: the kernel's own words.
const ATTR_MSG: u16 = 1;
/// The kernel fills a dump's datagrams up to 32 KiB at most.
const RECEIVE_BYTES: usize = 32 * 1024;

/// Requests that travel in one datagram.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// What each request asks for, in the words of an error message.
    requests: Vec<String>,
}

impl Batch {
    /// Appends a request. `flags` come on top of `NLM_F_REQUEST`; `body` writes what follows the header.
    pub(crate) fn push(
        &mut self,
        what: impl Into<String>,
        kind: u16,
        flags: u16,
        body: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes
            .extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        // The sequence number is set when the batch is sent; the port is the kernel's: 0.
        self.bytes.extend_from_slice(&[0; 8]);
        body(&mut self.bytes);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
        self.requests.push(what.into());
    }

    fn number_from(&mut self, first: u32) {
        let mut sequence = first;
        let mut start = 0;
        while let Some(header) = self.bytes.get_mut(start..start + HEADER_LEN) {
            header[8..12].copy_from_slice(&sequence.to_ne_bytes());
            let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
            start += usize::try_from(length)
                .unwrap_or(usize::MAX / 2)
                .next_multiple_of(4);
            sequence = sequence.wrapping_add(1);
        }
    }
}

/// One message of the kernel's answer to a query.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The message type.
    pub(crate) kind: u16,
    /// What follows the header.
    pub(crate) body: Vec<u8>,
}

/// A netlink socket of one protocol, in the network namespace where it was opened.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: netlink_sys::Socket,
    /// Sequence number of the next batch's first request: an answer that an earlier batch
    /// left unread can then not be taken for one of this batch.
    next: Cell<u32>,
}

impl Socket {
    /// Opens a `NETLINK_ROUTE` socket in the caller's network namespace.
    pub(crate) fn route() -> Result<Self, NetlinkError> {
        Self::open(protocols::NETLINK_ROUTE)
    }

    /// Opens a `NETLINK_NETFILTER` socket in the caller's network namespace.
    pub(crate) fn netfilter() -> Result<Self, NetlinkError> {
        Self::open(protocols::NETLINK_NETFILTER)
    }

    fn open(protocol: isize) -> Result<Self, NetlinkError> {
        let open = || -> io::Result<netlink_sys::Socket> {
            let socket = netlink_sys::Socket::new(protocol)?;
            // Since Linux 4.12: refusals carry a sentence, and not the whole request again.
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        let socket = open().map_err(|source| NetlinkError::Open { source })?;
        Ok(Self {
            socket,
            next: Cell::new(1),
        })
    }

    /// Sends `batch`, whose last request must ask for an acknowledgement or be a query, and
    /// collects the answers. The first refusal is the result, although the kernel went on
    /// with the requests after it.
    pub(crate) fn exchange(&self, batch: Batch) -> Result<Vec<Reply>, NetlinkError> {
        let last = batch.requests.len().saturating_sub(1);
        self.perform(batch, last, Framing::None)
    }

    /// As [`Socket::exchange`], for a transaction of nfnetlink: the first and last request
    /// are its frame. The last is never answered; the one before it must ask for an
    /// acknowledgement.
    pub(crate) fn transact(&self, batch: Batch) -> Result<Vec<Reply>, NetlinkError> {
        let last = batch.requests.len().saturating_sub(2);
        self.perform(batch, last, Framing::Transaction)
    }

    fn perform(
        &self,
        mut batch: Batch,
        last: usize,
        framing: Framing,
    ) -> Result<Vec<Reply>, NetlinkError> {
        let mut attempt = 1;
        loop {
            let first_sequence = self.next.get();
            let count = u32::try_from(batch.requests.len()).unwrap_or(u32::MAX);
            self.next.set(first_sequence.wrapping_add(count));
            batch.number_from(first_sequence);
            self.send(&batch.bytes)?;
            let answer = self.receive(Answer {
                requests: batch.requests,
                first_sequence,
                last,
                framing,
                replies: Vec::new(),
                refusal: None,
                interrupted: false,
            })?;
            match answer.refusal {
                Some(refusal) => return Err(refusal),
                None if answer.interrupted && attempt < DUMP_ATTEMPTS => attempt += 1,
                None => return Ok(answer.replies),
            }
            batch.requests = answer.requests;
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<(), NetlinkError> {
        loop {
            match self.socket.send(bytes, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(NetlinkError::Talk { source }),
            }
        }
    }

    fn receive(&self, mut answer: Answer) -> Result<Answer, NetlinkError> {
        let mut datagram = Vec::with_capacity(RECEIVE_BYTES);
        loop {
            datagram.clear();
            match self.socket.recv(&mut datagram, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(NetlinkError::Talk { source }),
            }
            if answer.read(&datagram)? == Progress::Complete {
                return Ok(answer);
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Progress {
    More,
    Complete,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    None,
    Transaction,
}

/// What was read so far of the answer to a batch.
struct Answer {
    /// What each request asked for.
    requests: Vec<String>,
    first_sequence: u32,
    /// Index of the request whose answer is the last.
    last: usize,
    framing: Framing,
    replies: Vec<Reply>,
    refusal: Option<NetlinkError>,
    /// A list of which not all may be true at the same time.
    interrupted: bool,
}

impl Answer {
    fn read(&mut self, mut datagram: &[u8]) -> Result<Progress, NetlinkError> {
        while !datagram.is_empty() {
            let header = Header::parse(datagram)?;
            let message = datagram.get(..header.length).ok_or(TRUNCATED)?;
            if self.read_message(&header, message)? == Progress::Complete {
                return Ok(Progress::Complete);
            }
            let aligned = header.length.next_multiple_of(4).min(datagram.len());
            datagram = &datagram[aligned..];
        }
        Ok(Progress::More)
    }

    fn read_message(&mut self, header: &Header, message: &[u8]) -> Result<Progress, NetlinkError> {
        let offset = header.sequence.wrapping_sub(self.first_sequence);
        let index = usize::try_from(offset).unwrap_or(usize::MAX);
        if index >= self.requests.len() {
            return Ok(Progress::More);
        }
        self.interrupted |= header.flags & (MULTI | INTERRUPTED) == MULTI | INTERRUPTED;
        let body = &message[HEADER_LEN..];
        let ends = match header.kind {
            ERROR => {
                let code = i32::from_ne_bytes(array(body)?);
                if code != 0 && self.refusal.is_none() {
                    self.refusal = Some(self.refused(header, index, message, code));
                }
                // A transaction whose frame is refused gets no other answer.
                let frame = self.framing == Framing::Transaction && index == 0 && code != 0;
                index == self.last || frame
            }
            DONE => index == self.last,
            kind => {
                self.replies.push(Reply {
                    kind,
                    body: body.to_vec(),
                });
                index == self.last && header.flags & MULTI == 0
            }
        };
        Ok(if ends {
            Progress::Complete
        } else {
            Progress::More
        })
    }

    fn refused(&self, header: &Header, index: usize, message: &[u8], code: i32) -> NetlinkError {
        let detail = if header.flags & ACK_TLVS == 0 {
            None
        } else {
            extended_message(message)
        };
        NetlinkError::Refused {
            request: format!("cannot {}", self.requests[index]),
            detail: detail.unwrap_or_default(),
            source: io::Error::from_raw_os_error(code.saturating_neg()),
        }
    }
}

const TRUNCATED: NetlinkError = NetlinkError::Malformed {
    what: "truncated message",
};

/// The fields of `struct nlmsghdr` that matter.
struct Header {
    length: usize,
    kind: u16,
    flags: u16,
    sequence: u32,
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, NetlinkError> {
        let header = bytes.get(..HEADER_LEN).ok_or(TRUNCATED)?;
        let length = usize::try_from(u32::from_ne_bytes(array(header)?)).unwrap_or(0);
        if length < HEADER_LEN {
            return Err(TRUNCATED);
        }
        Ok(Self {
            length,
            kind: u16::from_ne_bytes(array(&header[4..])?),
            flags: u16::from_ne_bytes(array(&header[6..])?),
            sequence: u32::from_ne_bytes(array(&header[8..])?),
        })
    }
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], NetlinkError> {
    bytes.first_chunk().copied().ok_or(TRUNCATED)
}

/// The kernel's sentence in an acknowledgement: after its header, the error number and the
/// header of the request (`NETLINK_CAP_ACK` leaves the request itself away).
fn extended_message(message: &[u8]) -> Option<String> {
    let attributes = message.get(HEADER_LEN + 4 + HEADER_LEN..)?;
    let (_, text) = attributes_of(attributes).find(|(kind, _)| *kind == ATTR_MSG)?;
    let text = text.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// Walks netlink attributes: the type without its flag bits, and the value.
/// A malformed tail ends the walk.
pub(crate) fn attributes_of(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const TYPE_MASK: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?) & TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_stop_at_a_malformed_tail_instead_of_reading_past_it() {
        let cases: [(&[u8], usize); 5] = [
            (&[], 0),
            (&[8, 0, 1, 0, 1, 2, 3, 4], 1),
            (&[5, 0, 1, 0, 7, 0, 0, 0, 4, 0, 2, 0], 2),
            (&[200, 0, 1, 0, 1], 0),
            (&[0, 0, 1, 0, 1, 1, 1, 1], 0),
        ];
        for (bytes, expected) in cases {
            assert_eq!(attributes_of(bytes).count(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_batch_aligns_its_messages_and_states_their_length() {
        let mut batch = Batch::default();
        batch.push("first", 16, flag::ACK, |body| {
            body.extend_from_slice(&[1, 2, 3])
        });
        batch.push("second", 17, 0, |_| {});

        assert_eq!(batch.bytes.len(), 20 + 16);
        assert_eq!(Header::parse(&batch.bytes).unwrap().length, 19);
        batch.number_from(7);
        assert_eq!(Header::parse(&batch.bytes[20..]).unwrap().sequence, 8);
    }

    #[test]
    fn an_answer_that_lies_about_its_length_is_malformed() {
        let mut answer = Answer {
            requests: vec!["x".to_owned()],
            first_sequence: 1,
            last: 0,
            framing: Framing::None,
            replies: vec![],
            refusal: None,
            interrupted: false,
        };
        let mut datagram = vec![0u8; 20];
        datagram[..4].copy_from_slice(&400u32.to_ne_bytes());

        let result = answer.read(&datagram);

        assert!(matches!(result, Err(NetlinkError::Malformed { .. })));
    }
}
