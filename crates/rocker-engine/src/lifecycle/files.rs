//! Directories and small files that a container needs on the host's side.

use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rocker_net::files::{DnsOverrides, HostsSpec, Reach, host_resolv_conf};
use rocker_types::{ContainerId, Layout};

use crate::EngineError;
use crate::definition::{Definition, NetworkMode};

/// What overlayfs makes in a container's directory for the option `volatile`.
pub(crate) const VOLATILE_MARK: &str = "work/work/incompat/volatile";

/// Stands for the layers of an image that has none: overlayfs wants at least one.
pub(super) const NO_LAYERS: &str = "empty";

/// Makes the container's directory and its run directory, as far as they are missing.
pub(super) fn make_directories(
    layout: &Layout,
    id: &ContainerId,
    definition: &Definition,
) -> Result<(), EngineError> {
    let container = layout.container(id);
    let private = [layout.containers(), container.clone(), layout.run_dir(id)];
    for dir in &private {
        make(dir, 0o700)?;
    }
    make(&container.join("work"), 0o700)?;
    let upper = container.join("upper");
    if definition.layers.is_empty() {
        make(&container.join(NO_LAYERS), 0o755)?;
    }
    match rocker_image::store::root_layer(layout, &definition.layers)? {
        Some(layer) => make_like(&upper, &layer),
        None => make(&upper, 0o755),
    }
}

/// The merged root directory has mode and owner of the upper one: they must be the image's.
fn make_like(upper: &Path, layer: &Path) -> Result<(), EngineError> {
    let top = fs_err::symlink_metadata(layer).map_err(EngineError::file("look at", layer))?;
    make(upper, top.permissions().mode() & 0o7777)?;
    if (top.uid(), top.gid()) != (0, 0) {
        let owner = (Some(top.uid()), Some(top.gid()));
        fs_err::os::unix::fs::chown(upper, owner.0, owner.1)
            .map_err(EngineError::file("give away", upper))?;
    }
    Ok(())
}

fn make(dir: &Path, mode: u32) -> Result<(), EngineError> {
    let mut builder = std::fs::DirBuilder::new();
    match builder.mode(mode).create(dir) {
        Ok(()) => fs_err::set_permissions(dir, PermissionsExt::from_mode(mode))
            .map_err(EngineError::file("open up", dir)),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(EngineError::file("make", dir)(e)),
    }
}

/// The file that is mounted over `/etc/<name>`. The container may write to it, as much as it
/// likes: beside its upper directory, not on the tmpfs that the live database needs.
pub(crate) fn injected(layout: &Layout, id: &ContainerId, name: &str) -> std::path::PathBuf {
    layout.container(id).join(name)
}

/// What the container's own `/etc` files say.
pub(super) struct NameFiles {
    pub(super) address: Option<Ipv4Addr>,
    pub(super) gateway: Option<Ipv4Addr>,
}

/// Writes hostname, hosts and resolv.conf.
pub(super) fn write_names(
    layout: &Layout,
    id: &ContainerId,
    definition: &Definition,
    names: &NameFiles,
) -> Result<(), EngineError> {
    let hostname = match &definition.hostname {
        Some(name) => name.clone(),
        None => rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
    };
    let spec = HostsSpec {
        names: &[&hostname],
        address: names.address,
        gateway: names.gateway,
        extra: &[],
    };
    let unsafe_text = |source| EngineError::NameFile {
        container: id.short().to_owned(),
        source,
    };
    write(
        layout,
        id,
        "hostname",
        rocker_net::files::hostname(&hostname).map_err(unsafe_text)?,
    )?;
    write(
        layout,
        id,
        "hosts",
        rocker_net::files::hosts(&spec).map_err(unsafe_text)?,
    )?;
    let reach = match definition.network {
        NetworkMode::Host => Reach::Host,
        NetworkMode::Bridge | NetworkMode::None => Reach::OwnNetwork,
    };
    let resolv_conf = host_resolv_conf(reach, &DnsOverrides::default()).map_err(|source| {
        EngineError::ResolvConf {
            container: id.short().to_owned(),
            source,
        }
    })?;
    write(layout, id, "resolv.conf", resolv_conf)
}

fn write(layout: &Layout, id: &ContainerId, name: &str, text: String) -> Result<(), EngineError> {
    let path = injected(layout, id, name);
    let failed = |source| EngineError::File {
        attempt: "write",
        path: path.clone(),
        source,
    };
    fs_err::write(&path, text).map_err(failed)?;
    // readable for every user in the container, whatever the caller's umask
    fs_err::set_permissions(&path, PermissionsExt::from_mode(0o644)).map_err(failed)
}
