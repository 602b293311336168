//! Device nodes: the default ones, the host's, and one of the host's by path.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::io::Errno;

use crate::cgroup::DeviceKind;
use crate::spec::DeviceNode;

/// What every container has, with its minor number; the major is 1 but for tty (5).
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Names in the host's /dev that are no devices of the host but belong to a container itself.
const OWN: [&str; 8] = [
    "pts",
    "shm",
    "mqueue",
    "fd",
    "console",
    "ptmx",
    "hugepages",
    "lost+found",
];

/// The default nodes and then `more`; of two with one path the later counts.
pub(crate) fn all_nodes(more: &[DeviceNode]) -> Vec<DeviceNode> {
    let defaults = DEFAULT.iter().map(|(path, major, minor)| DeviceNode {
        path: (*path).to_owned(),
        kind: DeviceKind::Char,
        major: *major,
        minor: *minor,
        mode: 0o666,
        owner: (0, 0),
    });
    let kept = defaults.filter(|node| more.iter().all(|other| other.path != node.path));
    kept.chain(more.iter().cloned()).collect()
}

/// Every device node below the host's `/dev`, as `--privileged` wants it.
///
/// # Errors
///
/// The first directory that cannot be read.
pub fn host_devices() -> io::Result<Vec<DeviceNode>> {
    let mut found = Vec::new();
    walk(Path::new("/dev"), &mut found)?;
    Ok(found)
}

/// Devices come and go meanwhile: one that is gone is skipped.
fn walk(directory: &Path, found: &mut Vec<DeviceNode>) -> io::Result<()> {
    let entries = match fs_err::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(path) = entry.path().to_str().map(ToOwned::to_owned) else {
            continue;
        };
        let kind = entry.file_type()?;
        let own = OWN.iter().any(|own| name == *own);
        if kind.is_dir() && !own {
            walk(&entry.path(), found)?;
        } else if (kind.is_char_device() || kind.is_block_device()) && !own {
            match device_from_host(&entry.path(), &path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                device => found.push(device?),
            }
        }
    }
    Ok(())
}

/// What the device node at `host` on the host looks like at `container` in the container.
///
/// # Errors
///
/// `ENODEV` if it is no device node, or what stat(2) says.
pub fn device_from_host(host: &Path, container: &str) -> io::Result<DeviceNode> {
    let meta = fs_err::metadata(host)?;
    let kind = if meta.file_type().is_char_device() {
        DeviceKind::Char
    } else if meta.file_type().is_block_device() {
        DeviceKind::Block
    } else {
        return Err(Errno::NODEV.into());
    };
    Ok(DeviceNode {
        path: container.to_owned(),
        kind,
        major: rustix::fs::major(meta.rdev()),
        minor: rustix::fs::minor(meta.rdev()),
        mode: meta.mode() & 0o777,
        owner: (meta.uid(), meta.gid()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_the_user_names_replaces_the_default_one() {
        let mut own = all_nodes(&[])[0].clone();
        own.mode = 0o600;

        let nodes = all_nodes(&[own]);

        let nulls: Vec<_> = nodes.iter().filter(|n| n.path == "/dev/null").collect();
        assert_eq!(nulls.len(), 1);
        assert_eq!(nulls[0].mode, 0o600);
        assert_eq!(nodes.len(), 6);
    }

    #[test]
    fn the_hosts_null_device_is_known_by_its_numbers() {
        let node = device_from_host(Path::new("/dev/null"), "/dev/x").unwrap();
        assert_eq!(
            (node.major, node.minor, node.kind),
            (1, 3, DeviceKind::Char)
        );
        assert!(device_from_host(Path::new("/dev"), "/dev/x").is_err());
    }
}
