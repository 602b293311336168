//! Whether this host can give containers a network: part of `rocker system check`.

use crate::forwarding;
use crate::legacy::legacy_forward_drops;
use crate::netlink::RouteSocket;
use crate::nft::{DroppingChain, ForwardPolicy, NftSocket};

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
        Err(error) => ProbeLine::new(WHAT, ProbeStatus::Fail, told(&error))
            .cure("mount /proc, with a kernel that has IPv4"),
    }
}

fn probe_nftables() -> ProbeLine {
    const WHAT: &str = "nftables";
    const CURE: &str =
        "use a kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET, or --network host";
    match NftSocket::open().and_then(|nft| nft.forward_policy()) {
        Ok(_) => ProbeLine::new(WHAT, ProbeStatus::Ok, "the kernel answers"),
        Err(error) => ProbeLine::new(WHAT, ProbeStatus::Fail, told(&error)).cure(CURE),
    }
}

/// Makes a bridge and a veth pair in a network namespace of its own, on a thread that ends.
fn probe_bridge() -> ProbeLine {
    const WHAT: &str = "bridge and veth";
    const CURE: &str = "use a kernel with CONFIG_BRIDGE and CONFIG_VETH, or --network host";
    let result = std::thread::scope(|scope| scope.spawn(try_links).join());
    match result {
        Ok(Ok(())) => ProbeLine::new(WHAT, ProbeStatus::Ok, "the kernel makes them"),
        Ok(Err(detail)) => ProbeLine::new(WHAT, ProbeStatus::Fail, detail).cure(CURE),
        Err(_) => ProbeLine::new(WHAT, ProbeStatus::Warn, "the probe failed").cure(CURE),
    }
}

fn try_links() -> Result<(), String> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)
        .map_err(|error| format!("no network namespace: {error}"))?;
    let route = RouteSocket::open().map_err(|error| told(&error))?;
    route.probe_links().map_err(|error| told(&error))
}

/// An error with its causes, in one line.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
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
    const CURE: &str = "accept there what comes from and goes to the bridge: \
         iifname \"rocker0\" accept; oifname \"rocker0\" accept";
    let foreign = NftSocket::open().and_then(|nft| nft.dropping_forward_chains());
    let foreign = foreign.unwrap_or_default();
    if !foreign.is_empty() {
        let names: Vec<String> = foreign.iter().map(DroppingChain::to_string).collect();
        let detail = format!("DROP in {}, which rocker leaves alone", names.join(", "));
        return ProbeLine::new(WHAT, ProbeStatus::Warn, detail).cure(CURE);
    }
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
            ProbeLine::new(WHAT, ProbeStatus::Warn, told(&error)).cure("run as root to see it")
        }
        (_, Err(error)) => {
            ProbeLine::new(WHAT, ProbeStatus::Warn, told(&error)).cure("run as root to see it")
        }
        (Ok(ForwardPolicy::Accept | ForwardPolicy::Absent), _) => {
            ProbeLine::new(WHAT, ProbeStatus::Ok, "accept")
        }
    }
}
