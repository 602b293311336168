//! Whether this host can give containers a network: part of `rocker system check`.

use crate::forwarding;
use crate::legacy::legacy_forward_drops;
use crate::nft::{ForwardPolicy, NftSocket};

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeStatus {
    /// Works.
    Ok,
    /// Works with a restriction.
    Warn,
    /// Containers will have no network.
    Fail,
}

/// One line of `rocker system check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeLine {
    /// What was probed.
    pub what: &'static str,
    /// How it ended.
    pub status: ProbeStatus,
    /// What was found.
    pub detail: String,
    /// What to do about it, unless all is well.
    pub cure: Option<String>,
}

impl ProbeLine {
    fn new(what: &'static str, status: ProbeStatus, detail: impl Into<String>) -> Self {
        Self {
            what,
            status,
            detail: detail.into(),
            cure: None,
        }
    }

    fn cure(mut self, cure: &str) -> Self {
        self.cure = Some(cure.to_owned());
        self
    }
}

/// Probes forwarding, nftables, bridges and the firewall. Changes nothing.
#[must_use]
pub fn probe() -> Vec<ProbeLine> {
    vec![
        probe_forwarding(),
        probe_nftables(),
        probe_bridge(),
        probe_bridge_filter(),
        probe_firewall(),
    ]
}

fn probe_forwarding() -> ProbeLine {
    const WHAT: &str = "IPv4 forwarding";
    match forwarding::is_on() {
        Ok(true) => ProbeLine::new(WHAT, ProbeStatus::Ok, "on"),
        Ok(false) => ProbeLine::new(
            WHAT,
            ProbeStatus::Ok,
            "off; the first container with a network switches it on",
        ),
        Err(error) => ProbeLine::new(WHAT, ProbeStatus::Fail, error.to_string())
            .cure("mount /proc, with a kernel that has IPv4"),
    }
}

fn probe_nftables() -> ProbeLine {
    const WHAT: &str = "nftables";
    const CURE: &str =
        "use a kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET, or --network host";
    match NftSocket::open().and_then(|nft| nft.forward_policy()) {
        Ok(_) => ProbeLine::new(WHAT, ProbeStatus::Ok, "the kernel answers"),
        Err(error) => ProbeLine::new(WHAT, ProbeStatus::Fail, error.to_string()).cure(CURE),
    }
}

/// A module that is built in has a directory below `/sys/module` only if it has parameters;
/// the file system of modules lists it in `modules.builtin`.
fn probe_bridge() -> ProbeLine {
    const WHAT: &str = "bridge and veth";
    let missing: Vec<&str> = ["bridge", "veth"]
        .into_iter()
        .filter(|module| !has_module(module))
        .collect();
    if missing.is_empty() {
        return ProbeLine::new(
            WHAT,
            ProbeStatus::Ok,
            "in the kernel, or a module that it loads",
        );
    }
    ProbeLine::new(
        WHAT,
        ProbeStatus::Warn,
        format!("cannot be found: {}", missing.join(", ")),
    )
    .cure("use a kernel with CONFIG_BRIDGE and CONFIG_VETH if containers fail to get a network")
}

fn has_module(module: &str) -> bool {
    if fs_err::metadata(format!("/sys/module/{module}")).is_ok() {
        return true;
    }
    let Ok(release) = fs_err::read_to_string("/proc/sys/kernel/osrelease") else {
        return false;
    };
    let lists = ["modules.builtin", "modules.dep"];
    lists.iter().any(|list| {
        let path = format!("/lib/modules/{}/{list}", release.trim());
        let needle = format!("/{module}.ko");
        fs_err::read_to_string(path).is_ok_and(|text| text.contains(&needle))
    })
}

fn probe_bridge_filter() -> ProbeLine {
    const WHAT: &str = "bridge-nf-call-iptables";
    match fs_err::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables") {
        Ok(text) if text.trim() == "1" => ProbeLine::new(
            WHAT,
            ProbeStatus::Ok,
            "1: traffic between containers passes the firewall too",
        ),
        Ok(_) => ProbeLine::new(WHAT, ProbeStatus::Ok, "0"),
        Err(_) => ProbeLine::new(WHAT, ProbeStatus::Ok, "not loaded"),
    }
}

fn probe_firewall() -> ProbeLine {
    const WHAT: &str = "FORWARD policy";
    let nft = NftSocket::open().and_then(|nft| nft.forward_policy());
    match (nft, legacy_forward_drops()) {
        (Ok(ForwardPolicy::Drop), _) => ProbeLine::new(
            WHAT,
            ProbeStatus::Ok,
            "DROP; rocker adds two rules for its bridge",
        ),
        (_, Ok(Some(true))) => ProbeLine::new(
            WHAT,
            ProbeStatus::Warn,
            "DROP in iptables-legacy; rocker runs iptables-legacy to add two rules for its bridge",
        )
        .cure("move the rules to iptables-nft or nftables"),
        (Err(error), _) => {
            ProbeLine::new(WHAT, ProbeStatus::Warn, error.to_string()).cure("run as root to see it")
        }
        (_, Err(error)) => {
            ProbeLine::new(WHAT, ProbeStatus::Warn, error.to_string()).cure("run as root to see it")
        }
        (Ok(ForwardPolicy::Accept | ForwardPolicy::Absent), _) => {
            ProbeLine::new(WHAT, ProbeStatus::Ok, "accept")
        }
    }
}
