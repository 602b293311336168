//! What a container may use, and the arithmetic between the two generations of cgroups.

use rocker_types::CpuQuota;

/// How much swap a container may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemorySwap {
    /// As much as the host has (`--memory-swap -1`).
    Unlimited,
    /// Memory and swap together, in bytes; equal to the memory limit means no swap.
    TotalBytes(u64),
}

/// Limits on a container; `None` leaves the kernel's default, which is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Most memory, in bytes, before the kernel kills a process of the container.
    pub memory_bytes: Option<u64>,
    /// Memory and swap. `None` beside a memory limit means twice the memory, as in docker,
    /// where the kernel counts swap.
    pub memory_swap: Option<MemorySwap>,
    /// Memory in bytes that is reclaimed last when the host is short of it.
    pub memory_reservation_bytes: Option<u64>,
    /// CPU time per period.
    pub cpu: Option<CpuQuota>,
    /// Share of CPU time under contention, 2 to 262,144; a container without has 1,024.
    /// 0 means not set.
    pub cpu_shares: Option<u64>,
    /// Which CPUs, as a list like `0-2,7`.
    pub cpuset_cpus: Option<String>,
    /// Which memory nodes, as a list.
    pub cpuset_mems: Option<String>,
    /// Most processes and threads.
    pub pids: Option<u64>,
    /// Share of disk time under contention, 10 to 1,000. 0 means not set.
    pub blkio_weight: Option<u16>,
}

/// Converts v1's CPU shares to v2's weight so that the least, the usual and the greatest value
/// of one become those of the other (2 to 1, 1,024 to 100, 262,144 to 10,000).
///
/// Source: the formula that runc (since 1.3.2) and crun (since 1.23) agreed on: ten to the
/// power of a quadratic in the logarithm of the shares.
pub(super) fn cpu_weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    #[expect(clippy::cast_precision_loss, reason = "below 2^18")]
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and 10,000 for shares between 2 and 262,144"
    )]
    let weight = 10_f64.powf(exponent).ceil() as u64;
    weight
}

/// Converts a block weight of 10..=1000 to v2's `io.weight` of 1..=10000, linearly.
pub(super) const fn io_weight(blkio_weight: u16) -> u64 {
    1 + (blkio_weight as u64).saturating_sub(10) * 9_999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_at_the_agreed_points() {
        for (shares, weight) in [
            (1, 1),
            (2, 1),
            (512, 59),
            (1_024, 100),
            (262_144, 10_000),
            (u64::MAX, 10_000),
        ] {
            assert_eq!(cpu_weight(shares), weight, "{shares} shares");
        }
    }

    #[test]
    fn more_shares_never_weigh_less() {
        let weights: Vec<u64> = (2..262_200).step_by(7).map(cpu_weight).collect();
        assert!(weights.is_sorted());
        assert!(weights.iter().all(|w| (1..=10_000).contains(w)));
    }

    #[test]
    fn block_weights_keep_their_ends() {
        assert_eq!(io_weight(10), 1);
        assert_eq!(io_weight(1_000), 10_000);
    }
}
