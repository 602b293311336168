//! Whether this host can run containers: `rocker system check`.

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeStatus {
    /// Works.
    Ok,
    /// Works with a restriction.
    Warn,
    /// Containers will not run.
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

/// Probes kernel, capabilities, namespaces, cgroups, overlay, seccomp and more. Touches
/// nothing that outlives the call.
#[must_use]
pub fn probe() -> Vec<ProbeLine> {
    todo!()
}
