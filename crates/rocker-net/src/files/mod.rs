//! The files through which a container knows names: `/etc/resolv.conf`, `/etc/hosts`,
//! `/etc/hostname`.
//!
//! Every word that comes from a user, an image or the host goes through [`line::Lines`], which
//! refuses what could end a line or a field (CVE-2022-4318, CVE-2026-15809).

mod hosts;
mod line;
mod resolv;

pub use hosts::{ExtraHost, HostAddress, HostsSpec, hostname, hosts};
pub use line::UnsafeText;
pub use resolv::{
    DnsOverrides, FALLBACK_NAMESERVERS, Reach, ResolvConfError, host_resolv_conf, resolv_conf,
};
