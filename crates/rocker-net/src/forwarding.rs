//! The kernel's switches below `/proc/sys/net` that a bridge needs.

use std::io;

const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Has the kernel forward IPv4 packets, which every router must.
///
/// It is written once, by the first container, and left on: rocker cannot know who else has
/// come to need it since. It does not make the host an open router for others, no more than
/// any tool of this kind does; a FORWARD policy of DROP is for that.
pub(crate) fn ensure() -> io::Result<()> {
    if is_on()? {
        return Ok(());
    }
    fs_err::write(IP_FORWARD, "1")
}

/// Whether the kernel forwards IPv4 packets, in the calling thread's network namespace.
pub(crate) fn is_on() -> io::Result<bool> {
    Ok(fs_err::read_to_string(IP_FORWARD)?.trim() == "1")
}

/// Leaves an interface without IPv6. Where the kernel has none, that is so already.
pub(crate) fn disable_ipv6(interface: &str) {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
    if let Err(error) = fs_err::write(&path, "1") {
        tracing::debug!(%error, "no IPv6 to disable");
    }
}
