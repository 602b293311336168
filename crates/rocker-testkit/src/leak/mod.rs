//! Finds what rocker left behind: the machine's state as a set of lines, before and after.
//!
//! Tests run in parallel, so a snapshot holds only what belongs to one test:
//!
//! | kind | what | how it is told from other tests' |
//! | --- | --- | --- |
//! | `mount` | mountinfo | the test's own mount namespace, whole; of process 1's, what lies below our roots |
//! | `link` `address` `route` `nft` `iptables` | `ip -j`, `nft -j list ruleset`, `iptables-save` | the test's own network namespace, whole, without counters and handles |
//! | `listen` `socket` | `/proc/thread-self/net/{tcp,tcp6,udp,udp6,unix}` | the own network namespace; sockets of the test process itself do not count; unix sockets below the runroot |
//! | `cgroup` | directories in every hierarchy | named after a container id that ever appeared below the runroot |
//! | `process` | `/proc/*` | in the test's network namespace or in a cgroup named after an id; the test process and its direct children do not count |
//! | `loop` | `/sys/block/loop*` | backing file below our roots |
//! | `file` | below root (all but databases) and runroot (all but databases, locks without an id, and directories without one) | own directories |
//! | `layer` `blob` | committed layers and documents | own directories |
//! | `rows` | number of rows of each table of both databases | own databases |
//! | `database` | `integrity_check` and `foreign_key_check`, only when they complain | own databases |
//! | `sysctl` | `kernel.core_pattern` and what else a container must never reach | the same for all |
//!
//! Not watched, and why: the host's `/dev/pts` (terminals of containers live in devpts instances
//! of their own, and other tests open terminals), deleted files (only a live process can hold
//! one, and processes are watched), System V and POSIX IPC (containers have a namespace of
//! their own).

mod database;
mod machine;
mod network;
mod tree;

use std::collections::BTreeSet;
use std::path::PathBuf;

pub(crate) use machine::{await_monitors, kill_what_is_left};

/// Whose traces to look for.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The data directory.
    pub root: PathBuf,
    /// The volatile directory.
    pub runroot: PathBuf,
    /// Every container id that ever existed here.
    pub ids: Vec<String>,
}

/// The machine's state at one moment, one line a fact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    facts: BTreeSet<String>,
}

impl Snapshot {
    /// What `later` has more (`+`) or less (`-`), one line each. A mount whose mount point is gone
    /// does not count: the kernel takes it out of every namespace when somebody, say another
    /// container manager, removes that directory.
    pub fn difference(&self, later: &Self) -> Vec<String> {
        let gone = self
            .facts
            .difference(&later.facts)
            .filter(|fact| !machine::is_without_mount_point(fact))
            .map(|fact| format!("- {fact}"));
        let new = later
            .facts
            .difference(&self.facts)
            .map(|fact| format!("+ {fact}"));
        gone.chain(new).collect()
    }
}

/// Collects every fact that belongs to `scope`. Call it on the thread whose namespaces are meant.
pub fn snapshot(scope: &Scope) -> Snapshot {
    let mut facts = BTreeSet::new();
    facts.extend(machine::mounts(scope));
    facts.extend(machine::processes(scope));
    facts.extend(
        machine::cgroups(&scope.ids)
            .into_iter()
            .map(|path| format!("cgroup {}", path.display())),
    );
    facts.extend(machine::loop_devices(scope));
    facts.extend(machine::sysctls());
    facts.extend(network::facts(scope));
    facts.extend(tree::facts(scope));
    facts.extend(database::facts(scope));
    Snapshot { facts }
}

/// Whether a line of a difference is about pulled images, which are meant to stay.
pub fn is_image_store(line: &str) -> bool {
    let fact = line.trim_start_matches(['+', '-', ' ']);
    let image_rows = ["image", "layer", "tag", "blob", "manifest", "repo_digest"];
    fact.starts_with("layer ")
        || fact.starts_with("blob ")
        || fact.starts_with("file root/images/")
        || fact
            .strip_prefix("rows rocker.db ")
            .is_some_and(|rest| image_rows.iter().any(|word| rest.contains(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_what_came_and_what_went() {
        let snapshot = |facts: &[&str]| Snapshot {
            facts: facts.iter().map(|fact| (*fact).to_owned()).collect(),
        };

        let lines = snapshot(&[
            "link lo",
            "mount / ext4 x",
            "mount /no/such/directory ext4 x",
        ])
        .difference(&snapshot(&["link lo", "cgroup /x"]));

        assert_eq!(lines, ["- mount / ext4 x", "+ cgroup /x"]);
    }

    #[test]
    fn only_images_count_as_the_store() {
        for (line, expected) in [
            ("+ layer 0123", true),
            ("+ rows rocker.db image_layer 4", true),
            ("- rows rocker.db tag 0", true),
            ("+ rows live.db lease 1", false),
            ("+ file root/images/0123.json", true),
            ("+ file root/tmp/x", false),
            ("+ cgroup /sys/fs/cgroup/pids/rocker/ab", false),
        ] {
            assert_eq!(is_image_store(line), expected, "{line}");
        }
    }
}
