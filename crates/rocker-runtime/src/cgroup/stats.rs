//! What a container uses, and how often the kernel killed a process of it for memory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::Pid;

use super::control;
use super::create::Cgroup;
use super::error::CgroupReadError;
use super::plan::Version;
use super::wait::processes;

/// What a cgroup uses at one moment. `None` where no hierarchy counts it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupStats {
    /// CPU time of all processes so far.
    pub cpu_time: Option<Duration>,
    /// Memory in use without the page cache that can be dropped, as docker shows it. Without a
    /// memory controller: the sum of what the processes have resident, shared pages counted
    /// for each.
    pub memory_bytes: u64,
    /// The limit on it; `None` is no limit.
    pub memory_limit_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
    /// The limit on them; `None` is no limit.
    pub pids_limit: Option<u64>,
    /// Bytes read from block devices.
    pub io_read_bytes: Option<u64>,
    /// Bytes written to block devices.
    pub io_written_bytes: Option<u64>,
}

impl Cgroup {
    /// How many processes of the cgroup the kernel killed because its memory limit was
    /// reached; 0 without a memory limit.
    ///
    /// # Errors
    ///
    /// [`CgroupReadError`].
    pub fn oom_kills(&self) -> Result<u64, CgroupReadError> {
        for file in ["memory.events", "memory.oom_control"] {
            if let Some((path, text)) = self.find(file)? {
                return keyed(&text, "oom_kill").ok_or(CgroupReadError::Malformed {
                    path,
                    expected: "a line oom_kill",
                });
            }
        }
        Ok(0)
    }

    /// The processes in the cgroup and its sessions, as seen from the caller's pid namespace.
    ///
    /// # Errors
    ///
    /// [`CgroupReadError::Read`].
    pub fn pids(&self) -> Result<Vec<i32>, CgroupReadError> {
        let raw = |pid: &Pid| pid.as_raw_nonzero().get();
        Ok(self.members()?.iter().map(raw).collect())
    }

    /// Reads all counters.
    ///
    /// # Errors
    ///
    /// [`CgroupReadError`].
    pub fn stats(&self) -> Result<CgroupStats, CgroupReadError> {
        let (io_read_bytes, io_written_bytes) = self.io()?;
        Ok(CgroupStats {
            cpu_time: self.cpu_time()?,
            memory_bytes: self.memory_bytes()?,
            memory_limit_bytes: self.memory_limit()?,
            pids: self.pids_current()?,
            pids_limit: self.number("pids.max")?,
            io_read_bytes,
            io_written_bytes,
        })
    }

    /// Every v2 cgroup counts CPU time, whether or not it has the controller.
    fn cpu_time(&self) -> Result<Option<Duration>, CgroupReadError> {
        if let Some(nanoseconds) = self.number("cpuacct.usage")? {
            return Ok(Some(Duration::from_nanos(nanoseconds)));
        }
        let v2 = self.members.iter().find(|m| m.version == Version::V2);
        let Some(v2) = v2 else { return Ok(None) };
        let text = read_if_present(&v2.directory.join("cpu.stat"))?;
        Ok(text
            .and_then(|text| keyed(&text, "usage_usec"))
            .map(Duration::from_micros))
    }

    fn memory_bytes(&self) -> Result<u64, CgroupReadError> {
        let used = match self.number("memory.current")? {
            Some(used) => Some(used),
            None => self.number("memory.usage_in_bytes")?,
        };
        let Some(used) = used else {
            return self.resident_bytes();
        };
        let stat = self.find("memory.stat")?.map(|(_, text)| text);
        let droppable = stat.and_then(|text| {
            keyed(&text, "total_inactive_file").or_else(|| keyed(&text, "inactive_file"))
        });
        Ok(used.saturating_sub(droppable.unwrap_or(0)))
    }

    fn memory_limit(&self) -> Result<Option<u64>, CgroupReadError> {
        let limit = match self.number("memory.max")? {
            Some(limit) => Some(limit),
            None => self.number("memory.limit_in_bytes")?,
        };
        // v1 writes no limit as the greatest number of whole pages.
        Ok(limit.filter(|bytes| *bytes < 1 << 62))
    }

    fn pids_current(&self) -> Result<u64, CgroupReadError> {
        if let Some(pids) = self.number("pids.current")? {
            return Ok(pids);
        }
        Ok(u64::try_from(self.members()?.len()).unwrap_or(u64::MAX))
    }

    /// Bytes read and written, from `io.stat` or v1's throttle counters.
    fn io(&self) -> Result<(Option<u64>, Option<u64>), CgroupReadError> {
        if let Some((_, text)) = self.find("io.stat")? {
            return Ok((
                Some(io_sum(&text, "rbytes=")),
                Some(io_sum(&text, "wbytes=")),
            ));
        }
        let Some((_, text)) = self.find("blkio.throttle.io_service_bytes")? else {
            return Ok((None, None));
        };
        Ok((
            Some(direction_sum(&text, "Read")),
            Some(direction_sum(&text, "Write")),
        ))
    }

    fn resident_bytes(&self) -> Result<u64, CgroupReadError> {
        let mut kibibytes = 0;
        for pid in self.members()? {
            let path = format!("/proc/{}/status", pid.as_raw_nonzero());
            // A process that ended meanwhile has nothing resident.
            let text = control::read(Path::new(&path)).unwrap_or_default();
            let resident = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let number = resident.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok());
            kibibytes += number.unwrap_or(0_u64);
        }
        Ok(kibibytes * 1024)
    }

    fn members(&self) -> Result<Vec<Pid>, CgroupReadError> {
        let Some(tracking) = self.tracking() else {
            return Ok(Vec::new());
        };
        processes(&tracking.directory).map_err(|source| read_error(&tracking.directory, source))
    }

    /// The first of the cgroup's own directories that has such a file, and what is in it.
    fn find(&self, file: &str) -> Result<Option<(PathBuf, String)>, CgroupReadError> {
        for member in &self.members {
            let path = member.directory.join(file);
            if let Some(text) = read_if_present(&path)? {
                return Ok(Some((path, text)));
            }
        }
        Ok(None)
    }

    /// A file that holds one number, or `max` for none.
    fn number(&self, file: &str) -> Result<Option<u64>, CgroupReadError> {
        let Some((path, text)) = self.find(file)? else {
            return Ok(None);
        };
        match text.trim() {
            "max" => Ok(None),
            number => number
                .parse()
                .map(Some)
                .map_err(|_| CgroupReadError::Malformed {
                    path,
                    expected: "a number",
                }),
        }
    }
}

fn read_if_present(path: &Path) -> Result<Option<String>, CgroupReadError> {
    match control::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(Errno::NOENT | Errno::NODEV) => Ok(None),
        Err(source) => Err(read_error(path, source)),
    }
}

fn read_error(path: &Path, source: Errno) -> CgroupReadError {
    CgroupReadError::Read {
        path: path.to_owned(),
        source: source.into(),
    }
}

/// The number in the line `key NUMBER`.
fn keyed(text: &str, key: &str) -> Option<u64> {
    let value = |line: &str| {
        line.strip_prefix(key)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    };
    text.lines().find_map(value)
}

/// Adds up `key` over the devices of `io.stat`: `8:0 rbytes=1 wbytes=2 rios=…`.
fn io_sum(text: &str, key: &str) -> u64 {
    let numbers = text
        .split_whitespace()
        .filter_map(|word| word.strip_prefix(key));
    numbers
        .filter_map(|number| number.parse::<u64>().ok())
        .sum()
}

/// Adds up one direction over the devices of a v1 counter: `8:0 Read 4096`.
fn direction_sum(text: &str, direction: &str) -> u64 {
    let number = |line: &str| {
        let mut words = line.split(' ').skip(1);
        (words.next()? == direction).then(|| words.next()?.parse::<u64>().ok())?
    };
    text.lines().filter_map(number).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_their_whole_name() {
        let events = "low 0\noom 3\noom_kill 2\noom_group_kill 0\n";
        assert_eq!(keyed(events, "oom_kill"), Some(2));
        assert_eq!(
            keyed("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", "oom_kill"),
            Some(1)
        );
        assert_eq!(keyed(events, "absent"), None);
    }

    #[test]
    fn block_counters_add_up_over_devices() {
        let v2 = "8:0 rbytes=100 wbytes=7 rios=1\n8:16 rbytes=5 wbytes=0 rios=1\n";
        assert_eq!((io_sum(v2, "rbytes="), io_sum(v2, "wbytes=")), (105, 7));
        let v1 = "8:0 Read 100\n8:0 Write 7\n8:0 Total 107\n8:16 Read 5\nTotal 112\n";
        let sums = (direction_sum(v1, "Read"), direction_sum(v1, "Write"));
        assert_eq!(sums, (105, 7));
    }
}
