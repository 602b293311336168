//! Device nodes: the default ones, the host's, and one of the host's by path.

use std::io;
use std::path::Path;

use crate::spec::DeviceNode;

/// Every device node below the host's `/dev`, as `--privileged` wants it.
///
/// # Errors
///
/// The first directory that cannot be read.
pub fn host_devices() -> io::Result<Vec<DeviceNode>> {
    todo!()
}

/// What the device node at `host` on the host looks like at `container` in the container.
///
/// # Errors
///
/// `ENODEV` if it is no device node, or what stat(2) says.
pub fn device_from_host(host: &Path, container: &str) -> io::Result<DeviceNode> {
    let _ = (host, container);
    todo!()
}
