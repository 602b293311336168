//! Decides which cgroup directories a container gets and what is written into them.

use std::path::PathBuf;

use super::devices::{DeviceRule, DeviceRules};
use super::error::CgroupError;
use super::layout::{CgroupLayout, Controller, Home};
use super::limits::{Limits, MemorySwap, cpu_weight, io_weight};
use super::name::CgroupName;

/// Which generation a hierarchy is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Entered by writing to `tasks`.
    V1,
    /// Entered by `CLONE_INTO_CGROUP`.
    V2,
}

/// One effect on the container's directory of a hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CgroupStep {
    /// Writes `value` to `file`, without which the container must not start.
    Write {
        /// Absolute path.
        file: PathBuf,
        /// What to write.
        value: String,
        /// What it limits, for the error.
        limit: &'static str,
    },
    /// Writes each of `values` to `file`, one by one.
    WriteEach {
        /// Absolute path.
        file: PathBuf,
        /// What to write.
        values: Vec<String>,
        /// What they limit, for the error.
        limit: &'static str,
    },
    /// Writes to the first of these files that exists, which at least one of them must.
    WriteFirst {
        /// Absolute paths and what to write to each.
        choices: Vec<(PathBuf, String)>,
        /// What it limits, for the error.
        limit: &'static str,
    },
    /// Writes if the kernel was built or booted with such a file.
    WriteIfPresent {
        /// Absolute path.
        file: PathBuf,
        /// What to write.
        value: String,
        /// What it limits, for the error.
        limit: &'static str,
    },
    /// Copies a file of the parent directory, unless it says something already.
    Inherit {
        /// Absolute path of the child's file.
        file: PathBuf,
    },
    /// Attaches a program that allows these devices and no others (v2).
    FilterDevices {
        /// The allowed ones.
        rules: Vec<DeviceRule>,
    },
}

/// Everything about one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HierarchyPlan {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Its generation.
    pub version: Version,
    /// Controllers that `mount` and `parent` must hand down to their children (v2).
    pub delegate: Vec<Controller>,
    /// Whether rocker itself is a member of the cgroup at `mount` (v2 in a container).
    pub holds_caller: bool,
    /// The directory of all containers; shared, made when missing.
    pub parent: PathBuf,
    /// What the parent needs before a child of it is usable; harmless to repeat.
    pub parent_steps: Vec<CgroupStep>,
    /// The container's own directory.
    pub directory: PathBuf,
    /// What is written into it, in order.
    pub steps: Vec<CgroupStep>,
}

/// The directories and writes that make a container's cgroup; nothing has happened yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupPlan {
    /// The cgroup's name, the same in each hierarchy.
    pub name: CgroupName,
    /// One entry per hierarchy that is used, the tracking one first.
    pub hierarchies: Vec<HierarchyPlan>,
}

/// Decides, and touches nothing.
///
/// The tracking hierarchy always gets a directory, v1 `devices` unless everything is allowed,
/// others only for a limit.
///
/// # Errors
///
/// [`CgroupError::NoController`] when a limit has no controller on this host; the two about
/// swap when the memory limits contradict each other.
pub fn plan(
    layout: &CgroupLayout,
    name: &CgroupName,
    limits: &Limits,
    devices: &DeviceRules,
) -> Result<CgroupPlan, CgroupError> {
    let mut planner = Planner {
        layout,
        name,
        hierarchies: Vec::new(),
    };
    if let Some(home) = layout.tracking() {
        planner.hierarchy(home);
    }
    planner.devices(devices)?;
    planner.memory(limits)?;
    planner.cpu(limits)?;
    planner.cpuset(limits)?;
    planner.pids(limits)?;
    planner.blkio(limits)?;
    Ok(CgroupPlan {
        name: name.clone(),
        hierarchies: planner.hierarchies,
    })
}

struct Planner<'a> {
    layout: &'a CgroupLayout,
    name: &'a CgroupName,
    hierarchies: Vec<HierarchyPlan>,
}

impl Planner<'_> {
    fn devices(&mut self, devices: &DeviceRules) -> Result<(), CgroupError> {
        let DeviceRules::Only(rules) = devices else {
            return Ok(());
        };
        let hierarchy = self.home(Controller::Devices, "devices")?;
        match hierarchy.version {
            Version::V1 => {
                hierarchy.write("devices.deny", "a", "devices");
                hierarchy.steps.push(CgroupStep::WriteEach {
                    file: hierarchy.directory.join("devices.allow"),
                    values: rules.iter().map(ToString::to_string).collect(),
                    limit: "devices",
                });
            }
            Version::V2 => hierarchy.steps.push(CgroupStep::FilterDevices {
                rules: rules.clone(),
            }),
        }
        Ok(())
    }

    fn memory(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        if let Some(bytes) = limits.memory_bytes {
            let swap = swap_limit(bytes, limits.memory_swap)?;
            let hierarchy = self.home(Controller::Memory, "memory")?;
            match hierarchy.version {
                // Memory first: the kernel refuses a limit on memory above the one on both.
                Version::V1 => {
                    hierarchy.write("memory.limit_in_bytes", bytes, "memory");
                    hierarchy.swap("memory.memsw.limit_in_bytes", swap, "-1", |swap| {
                        bytes.saturating_add(swap)
                    });
                }
                Version::V2 => {
                    hierarchy.write("memory.max", bytes, "memory");
                    hierarchy.swap("memory.swap.max", swap, "max", |swap| swap);
                }
            }
        } else if let Some(MemorySwap::TotalBytes(_)) = limits.memory_swap {
            return Err(CgroupError::SwapWithoutMemory);
        }
        if let Some(bytes) = limits.memory_reservation_bytes {
            let hierarchy = self.home(Controller::Memory, "memory reservation")?;
            let file = hierarchy.pick("memory.soft_limit_in_bytes", "memory.low");
            hierarchy.write(file, bytes, "memory reservation");
        }
        Ok(())
    }

    fn cpu(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        if let Some(cpu) = limits.cpu {
            let hierarchy = self.home(Controller::Cpu, "CPU time")?;
            match hierarchy.version {
                Version::V1 => {
                    hierarchy.write("cpu.cfs_period_us", cpu.period_us, "CPU time");
                    hierarchy.write("cpu.cfs_quota_us", cpu.quota_us, "CPU time");
                }
                Version::V2 => {
                    let value = format!("{} {}", cpu.quota_us, cpu.period_us);
                    hierarchy.write("cpu.max", value, "CPU time");
                }
            }
        }
        if let Some(shares) = limits.cpu_shares.filter(|shares| *shares != 0) {
            let hierarchy = self.home(Controller::Cpu, "CPU shares")?;
            match hierarchy.version {
                Version::V1 => hierarchy.write("cpu.shares", shares, "CPU shares"),
                Version::V2 => hierarchy.write("cpu.weight", cpu_weight(shares), "CPU shares"),
            }
        }
        Ok(())
    }

    fn cpuset(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        let wanted = [
            ("cpuset.cpus", limits.cpuset_cpus.as_deref(), "CPUs"),
            ("cpuset.mems", limits.cpuset_mems.as_deref(), "memory nodes"),
        ];
        if wanted.iter().all(|(_, list, _)| list.is_none()) {
            return Ok(());
        }
        let hierarchy = self.home(Controller::Cpuset, "CPUs and memory nodes")?;
        for (file, list, limit) in wanted {
            // A v1 cpuset starts empty, and takes no process while one of the two is.
            let is_v1 = hierarchy.version == Version::V1;
            if is_v1 {
                let step = CgroupStep::Inherit {
                    file: hierarchy.parent.join(file),
                };
                hierarchy.parent_steps.push(step);
            }
            match list {
                Some(list) => hierarchy.write(file, list, limit),
                None if is_v1 => hierarchy.steps.push(CgroupStep::Inherit {
                    file: hierarchy.directory.join(file),
                }),
                None => {}
            }
        }
        Ok(())
    }

    fn pids(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        if let Some(pids) = limits.pids {
            self.home(Controller::Pids, "processes")?
                .write("pids.max", pids, "processes");
        }
        Ok(())
    }

    fn blkio(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        let Some(weight) = limits.blkio_weight.filter(|weight| *weight != 0) else {
            return Ok(());
        };
        let hierarchy = self.home(Controller::Blkio, "block device weight")?;
        // The scheduler BFQ brings files of its own, with its own range.
        let (bfq, plain) = match hierarchy.version {
            Version::V1 => ("blkio.bfq.weight", ("blkio.weight", u64::from(weight))),
            Version::V2 => ("io.bfq.weight", ("io.weight", io_weight(weight))),
        };
        let choices = vec![
            (hierarchy.directory.join(bfq), weight.to_string()),
            (hierarchy.directory.join(plain.0), plain.1.to_string()),
        ];
        hierarchy.steps.push(CgroupStep::WriteFirst {
            choices,
            limit: "block device weight",
        });
        Ok(())
    }

    /// The plan of the hierarchy that holds `controller`.
    fn home(
        &mut self,
        controller: Controller,
        limit: &'static str,
    ) -> Result<&mut HierarchyPlan, CgroupError> {
        let home = self
            .layout
            .home(controller)
            .ok_or(CgroupError::NoController { limit, controller })?;
        let hierarchy = self.hierarchy(home);
        // Devices need no controller in v2, a BPF program does it.
        let delegated = hierarchy.version == Version::V2 && controller != Controller::Devices;
        if delegated && !hierarchy.delegate.contains(&controller) {
            hierarchy.delegate.push(controller);
        }
        Ok(hierarchy)
    }

    /// The plan of `home`, begun if it is new: several controllers may share a hierarchy.
    fn hierarchy(&mut self, home: Home<'_>) -> &mut HierarchyPlan {
        let (mount, version, holds_caller) = match home {
            Home::V1(v1) => (&v1.mount, Version::V1, false),
            Home::V2(unified) => (&unified.mount, Version::V2, unified.holds_caller),
        };
        let index = match self.hierarchies.iter().position(|h| h.mount == *mount) {
            Some(index) => index,
            None => {
                self.hierarchies.push(HierarchyPlan {
                    mount: mount.clone(),
                    version,
                    delegate: Vec::new(),
                    holds_caller,
                    parent: self.name.parent_in(mount),
                    parent_steps: Vec::new(),
                    directory: self.name.directory_in(mount),
                    steps: Vec::new(),
                });
                self.hierarchies.len() - 1
            }
        };
        &mut self.hierarchies[index]
    }
}

impl HierarchyPlan {
    const fn pick(&self, v1: &'static str, v2: &'static str) -> &'static str {
        match self.version {
            Version::V1 => v1,
            Version::V2 => v2,
        }
    }

    fn write(&mut self, file: &str, value: impl ToString, limit: &'static str) {
        self.steps.push(CgroupStep::Write {
            file: self.directory.join(file),
            value: value.to_string(),
            limit,
        });
    }

    /// `limit_of` makes the file's value of the bytes of swap alone.
    fn swap(&mut self, file: &str, swap: Swap, unlimited: &str, limit_of: impl Fn(u64) -> u64) {
        let file = self.directory.join(file);
        let limit = "memory and swap";
        self.steps.push(match swap {
            Swap::Asked(MemorySwap::Unlimited) => CgroupStep::WriteIfPresent {
                file,
                value: unlimited.to_owned(),
                limit,
            },
            Swap::Asked(MemorySwap::TotalBytes(swap)) => CgroupStep::Write {
                file,
                value: limit_of(swap).to_string(),
                limit,
            },
            // Nobody asked, so a kernel that does not count swap is no reason to fail.
            Swap::Default(swap) => CgroupStep::WriteIfPresent {
                file,
                value: limit_of(swap).to_string(),
                limit,
            },
        });
    }
}

/// Swap alone, without the memory.
enum Swap {
    Asked(MemorySwap),
    Default(u64),
}

fn swap_limit(memory_bytes: u64, asked: Option<MemorySwap>) -> Result<Swap, CgroupError> {
    match asked {
        None => Ok(Swap::Default(memory_bytes)),
        Some(MemorySwap::Unlimited) => Ok(Swap::Asked(MemorySwap::Unlimited)),
        Some(MemorySwap::TotalBytes(total_bytes)) => total_bytes
            .checked_sub(memory_bytes)
            .map(|swap| Swap::Asked(MemorySwap::TotalBytes(swap)))
            .ok_or(CgroupError::SwapBelowMemory {
                memory_bytes,
                total_bytes,
            }),
    }
}

#[cfg(test)]
mod tests;
