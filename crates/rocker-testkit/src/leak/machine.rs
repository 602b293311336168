//! Mounts, processes, cgroups, loop devices, sysctls.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::Scope;
use crate::host::poll_until;

/// `mount <mount point> <type> <source>`.
pub(super) fn mounts(scope: &Scope) -> Vec<String> {
    let own = mountinfo("/proc/thread-self/mountinfo");
    let below_us = |line: &String| {
        [&scope.root, &scope.runroot]
            .iter()
            .any(|root| line.contains(&*root.to_string_lossy()))
    };
    let of_init = mountinfo("/proc/1/mountinfo")
        .into_iter()
        .filter(below_us)
        .map(|line| format!("mount of process 1: {line}"));
    own.into_iter()
        .map(|line| format!("mount {line}"))
        .chain(of_init)
        .collect()
}

/// Whether `fact` is a mount on a directory that does not exist any more.
pub(super) fn is_without_mount_point(fact: &str) -> bool {
    fact.strip_prefix("mount ")
        .and_then(|rest| rest.split(' ').next())
        .is_some_and(|point| !Path::new(point).exists())
}

/// Mount point, type and source of each line: the fields that do not change by themselves.
fn mountinfo(path: &str) -> Vec<String> {
    let text = fs_err::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (place, what) = line.split_once(" - ")?;
            let mount_point = place.split(' ').nth(4)?;
            let mut what = what.split(' ');
            Some(format!("{mount_point} {} {}", what.next()?, what.next()?))
        })
        .collect()
}

/// The mount points of every cgroup hierarchy, v1 and v2.
fn hierarchies() -> Vec<PathBuf> {
    mountinfo("/proc/thread-self/mountinfo")
        .iter()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let mount_point = fields.next()?;
            fields
                .next()
                .filter(|kind| kind.starts_with("cgroup"))
                .map(|_| PathBuf::from(mount_point))
        })
        .collect()
}

/// Every cgroup directory whose name contains one of `ids`, deepest last.
pub(super) fn cgroups(ids: &[String]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    if !ids.is_empty() {
        for hierarchy in hierarchies() {
            walk_cgroups(&hierarchy, ids, false, &mut found);
        }
    }
    found
}

fn walk_cgroups(directory: &Path, ids: &[String], inside: bool, found: &mut Vec<PathBuf>) {
    // A directory that vanishes while we look is not a leak.
    let Ok(entries) = fs_err::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let ours = inside
            || ids
                .iter()
                .any(|id| entry.file_name().to_string_lossy().contains(id.as_str()));
        if ours {
            found.push(entry.path());
        }
        walk_cgroups(&entry.path(), ids, ours, found);
    }
}

/// Processes of this test's world: in this thread's network namespace, or in a container's cgroup.
fn own_processes(ids: &[String]) -> Vec<Process> {
    let network = fs_err::read_link("/proc/thread-self/ns/net").ok();
    let test = std::process::id().to_string();
    let Ok(entries) = fs_err::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| Process::read(&entry.path()).ok().flatten())
        .filter(|process| process.pid.to_string() != test && process.parent != test)
        .filter(|process| {
            process.network == network || ids.iter().any(|id| process.cgroup.contains(id.as_str()))
        })
        .collect()
}

struct Process {
    pid: i32,
    parent: String,
    name: String,
    network: Option<PathBuf>,
    cgroup: String,
}

impl Process {
    /// `None` for what is not a process, or is a zombie: that one is its parent's, not a leak.
    fn read(directory: &Path) -> io::Result<Option<Self>> {
        let Some(pid) = directory
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok())
        else {
            return Ok(None);
        };
        let stat = fs_err::read_to_string(directory.join("stat"))?;
        let Some((head, tail)) = stat.rsplit_once(") ") else {
            return Ok(None);
        };
        let mut fields = tail.split(' ');
        if fields.next() == Some("Z") {
            return Ok(None);
        }
        Ok(Some(Self {
            pid,
            parent: fields.next().unwrap_or_default().to_owned(),
            name: head
                .split_once('(')
                .map_or("?", |(_, name)| name)
                .to_owned(),
            // Kernel threads and dying processes have none.
            network: fs_err::read_link(directory.join("ns/net")).ok(),
            cgroup: fs_err::read_to_string(directory.join("cgroup"))?,
        }))
    }
}

/// `process <pid> <name>`.
pub(super) fn processes(scope: &Scope) -> Vec<String> {
    own_processes(&scope.ids)
        .iter()
        .map(|process| format!("process {} {}", process.pid, process.name))
        .collect()
}

/// Waits until the processes of this network namespace that the test did not start itself (the
/// monitors, above all) have ended, or the deadline passes.
pub(crate) fn await_monitors(deadline: Instant) {
    for process in own_processes(&[]) {
        if let Some(pidfd) =
            Pid::from_raw(process.pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        {
            poll_until(&pidfd, deadline);
        }
    }
}

/// Kills every process of this test's world and removes its cgroups: the last resort after a
/// failed test. Only processes in our namespace or in cgroups named after our ids are touched.
pub(crate) fn kill_what_is_left(ids: &[String]) {
    for process in own_processes(ids) {
        if let Some(pidfd) =
            Pid::from_raw(process.pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        {
            // It may have ended in the meantime.
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        }
    }
    for directory in cgroups(ids).iter().rev() {
        // Busy ones are those of processes that are just dying; the next test run is not harmed.
        let _ = fs_err::remove_dir(directory);
    }
}

/// `loop <device> <backing file>` for files below our roots.
pub(super) fn loop_devices(scope: &Scope) -> Vec<String> {
    let Ok(entries) = fs_err::read_dir("/sys/block") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let backing = fs_err::read_to_string(entry.path().join("loop/backing_file")).ok()?;
            let ours = [&scope.root, &scope.runroot]
                .iter()
                .any(|root| backing.starts_with(&*root.to_string_lossy()));
            ours.then(|| {
                format!(
                    "loop {} {}",
                    entry.file_name().to_string_lossy(),
                    backing.trim()
                )
            })
        })
        .collect()
}

/// Settings of the whole machine that no container and no test of ours may ever change.
pub(super) fn sysctls() -> Vec<String> {
    [
        "kernel/core_pattern",
        "kernel/modprobe",
        "kernel/sysrq",
        "vm/overcommit_memory",
    ]
    .iter()
    .filter_map(|name| {
        let value = fs_err::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
        Some(format!("sysctl {name} {}", value.trim()))
    })
    .collect()
}
