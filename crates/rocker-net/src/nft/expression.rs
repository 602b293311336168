//! The expressions that rules are made of.
//!
//! Numbers and layouts: Linux `include/uapi/linux/netfilter/nf_tables.h`; the sequences are
//! those that `nft --debug=netlink` prints for the same rule, so that `nft` and `iptables`
//! can show our rules in their own words.

use crate::address::Ipv4Net;
use crate::name::InterfaceName;

/// `NFT_REG_1`, where a rule loads what it looks at.
pub(super) const REGISTER: u32 = 1;
/// The registers of four bytes that follow it: the second and third field of a concatenation.
pub(super) const SECOND_FIELD: u32 = 9;
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
pub(super) const IPV4: u8 = 2;
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
    expressions.extend(load_ipv4_address_and_port());
    expressions
}

/// The same of packets that are known to be IPv4.
pub(crate) fn load_ipv4_address_and_port() -> Vec<Expression> {
    let mut expressions = vec![Expression::Payload {
        header: Header::Network,
        offset: DESTINATION_OFFSET,
        length: 4,
        register: REGISTER,
    }];
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
