//! Which table, chains, sets and rules a bridge has.
//!
//! ```text
//! hook          chain         what it decides
//! prerouting    guard         raw, before connection tracking: packets from the bridge with a source
//!                             that is not its subnet's, and packets from elsewhere to 127.0.0.0/8
//!                             for a port published there, are dropped
//! prerouting    prerouting    connections to an address of this host, but loopback: published?
//! output        output        the same for connections that this host makes itself
//!    └ jump     publish       two map lookups, by address and port, then by port alone
//! forward       forward       into the bridge: answers, published ports, the bridge itself; nothing else
//! postrouting   postrouting   out of the bridge: with this host's address
//! ```
//!
//! Every chain's policy is "accept": the table takes nothing away from traffic that is not the
//! bridge's. "drop" is final in nftables whatever other tables say, so an administrator forbids
//! more with a table of their own (`hook forward`, any priority); ours is removed with the bridge.
//!
//! Loopback is not redirected here: that needs `route_localnet`, which opens 127.0.0.0/8 to the
//! neighbours (CVE-2020-8558). [`crate::PortForwarder`] serves it.

use std::net::Ipv4Addr;

use rocker_types::PublishedPort;

use super::expression::{self, Comparison, Expression, Verdict};
use crate::address::Ipv4Net;
use crate::bridge::BridgeConfig;

/// When a chain sees packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    /// `filter` or `nat`.
    pub(super) kind: &'static str,
    /// `NF_INET_…`.
    pub(super) number: u32,
    /// Lower comes first.
    pub(super) priority: i32,
}

const PRE_ROUTING: u32 = 0;
const FORWARD: u32 = 2;
const LOCAL_OUT: u32 = 3;
const POST_ROUTING: u32 = 4;

/// `NF_IP_PRI_RAW`, `…_NAT_DST`, `…_FILTER`, `…_NAT_SRC`.
const RAW: i32 = -300;
const DESTINATION_NAT: i32 = -100;
const FILTER: i32 = 0;
const SOURCE_NAT: i32 = 100;

/// A chain; without a hook it is only jumped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChainPlan {
    pub(super) name: &'static str,
    pub(super) hook: Option<Hook>,
}

/// A rule at the end of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RulePlan {
    pub(super) chain: &'static str,
    pub(super) expressions: Vec<Expression>,
}

/// The sets and maps that published ports are elements of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetName {
    /// proto . port → address . port: published on every address.
    Published,
    /// address . proto . port → address . port: published on one address.
    PublishedOnAddress,
    /// address . proto . port: published on an address of 127.0.0.0/8.
    LoopbackPublished,
}

impl SetName {
    pub(super) const ALL: [Self; 3] = [
        Self::Published,
        Self::PublishedOnAddress,
        Self::LoopbackPublished,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::PublishedOnAddress => "published_on_address",
            Self::LoopbackPublished => "loopback_published",
        }
    }

    /// nft's numbers of the fields' types; it prints elements by them.
    pub(super) const fn key_types(self) -> &'static [u32] {
        match self {
            Self::Published => &[INET_PROTO, INET_SERVICE],
            Self::PublishedOnAddress | Self::LoopbackPublished => {
                &[IPV4_ADDRESS, INET_PROTO, INET_SERVICE]
            }
        }
    }

    pub(super) const fn value_types(self) -> Option<&'static [u32]> {
        match self {
            Self::Published | Self::PublishedOnAddress => Some(&[IPV4_ADDRESS, INET_SERVICE]),
            Self::LoopbackPublished => None,
        }
    }
}

/// `TYPE_IPADDR`, `TYPE_INET_PROTOCOL` and `TYPE_INET_SERVICE` of nft's `datatype.h`.
const IPV4_ADDRESS: u32 = 7;
const INET_PROTO: u32 = 12;
const INET_SERVICE: u32 = 13;

/// An element of one of the sets: what one published port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) set: SetName,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

impl Element {
    /// The element that publishes `port` of the container at `target`.
    pub(crate) fn of(port: &PublishedPort, target: Ipv4Addr) -> Self {
        let mut service = field(&[port.protocol.number()]);
        service.extend(field(&port.host_port.to_be_bytes()));
        let mut value = target.octets().to_vec();
        value.extend(field(&port.container_port.to_be_bytes()));

        if port.host_ip.is_unspecified() {
            return Self {
                set: SetName::Published,
                key: service,
                value: Some(value),
            };
        }
        let mut key = port.host_ip.octets().to_vec();
        key.extend(service);
        if port.host_ip.is_loopback() {
            Self {
                set: SetName::LoopbackPublished,
                key,
                value: None,
            }
        } else {
            Self {
                set: SetName::PublishedOnAddress,
                key,
                value: Some(value),
            }
        }
    }
}

/// One field of a concatenation: padded to a register of four bytes.
fn field(bytes: &[u8]) -> Vec<u8> {
    let mut field = bytes.to_vec();
    field.resize(4, 0);
    field
}

/// A bridge's table, complete but for the elements of its sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TablePlan {
    pub(crate) name: String,
    pub(super) chains: Vec<ChainPlan>,
    pub(super) rules: Vec<RulePlan>,
}

const GUARD: &str = "guard";
const PUBLISH: &str = "publish";
const PREROUTING: &str = "prerouting";
const OUTPUT: &str = "output";
/// The chain whose number of rules tells whether the table is whole.
pub(super) const FORWARD_CHAIN: &str = "forward";
const POSTROUTING: &str = "postrouting";

/// All of the loopback network.
const LOOPBACK: (Ipv4Addr, u8) = (Ipv4Addr::new(127, 0, 0, 0), 8);

impl TablePlan {
    /// Decides the whole table of `bridge`.
    pub(crate) fn of(bridge: &BridgeConfig) -> Self {
        let mut rules = guard_rules(bridge);
        rules.extend(publish_rules());
        rules.extend(postrouting_rules(bridge));
        rules.extend(forward_rules(bridge));
        let base = |name, kind, number, priority| ChainPlan {
            name,
            hook: Some(Hook {
                kind,
                number,
                priority,
            }),
        };
        let chains = vec![
            base(GUARD, "filter", PRE_ROUTING, RAW),
            ChainPlan {
                name: PUBLISH,
                hook: None,
            },
            base(PREROUTING, "nat", PRE_ROUTING, DESTINATION_NAT),
            base(OUTPUT, "nat", LOCAL_OUT, DESTINATION_NAT),
            base(POSTROUTING, "nat", POST_ROUTING, SOURCE_NAT),
            base(FORWARD_CHAIN, "filter", FORWARD, FILTER),
        ];
        Self {
            name: bridge.table_name().to_owned(),
            chains,
            rules,
        }
    }

    /// How many rules the forward chain has.
    pub(crate) fn forward_rule_count(&self) -> usize {
        self.rules
            .iter()
            .filter(|rule| rule.chain == FORWARD_CHAIN)
            .count()
    }
}

fn rule<const N: usize>(
    chain: &'static str,
    matches: [Vec<Expression>; N],
    end: Expression,
) -> RulePlan {
    let mut expressions: Vec<Expression> = matches.into_iter().flatten().collect();
    expressions.push(end);
    RulePlan { chain, expressions }
}

fn loopback() -> Option<Ipv4Net> {
    Ipv4Net::new(LOOPBACK.0, LOOPBACK.1).ok()
}

fn guard_rules(bridge: &BridgeConfig) -> Vec<RulePlan> {
    use Comparison::{Different, Equal};
    let drop = || Expression::Verdict(Verdict::Drop);
    let name = bridge.name.as_str();
    let spoofed = rule(
        GUARD,
        [
            expression::from_interface(Equal, name),
            expression::source_in(Different, bridge.subnet),
        ],
        drop(),
    );
    // The kernel drops these as martians unless somebody set route_localnet.
    let from_neighbour = loopback().map(|loopback| {
        let in_set = Expression::InSet {
            set: SetName::LoopbackPublished.as_str(),
        };
        rule(
            GUARD,
            [
                expression::from_interface(Different, "lo"),
                expression::destination_in(Equal, loopback),
                expression::load_ipv4_address_and_port(),
                vec![in_set],
            ],
            drop(),
        )
    });
    std::iter::once(spoofed).chain(from_neighbour).collect()
}

fn publish_rules() -> Vec<RulePlan> {
    let lookup = |key: Vec<Expression>, map: SetName| {
        rule(
            PUBLISH,
            [key, vec![Expression::Mapped { map: map.as_str() }]],
            Expression::Dnat,
        )
    };
    let mut rules = vec![
        lookup(
            expression::load_address_and_port(),
            SetName::PublishedOnAddress,
        ),
        lookup(expression::load_port(), SetName::Published),
    ];
    for chain in [PREROUTING, OUTPUT] {
        rules.extend(loopback().map(|loopback| {
            rule(
                chain,
                [
                    expression::destination_in(Comparison::Different, loopback),
                    expression::to_this_host(),
                ],
                Expression::Verdict(Verdict::Jump(PUBLISH)),
            )
        }));
    }
    rules
}

fn postrouting_rules(bridge: &BridgeConfig) -> Vec<RulePlan> {
    use Comparison::{Different, Equal};
    let name = bridge.name.as_str();
    let from_bridge = || expression::source_in(Equal, bridge.subnet);
    vec![
        rule(
            POSTROUTING,
            [from_bridge(), expression::to_interface(Different, name)],
            Expression::Masquerade,
        ),
        // A container that reaches a neighbour (or itself) through a port of the host: were
        // its own address left, the neighbour would answer it directly, past the translation.
        rule(
            POSTROUTING,
            [
                from_bridge(),
                expression::to_interface(Equal, name),
                expression::redirected(),
            ],
            Expression::Masquerade,
        ),
    ]
}

fn forward_rules(bridge: &BridgeConfig) -> Vec<RulePlan> {
    use Comparison::{Different, Equal};
    let name = bridge.name.as_str();
    let into_bridge = || expression::to_interface(Equal, name);
    let accept = || Expression::Verdict(Verdict::Accept);
    vec![
        rule(
            FORWARD_CHAIN,
            [into_bridge(), expression::established()],
            accept(),
        ),
        rule(
            FORWARD_CHAIN,
            [into_bridge(), expression::redirected()],
            accept(),
        ),
        rule(
            FORWARD_CHAIN,
            [into_bridge(), expression::from_interface(Different, name)],
            Expression::Verdict(Verdict::Drop),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use rocker_types::Protocol;

    /// Of two containers that publish one port on two of them, one must be able to leave alone.
    #[test]
    fn one_port_on_two_loopback_addresses_is_two_elements() {
        let element = |last| {
            let port = PublishedPort {
                host_ip: Ipv4Addr::new(127, 0, 0, last),
                host_port: 8080,
                container_port: 80,
                protocol: Protocol::Tcp,
            };
            Element::of(&port, Ipv4Addr::new(10, 88, 0, 2))
        };
        let (first, second) = (element(1), element(2));

        assert_eq!(
            (first.set, second.set),
            (SetName::LoopbackPublished, SetName::LoopbackPublished)
        );
        assert_ne!(first.key, second.key);
    }

    fn bridge() -> BridgeConfig {
        BridgeConfig::new(
            "rocker0".parse().unwrap(),
            "10.88.0.0/16".parse().unwrap(),
            "/nonexistent".into(),
        )
    }

    #[test]
    fn ports_published_on_loopback_are_never_redirected() {
        let port = |host_ip| PublishedPort {
            host_ip,
            host_port: 8080,
            container_port: 80,
            protocol: Protocol::Tcp,
        };
        let target = Ipv4Addr::new(10, 88, 0, 2);
        let cases = [
            (Ipv4Addr::UNSPECIFIED, SetName::Published, true),
            (
                Ipv4Addr::new(192, 0, 2, 1),
                SetName::PublishedOnAddress,
                true,
            ),
            (Ipv4Addr::LOCALHOST, SetName::LoopbackPublished, false),
            (
                Ipv4Addr::new(127, 9, 9, 9),
                SetName::LoopbackPublished,
                false,
            ),
        ];
        for (host_ip, set, redirected) in cases {
            let element = Element::of(&port(host_ip), target);
            assert_eq!(
                (element.set, element.value.is_some()),
                (set, redirected),
                "{host_ip}"
            );
        }
    }

    #[test]
    fn the_last_word_on_traffic_into_the_bridge_is_no() {
        let plan = TablePlan::of(&bridge());

        let last = plan
            .rules
            .iter()
            .rfind(|rule| rule.chain == FORWARD_CHAIN)
            .unwrap();

        assert_eq!(
            last.expressions.last(),
            Some(&Expression::Verdict(Verdict::Drop))
        );
    }

    #[test]
    fn every_rule_is_in_a_chain_of_the_table_and_every_jump_leads_to_one() {
        let plan = TablePlan::of(&bridge());
        let known = |name: &str| plan.chains.iter().any(|chain| chain.name == name);

        for rule in &plan.rules {
            assert!(known(rule.chain), "{rule:?}");
            for expression in &rule.expressions {
                if let Expression::Verdict(Verdict::Jump(chain)) = expression {
                    assert!(known(chain), "{rule:?}");
                }
            }
        }
    }
}
