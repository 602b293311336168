//! Resource limits.

use rocker_types::UlimitKind;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::process::{At, InitFailure, InitStep};
use crate::spec::RlimitSpec;

fn resource(kind: UlimitKind) -> Resource {
    match kind {
        UlimitKind::Core => Resource::Core,
        UlimitKind::Cpu => Resource::Cpu,
        UlimitKind::Data => Resource::Data,
        UlimitKind::Fsize => Resource::Fsize,
        UlimitKind::Locks => Resource::Locks,
        UlimitKind::Memlock => Resource::Memlock,
        UlimitKind::Msgqueue => Resource::Msgqueue,
        UlimitKind::Nice => Resource::Nice,
        UlimitKind::Nofile => Resource::Nofile,
        UlimitKind::Nproc => Resource::Nproc,
        UlimitKind::Rss => Resource::Rss,
        UlimitKind::Rtprio => Resource::Rtprio,
        UlimitKind::Rttime => Resource::Rttime,
        UlimitKind::Sigpending => Resource::Sigpending,
        UlimitKind::Stack => Resource::Stack,
    }
}

/// Sets every limit. Defaults give way to the inherited hard limit: hosts without
/// `CAP_SYS_RESOURCE` cannot raise it, and no user asked for it.
pub(super) fn apply(limits: &[RlimitSpec]) -> Result<(), InitFailure> {
    for limit in limits {
        let (ulimit, ceiling) = match limit {
            RlimitSpec::Default(ulimit) => (
                ulimit,
                getrlimit(resource(ulimit.kind)).maximum.unwrap_or(u64::MAX),
            ),
            RlimitSpec::Exactly(ulimit) => (ulimit, u64::MAX),
        };
        let value = |value: u64| Some(value.min(ceiling)).filter(|value| *value != u64::MAX);
        let new = Rlimit {
            current: value(ulimit.soft),
            maximum: value(ulimit.hard),
        };
        setrlimit(resource(ulimit.kind), new).at(InitStep::Rlimit, ulimit.kind.name())?;
    }
    Ok(())
}
