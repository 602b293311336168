//! A firewall that forbids forwarding, and the two rules that our bridge needs in it.
//!
//! dockerd (and many an administrator) sets the policy of `iptables`' FORWARD chain to DROP.
//! Where `net.bridge.bridge-nf-call-iptables` is 1 that chain sees even what one container
//! sends to another on the same bridge, so without these rules our bridge passes nothing.
//! Accepting there opens nothing: "drop" is final across tables, and our own forward chain
//! drops what is not to enter the bridge.

use super::encode::Family;
use super::expression::{Expression, Meta, Verdict, iptables_interface};
use super::message::RulePlace;
use super::socket::NftSocket;
use crate::bridge::Direction;
use crate::name::InterfaceName;
use crate::netlink::NetlinkError;

const NF_DROP: u32 = 0;
/// The table that `iptables-nft` keeps its filter rules in.
const TABLE: &str = "filter";
const FORWARD: &str = "FORWARD";
/// The chain that Docker reserves for other people's rules, and evaluates first.
const DOCKER_USER: &str = "DOCKER-USER";

/// What `iptables`' FORWARD chain does with packets that no rule decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForwardPolicy {
    /// There is no such chain in nftables.
    Absent,
    /// They pass.
    Accept,
    /// They are dropped.
    Drop,
}

/// The chain where our rules belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BaseChain {
    DockerUser,
    Forward,
}

impl BaseChain {
    const ALL: [Self; 2] = [Self::DockerUser, Self::Forward];

    const fn place(self) -> RulePlace<'static> {
        let chain = match self {
            Self::DockerUser => DOCKER_USER,
            Self::Forward => FORWARD,
        };
        RulePlace {
            family: Family::Ipv4,
            table: TABLE,
            chain,
        }
    }
}

/// A chain of somebody else that drops what no rule of it accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DroppingChain(String);

impl std::fmt::Display for DroppingChain {
    /// As `nft` takes it: family, table, name.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl NftSocket {
    /// Every chain with a policy of DROP that our bridge's packets pass and where we add no
    /// rules: all but `iptables`' own. Which rules it has is for its owner to know.
    pub(crate) fn dropping_forward_chains(&self) -> Result<Vec<DroppingChain>, NetlinkError> {
        /// `NF_INET_FORWARD`; `NF_BR_FORWARD` is the same.
        const HOOK: u32 = 2;
        let chains = self.chains()?;
        let dropping = chains
            .into_iter()
            .filter(|chain| chain.hook == Some(HOOK) && chain.facts.policy == Some(NF_DROP));
        let named = dropping.filter_map(|chain| {
            let family = match chain.family {
                1 => "inet",
                2 => "ip",
                7 => "bridge",
                // Our bridges have no IPv6, and the others do not forward.
                _ => return None,
            };
            Some(format!("{family} {} {}", chain.table, chain.name))
        });
        let iptables = format!("ip {TABLE} {FORWARD}");
        Ok(named
            .filter(|name| *name != iptables)
            .map(DroppingChain)
            .collect())
    }

    /// Looks at the policy of `iptables-nft`'s FORWARD chain.
    pub(crate) fn forward_policy(&self) -> Result<ForwardPolicy, NetlinkError> {
        let facts = self.chain(Family::Ipv4, TABLE, FORWARD)?;
        Ok(match facts.and_then(|facts| facts.policy) {
            None => ForwardPolicy::Absent,
            Some(NF_DROP) => ForwardPolicy::Drop,
            Some(_) => ForwardPolicy::Accept,
        })
    }

    /// Sees to it that a FORWARD policy of DROP lets our bridge pass. Idempotent.
    pub(crate) fn ensure_forward_accepts(
        &self,
        bridge: &InterfaceName,
    ) -> Result<(), NetlinkError> {
        if self.forward_policy()? != ForwardPolicy::Drop {
            return Ok(());
        }
        // A DOCKER-USER that nothing jumps to, left by a Docker that is gone, is never evaluated.
        let docker = self.chain(Family::Ipv4, TABLE, DOCKER_USER)?;
        let referenced = match docker {
            None => false,
            Some(facts) => {
                let rules = self.rules(&BaseChain::DockerUser.place())?.len();
                usize::try_from(facts.uses).unwrap_or(0) > rules
            }
        };
        let chain = if referenced {
            BaseChain::DockerUser
        } else {
            BaseChain::Forward
        };
        let place = chain.place();
        let present = self.rules(&place)?;
        for direction in Direction::ALL {
            let comment = direction.comment(bridge);
            if !present
                .iter()
                .any(|rule| rule.comment.as_deref() == Some(&comment))
            {
                self.insert_rule(&place, &direction.rule(bridge), &comment)?;
            }
        }
        Ok(())
    }

    /// Takes our rules out of whatever chain they are in.
    pub(crate) fn remove_forward_accepts(
        &self,
        bridge: &InterfaceName,
    ) -> Result<(), NetlinkError> {
        let ours = Direction::ALL.map(|direction| direction.comment(bridge));
        for chain in BaseChain::ALL {
            let place = chain.place();
            if self
                .chain(place.family, place.table, place.chain)?
                .is_none()
            {
                continue;
            }
            for rule in self.rules(&place)? {
                if rule.comment.is_some_and(|comment| ours.contains(&comment)) {
                    self.delete_rule(&place, rule.handle)?;
                }
            }
        }
        Ok(())
    }
}

impl Direction {
    /// By this our rules are known again.
    fn comment(self, bridge: &InterfaceName) -> String {
        match self {
            Self::FromBridge => format!("rocker: from {bridge}"),
            Self::ToBridge => format!("rocker: to {bridge}"),
        }
    }

    /// `-i BRIDGE -j ACCEPT` or `-o BRIDGE -j ACCEPT`, expression for expression as
    /// `iptables-nft` writes it: of anything else it says that the table is incompatible.
    fn rule(self, bridge: &InterfaceName) -> Vec<Expression> {
        let interface = match self {
            Self::FromBridge => Meta::InputInterface,
            Self::ToBridge => Meta::OutputInterface,
        };
        let mut rule = iptables_interface(interface, bridge);
        rule.extend([Expression::Counter, Expression::Verdict(Verdict::Accept)]);
        rule
    }
}
