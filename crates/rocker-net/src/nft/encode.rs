//! Netlink attributes as nfnetlink wants them: numbers big-endian, nests flagged.

/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

/// Writes attributes at the end of a message.
pub(super) struct Attributes<'a>(&'a mut Vec<u8>);

impl<'a> Attributes<'a> {
    /// Begins a message's attributes after `struct nfgenmsg`.
    ///
    /// `resource` is the identifier of the subsystem in a transaction's frame, otherwise 0.
    pub(super) fn of_message(body: &'a mut Vec<u8>, family: Family, resource: u16) -> Self {
        const NFNETLINK_V0: u8 = 0;
        body.extend_from_slice(&[family.number(), NFNETLINK_V0]);
        body.extend_from_slice(&resource.to_be_bytes());
        Self(body)
    }

    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.attribute(kind, |body| body.extend_from_slice(value))
    }

    pub(super) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        self.attribute(kind, |body| {
            body.extend_from_slice(value.as_bytes());
            body.push(0);
        })
    }

    pub(super) fn number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// A signed number, as priorities are.
    pub(super) fn signed(&mut self, kind: u16, value: i32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn number64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        self.attribute(kind | NESTED, |body| fill(&mut Attributes(body)))
    }

    fn attribute(&mut self, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        fill(self.0);
        // Names are at most 15 bytes and elements come one list per port, so nothing of ours
        // comes near the 64 KiB of an attribute; the kernel refuses a length that lies.
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        while !self.0.len().is_multiple_of(4) {
            self.0.push(0);
        }
        self
    }
}

/// The family of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// No family: the frame of a transaction.
    Unspecified,
    /// IPv4 and IPv6.
    Inet,
    /// IPv4 alone.
    Ipv4,
}

impl Family {
    /// `NFPROTO_…`.
    const fn number(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::Inet => 1,
            Self::Ipv4 => 2,
        }
    }
}
