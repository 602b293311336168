//! The expressions that rules are made of.
//!
//! Numbers and layouts: Linux `include/uapi/linux/netfilter/nf_tables.h`; the sequences are
//! those that `nft --debug=netlink` prints for the same rule, so that `nft` and `iptables`
//! can show our rules in their own words.

use super::encode::Attributes;
use crate::address::Ipv4Net;
use crate::name::InterfaceName;

/// `NFT_REG_1`, where a rule loads what it looks at.
const REGISTER: u32 = 1;
/// The registers of four bytes that follow it: the second and third field of a concatenation.
const SECOND_FIELD: u32 = 9;
const THIRD_FIELD: u32 = 10;

/// What happens to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept,
    Drop,
    Jump(&'static str),
}

/// A property of the packet that needs no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meta {
    InputInterface,
    OutputInterface,
    NetworkProtocol,
    TransportProtocol,
}

/// What connection tracking knows of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tracked {
    /// One bit per state.
    State,
    /// One bit per property of the connection.
    Status,
}

/// Where bytes are loaded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header {
    Network,
    Transport,
}

/// How loaded bytes are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Different,
}

/// One step of a rule. Everything is loaded into and compared in register 1 except the later
/// fields of a concatenation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    Meta {
        what: Meta,
        register: u32,
    },
    Payload {
        header: Header,
        offset: u32,
        length: u32,
        register: u32,
    },
    Compare {
        comparison: Comparison,
        value: Vec<u8>,
    },
    Mask {
        mask: Vec<u8>,
    },
    Tracked {
        what: Tracked,
    },
    /// Loads the type of the destination address (`RTN_LOCAL` …).
    DestinationType,
    /// Ends the rule unless the loaded key is in the set.
    InSet {
        set: &'static str,
    },
    /// Replaces the loaded key by what the map has for it, or ends the rule.
    Mapped {
        map: &'static str,
    },
    /// Redirects the connection to the loaded address and port.
    Dnat,
    Masquerade,
    Counter,
    Verdict(Verdict),
}

/// `NFPROTO_IPV4`.
const IPV4: u8 = 2;
/// `RTN_LOCAL`: an address of this host.
const LOCAL: u32 = 2;
/// `IPS_DST_NAT`: the connection was redirected.
const STATUS_DNAT: u32 = 0x20;
/// Established (bit 1) and related (bit 2) of `NF_CT_STATE_BIT`.
const STATE_ESTABLISHED_RELATED: u32 = 0b110;

/// Matches (or not) the interface that the packet came in by.
pub(crate) fn from_interface(comparison: Comparison, name: &str) -> Vec<Expression> {
    interface(Meta::InputInterface, comparison, name)
}

/// Matches (or not) the interface that the packet leaves by.
pub(crate) fn to_interface(comparison: Comparison, name: &str) -> Vec<Expression> {
    interface(Meta::OutputInterface, comparison, name)
}

fn interface(what: Meta, comparison: Comparison, name: &str) -> Vec<Expression> {
    const IFNAMSIZ: usize = 16;
    let mut value = name.as_bytes().to_vec();
    value.resize(IFNAMSIZ, 0);
    vec![
        Expression::Meta {
            what,
            register: REGISTER,
        },
        Expression::Compare { comparison, value },
    ]
}

/// As `iptables -i NAME` or `-o NAME` writes it, so that `iptables -S` can read it.
pub(super) fn iptables_interface(what: Meta, name: &InterfaceName) -> Vec<Expression> {
    let mut value = name.as_str().as_bytes().to_vec();
    value.push(0);
    vec![
        Expression::Meta {
            what,
            register: REGISTER,
        },
        Expression::Compare {
            comparison: Comparison::Equal,
            value,
        },
    ]
}

fn is_ipv4() -> Vec<Expression> {
    vec![
        Expression::Meta {
            what: Meta::NetworkProtocol,
            register: REGISTER,
        },
        Expression::Compare {
            comparison: Comparison::Equal,
            value: vec![IPV4],
        },
    ]
}

const SOURCE_OFFSET: u32 = 12;
const DESTINATION_OFFSET: u32 = 16;

/// Matches IPv4 packets whose source is (or is not) in `net`.
pub(crate) fn source_in(comparison: Comparison, net: Ipv4Net) -> Vec<Expression> {
    address(SOURCE_OFFSET, comparison, net)
}

/// Matches IPv4 packets whose destination is (or is not) in `net`.
pub(crate) fn destination_in(comparison: Comparison, net: Ipv4Net) -> Vec<Expression> {
    address(DESTINATION_OFFSET, comparison, net)
}

fn address(offset: u32, comparison: Comparison, net: Ipv4Net) -> Vec<Expression> {
    let mut expressions = is_ipv4();
    expressions.extend([
        Expression::Payload {
            header: Header::Network,
            offset,
            length: 4,
            register: REGISTER,
        },
        Expression::Mask {
            mask: net.mask().to_be_bytes().to_vec(),
        },
        Expression::Compare {
            comparison,
            value: net.address().octets().to_vec(),
        },
    ]);
    expressions
}

/// Matches packets to an address of this host.
pub(crate) fn to_this_host() -> Vec<Expression> {
    vec![
        Expression::DestinationType,
        Expression::Compare {
            comparison: Comparison::Equal,
            value: LOCAL.to_ne_bytes().to_vec(),
        },
    ]
}

/// Matches packets of connections that were redirected.
pub(crate) fn redirected() -> Vec<Expression> {
    tracked(Tracked::Status, STATUS_DNAT)
}

/// Matches packets that answer, continue or report on an allowed connection.
pub(crate) fn established() -> Vec<Expression> {
    tracked(Tracked::State, STATE_ESTABLISHED_RELATED)
}

fn tracked(what: Tracked, bits: u32) -> Vec<Expression> {
    vec![
        Expression::Tracked { what },
        Expression::Mask {
            mask: bits.to_ne_bytes().to_vec(),
        },
        Expression::Compare {
            comparison: Comparison::Different,
            value: vec![0; 4],
        },
    ]
}

/// Loads protocol and destination port, the key of a published port.
pub(crate) fn load_port() -> Vec<Expression> {
    load_port_into(REGISTER, SECOND_FIELD)
}

/// Loads destination address, protocol and destination port.
pub(crate) fn load_address_and_port() -> Vec<Expression> {
    let mut expressions = is_ipv4();
    expressions.push(Expression::Payload {
        header: Header::Network,
        offset: DESTINATION_OFFSET,
        length: 4,
        register: REGISTER,
    });
    expressions.extend(load_port_into(SECOND_FIELD, THIRD_FIELD));
    expressions
}

fn load_port_into(protocol: u32, port: u32) -> Vec<Expression> {
    vec![
        Expression::Meta {
            what: Meta::TransportProtocol,
            register: protocol,
        },
        // TCP and UDP alike; for other protocols the key is in no set.
        Expression::Payload {
            header: Header::Transport,
            offset: 2,
            length: 2,
            register: port,
        },
    ]
}

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
