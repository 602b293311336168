//! Expressions in bytes.

use super::encode::Attributes;
use super::expression::{
    Comparison, Expression, Header, IPV4, Meta, REGISTER, SECOND_FIELD, Tracked, Verdict,
};

const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;

impl Expression {
    /// Writes the expression as a list's element.
    pub(super) fn encode(&self, list: &mut Attributes<'_>) {
        const NFTA_LIST_ELEM: u16 = 1;
        list.nest(NFTA_LIST_ELEM, |element| {
            element.text(NFTA_EXPR_NAME, self.kernel_name());
            element.nest(NFTA_EXPR_DATA, |data| self.encode_data(data));
        });
    }

    const fn kernel_name(&self) -> &'static str {
        match self {
            Self::Meta { .. } => "meta",
            Self::Payload { .. } => "payload",
            Self::Compare { .. } => "cmp",
            Self::Mask { .. } => "bitwise",
            Self::Tracked { .. } => "ct",
            Self::DestinationType => "fib",
            Self::InSet { .. } | Self::Mapped { .. } => "lookup",
            Self::Dnat => "nat",
            Self::Masquerade => "masq",
            Self::Counter => "counter",
            Self::Verdict(_) => "immediate",
        }
    }

    fn encode_data(&self, data: &mut Attributes<'_>) {
        match self {
            // Registers and keys: NFTA_META_DREG 1, NFTA_META_KEY 2.
            Self::Meta { what, register } => {
                data.number(1, *register).number(2, what.number());
            }
            // NFTA_PAYLOAD_DREG 1, _BASE 2, _OFFSET 3, _LEN 4.
            Self::Payload {
                header,
                offset,
                length,
                register,
            } => {
                data.number(1, *register).number(2, header.number());
                data.number(3, *offset).number(4, *length);
            }
            // NFTA_CMP_SREG 1, _OP 2, _DATA 3.
            Self::Compare { comparison, value } => {
                data.number(1, REGISTER).number(2, comparison.number());
                data.nest(3, |value_nest| {
                    value_nest.bytes(NFTA_DATA_VALUE, value);
                });
            }
            Self::Mask { mask } => encode_mask(data, mask),
            // NFTA_CT_DREG 1, _KEY 2.
            Self::Tracked { what } => {
                data.number(1, REGISTER).number(2, what.number());
            }
            // NFTA_FIB_DREG 1, _RESULT 2 (ADDRTYPE 3), _FLAGS 3 (DADDR 2).
            Self::DestinationType => {
                data.number(1, REGISTER).number(2, 3).number(3, 2);
            }
            // NFTA_LOOKUP_SET 1, _SREG 2, _DREG 3.
            Self::InSet { set } => {
                data.text(1, set).number(2, REGISTER);
            }
            Self::Mapped { map } => {
                data.text(1, map).number(2, REGISTER).number(3, REGISTER);
            }
            // NFTA_NAT_TYPE 1 (DNAT 1), _FAMILY 2, _REG_ADDR_MIN 3, _REG_PROTO_MIN 5.
            Self::Dnat => {
                data.number(1, 1).number(2, u32::from(IPV4));
                data.number(3, REGISTER).number(5, SECOND_FIELD);
            }
            Self::Masquerade => {}
            // NFTA_COUNTER_BYTES 1, _PACKETS 2.
            Self::Counter => {
                data.number64(1, 0).number64(2, 0);
            }
            Self::Verdict(verdict) => encode_verdict(data, verdict),
        }
    }
}

/// NFTA_BITWISE_SREG 1, _DREG 2, _LEN 3, _MASK 4, _XOR 5.
fn encode_mask(data: &mut Attributes<'_>, mask: &[u8]) {
    data.number(1, REGISTER).number(2, REGISTER).number(3, 4);
    data.nest(4, |nest| {
        nest.bytes(NFTA_DATA_VALUE, mask);
    });
    data.nest(5, |nest| {
        nest.bytes(NFTA_DATA_VALUE, &[0; 4]);
    });
}

/// NFTA_IMMEDIATE_DREG 1, _DATA 2; NFTA_VERDICT_CODE 1, _CHAIN 2.
fn encode_verdict(data: &mut Attributes<'_>, verdict: &Verdict) {
    const NFT_REG_VERDICT: u32 = 0;
    const NF_DROP: i32 = 0;
    const NF_ACCEPT: i32 = 1;
    const NFT_JUMP: i32 = -3;
    data.number(1, NFT_REG_VERDICT).nest(2, |immediate| {
        immediate.nest(NFTA_DATA_VERDICT, |nest| match verdict {
            Verdict::Drop => {
                nest.signed(1, NF_DROP);
            }
            Verdict::Accept => {
                nest.signed(1, NF_ACCEPT);
            }
            Verdict::Jump(chain) => {
                nest.signed(1, NFT_JUMP).text(2, chain);
            }
        });
    });
}

impl Meta {
    /// `NFT_META_…`.
    const fn number(self) -> u32 {
        match self {
            Self::InputInterface => 6,
            Self::OutputInterface => 7,
            Self::NetworkProtocol => 15,
            Self::TransportProtocol => 16,
        }
    }
}

impl Tracked {
    /// `NFT_CT_…`.
    const fn number(self) -> u32 {
        match self {
            Self::State => 0,
            Self::Status => 2,
        }
    }
}

impl Header {
    /// `NFT_PAYLOAD_…`.
    const fn number(self) -> u32 {
        match self {
            Self::Network => 1,
            Self::Transport => 2,
        }
    }
}

impl Comparison {
    /// `NFT_CMP_…`.
    const fn number(self) -> u32 {
        match self {
            Self::Equal => 0,
            Self::Different => 1,
        }
    }
}
