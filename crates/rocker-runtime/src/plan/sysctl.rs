//! Which kernel settings a container may have for its own.

use super::PlanError;
use crate::spec::NetworkNamespace;

/// A setting of one of the container's own namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sysctl {
    /// Path below `/proc/sys`, without leading slash.
    pub(crate) path: String,
    /// One line.
    pub(crate) value: String,
}

/// What belongs to the IPC namespace.
const IPC: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

impl Sysctl {
    /// Checks name and value: anything that is not namespaced would change the host.
    pub(crate) fn plan(
        name: &str,
        value: &str,
        network: &NetworkNamespace,
    ) -> Result<Self, PlanError> {
        let refused = |why: &'static str| PlanError::Sysctl {
            name: name.chars().take(120).collect(),
            why,
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'@');
        if !name.bytes().all(plain) || name.split('.').any(str::is_empty) {
            return Err(refused("the name must be words separated by dots"));
        }
        let of_network = name.starts_with("net.");
        if of_network && *network == NetworkNamespace::Host {
            return Err(refused("the container shares the host's network"));
        }
        if !of_network && !IPC.contains(&name) && !name.starts_with("fs.mqueue.") {
            return Err(refused(
                "only net.*, kernel.shm*, kernel.msg*, kernel.sem and fs.mqueue.* belong to a container",
            ));
        }
        let printable = |b: u8| b.is_ascii_graphic() || b == b' ';
        if value.is_empty() || value.contains('+') || !value.bytes().all(printable) {
            return Err(refused(
                "the value must be one line of plain text without +",
            ));
        }
        Ok(Self {
            path: name.replace('.', "/"),
            value: value.to_owned(),
        })
    }

    /// Whether this is about an interface that is only there once the network is attached.
    pub(crate) fn needs_network(&self) -> bool {
        let mut parts = self.path.split('/');
        let interface = match (parts.next(), parts.next(), parts.next()) {
            (Some("net"), Some(_), Some("conf" | "neigh")) => parts.next(),
            _ => None,
        };
        interface.is_some_and(|name| !matches!(name, "all" | "default" | "lo"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(name: &str, value: &str) -> Result<Sysctl, PlanError> {
        Sysctl::plan(name, value, &NetworkNamespace::New)
    }

    #[test]
    fn namespaced_settings_pass() {
        for (name, value) in [
            ("net.ipv4.ip_forward", "1"),
            ("net.ipv4.ping_group_range", "0 2147483647"),
            ("kernel.shm_rmid_forced", "1"),
            ("kernel.sem", "250 32000 32 128"),
            ("fs.mqueue.msg_max", "100"),
        ] {
            assert!(plan(name, value).is_ok(), "{name}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for (name, value) in [
            ("kernel.core_pattern", "|/bin/sh"),
            ("kernel.shm_rmid_forced", "1+kernel.core_pattern=x"),
            ("net.ipv4.ip_forward", "1\nx"),
            ("net.ipv4.ip_forward", "1\0"),
            ("net.ipv4.ip_forward", ""),
            ("net.ipv4.ip_forward\n", "1"),
            ("net/ipv4/ip_forward", "1"),
            ("net.../kernel.core_pattern", "x"),
            ("net..core", "1"),
            ("vm.swappiness", "1"),
            ("kernel.hostname", "x"),
            ("fs.file-max", "1"),
            ("", "1"),
        ] {
            assert!(plan(name, value).is_err(), "{name:?}={value:?}");
        }
        let on_host = Sysctl::plan("net.ipv4.ip_forward", "1", &NetworkNamespace::Host);
        assert!(on_host.is_err());
    }

    #[test]
    fn settings_of_an_interface_wait_for_the_network() {
        for (name, waits) in [
            ("net.ipv4.conf.eth0.rp_filter", true),
            ("net.ipv6.neigh.eth0.delay_first_probe_time", true),
            ("net.ipv4.conf.all.rp_filter", false),
            ("net.ipv4.ip_forward", false),
            ("kernel.sem", false),
        ] {
            assert_eq!(plan(name, "1").unwrap().needs_network(), waits, "{name}");
        }
    }
}
