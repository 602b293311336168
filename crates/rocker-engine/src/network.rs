//! Which bridge and which addresses this installation uses.

use std::net::Ipv4Addr;

use rocker_db::{DbError, LiveDb, NetworkRow};
use rocker_net::{Attachment, BridgeConfig, Census, DEFAULT_BRIDGE, Ipv4Net};
use rocker_runtime::cgroup::{Cgroup, CgroupLayout};
use rocker_types::{ContainerId, Layout};

use crate::EngineError;
use crate::engine::Engine;

/// The name of the network that containers get unless told otherwise.
pub(crate) const DEFAULT: &str = "bridge";

/// The bridge's interface: one for the default run root, one derived from the path for each
/// other, so that installations never share a bridge whose addresses they lease apart.
pub(crate) fn bridge_name(layout: &Layout) -> String {
    let runroot = layout.runroot();
    if runroot.as_os_str() == Layout::DEFAULT_RUNROOT {
        return DEFAULT_BRIDGE.to_owned();
    }
    format!(
        "rk{:010x}",
        fnv(runroot.as_os_str().as_encoded_bytes()) & 0xff_ffff_ffff
    )
}

/// FNV-1a: a stable, well spread 64-bit hash; collisions only matter between installations
/// on one host.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Chooses addresses for the default network that collide with nothing on this host.
pub(crate) fn choose(layout: &Layout) -> Result<NetworkRow, EngineError> {
    let taken = rocker_net::host::occupied_networks()
        .map_err(|source| EngineError::HostNetworks { source })?;
    let bridge = bridge_name(layout);
    let subnet = if bridge == DEFAULT_BRIDGE {
        rocker_net::choose_subnet(&taken).map_err(|source| EngineError::NoSubnet { source })?
    } else {
        own_subnet(&bridge, &taken)
            .map_or_else(|| rocker_net::choose_subnet(&taken), Ok)
            .map_err(|source| EngineError::NoSubnet { source })?
    };
    Ok(NetworkRow {
        name: DEFAULT.to_owned(),
        bridge,
        subnet: subnet.address(),
        prefix_len: subnet.prefix_len(),
        gateway: subnet.gateway(),
    })
}

/// A /24 for an installation of its own, spread by the bridge's name: several that start at
/// the same moment would all find the first candidate free.
fn own_subnet(bridge: &str, taken: &[Ipv4Net]) -> Option<Ipv4Net> {
    let candidates = (0_u8..32).filter_map(|attempt| {
        let [a, b, ..] = fnv(format!("{bridge}/{attempt}").as_bytes()).to_be_bytes();
        Ipv4Net::new(Ipv4Addr::new(10, 192 | (a & 63), b, 0), 24).ok()
    });
    candidates
        .into_iter()
        .find(|net| !taken.iter().any(|other| other.overlaps(net)))
}

/// What a container has on the bridge by the live database's word; `None` without a lease.
pub(crate) fn attachment(
    engine: &Engine,
    id: &ContainerId,
) -> Result<Option<Attachment>, EngineError> {
    let (Some(address), Some(bridge)) = (engine.live.address_of(id)?, bridge(engine)?) else {
        return Ok(None);
    };
    let ports = engine.live.ports_of(id)?;
    Ok(Some(Attachment {
        container: id.clone(),
        bridge,
        address,
        ports,
    }))
}

/// Publishes the ports of all other containers anew, after somebody flushed the rules. What
/// cannot be restored hinders nobody else: its next start tries again.
pub(crate) fn restore_others(engine: &Engine, id: &ContainerId) -> Result<(), EngineError> {
    for other in engine
        .live
        .owned_containers()?
        .iter()
        .filter(|other| *other != id)
    {
        let Some(attachment) = attachment(engine, other)? else {
            continue;
        };
        // one that has ended is withdrawing its ports just now
        if !engine.live.container(other)?.state.status.is_active() {
            continue;
        }
        if let Err(error) = rocker_net::restore(&attachment) {
            tracing::debug!(%error, container = other.short(), "its published ports stay lost");
        }
    }
    Ok(())
}

/// What the live database and the kernel know of the default network's containers.
pub(crate) struct Population<'a> {
    pub(crate) live: &'a mut LiveDb,
}

impl Census for Population<'_> {
    /// No container has an address, and this one has no cgroup.
    fn is_dead(&mut self, port: &str) -> bool {
        self.live.bridge_may_be_idle().unwrap_or(false) && has_no_cgroup(port)
    }

    fn bridge_gone(&mut self) {
        let noted = self.live.begin().and_then(|tx| {
            tx.bridge_gone()?;
            tx.commit()
        });
        if let Err(error) = noted {
            tracing::debug!(%error, "the next command looks for the bridge once more");
        }
    }
}

/// A bridge that no row tells of, with whoever lives on it by the kernel's word alone.
struct Forgotten;

impl Census for Forgotten {
    fn is_dead(&mut self, port: &str) -> bool {
        has_no_cgroup(port)
    }

    fn bridge_gone(&mut self) {}
}

/// Whether no container that has this interface has a cgroup: that of a living one outlasts even a
/// lost database.
fn has_no_cgroup(port: &str) -> bool {
    let Ok(cgroups) = CgroupLayout::detect() else {
        return false;
    };
    let owns = |id: &ContainerId| rocker_net::interface_of(id).as_str() == port;
    !Cgroup::containers(&cgroups).iter().any(owns)
}

/// Removes the bridge that a lost database knew of, with the ports that containers published on
/// it, unless a container lives on it.
pub(crate) fn sweep_forgotten(layout: &Layout) -> Result<(), EngineError> {
    let left = |source| EngineError::NetworkLeft { source };
    let name = bridge_name(layout);
    if rocker_net::has_interface(&name).map_err(left)? {
        let bridge = config_of(layout, &choose(layout)?)?;
        rocker_net::sweep(&bridge, &mut Forgotten).map_err(left)?;
    }
    Ok(())
}

/// The bridge of the default network, once one was recorded.
pub(crate) fn bridge(engine: &Engine) -> Result<Option<BridgeConfig>, EngineError> {
    let network = engine.live.network(DEFAULT)?;
    network
        .map(|network| config_of(&engine.layout, &network))
        .transpose()
}

fn config_of(layout: &Layout, network: &NetworkRow) -> Result<BridgeConfig, EngineError> {
    let corrupt = |value: String| {
        EngineError::Db(DbError::Corrupt {
            what: "a network",
            value,
        })
    };
    let subnet =
        Ipv4Net::new(network.subnet, network.prefix_len).map_err(|e| corrupt(e.to_string()))?;
    let name = network
        .bridge
        .parse()
        .map_err(|_| corrupt(network.bridge.clone()))?;
    let lock = layout.locks().join("network");
    Ok(BridgeConfig::new(name, subnet, lock))
}
