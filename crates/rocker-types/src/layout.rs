//! Where everything lies on disk.

use std::path::{Path, PathBuf};

use crate::{ContainerId, DiffId, Digest, VolumeName};

/// The two directories of an installation and the names below them. Pure text.
///
/// `root` keeps what survives a reboot; `runroot` is on tmpfs and forgets with the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
    runroot: PathBuf,
}

impl Layout {
    /// Where images and containers are kept unless `--root` says otherwise.
    pub const DEFAULT_ROOT: &'static str = "/var/lib/rocker";
    /// Where the state of running containers is kept unless `--runroot` says otherwise.
    pub const DEFAULT_RUNROOT: &'static str = "/run/rocker";

    /// A layout below two absolute directories.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>, runroot: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            runroot: runroot.into(),
        }
    }

    /// The durable directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The volatile directory.
    #[must_use]
    pub fn runroot(&self) -> &Path {
        &self.runroot
    }

    /// The durable database.
    #[must_use]
    pub fn db(&self) -> PathBuf {
        self.root.join("rocker.db")
    }

    /// The database of running things.
    #[must_use]
    pub fn live_db(&self) -> PathBuf {
        self.runroot.join("live.db")
    }

    /// Where layers are kept.
    #[must_use]
    pub fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// One layer: a directory that overlayfs takes as lowerdir.
    #[must_use]
    pub fn layer(&self, id: &DiffId) -> PathBuf {
        self.layers().join(id.hex())
    }

    /// Where configs and manifests are kept.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// One config or manifest, byte for byte as its digest promises.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs()
            .join(digest.algorithm().name())
            .join(digest.hex())
    }

    /// Where it is kept once more what the database knows of each image.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Where containers are kept.
    #[must_use]
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// One container's directory: upper, work, logs.
    #[must_use]
    pub fn container(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(id.as_str())
    }

    /// Where volumes are kept.
    #[must_use]
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// One volume; its content is in `_data` below it, docker's spelling.
    #[must_use]
    pub fn volume(&self, name: &VolumeName) -> PathBuf {
        self.volumes().join(name.as_str())
    }

    /// Staging and trash: whatever lies here without a living owner may be deleted.
    #[must_use]
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// One container's volatile directory: control socket, hosts, resolv.conf.
    #[must_use]
    pub fn run_dir(&self, id: &ContainerId) -> PathBuf {
        self.runroot.join(id.as_str())
    }

    /// Where images are mounted, a directory for each mount namespace that has some.
    #[must_use]
    pub fn image_mounts(&self) -> PathBuf {
        self.runroot.join("mounts")
    }

    /// Where one image is mounted in the mount namespace of this number.
    #[must_use]
    pub fn image_mount(&self, namespace: u64, image: &Digest) -> PathBuf {
        let namespace = self.image_mounts().join(namespace.to_string());
        namespace.join(image.hex())
    }

    /// Where owners hold the flocks that tell the living from the dead.
    #[must_use]
    pub fn locks(&self) -> PathBuf {
        self.runroot.join("locks")
    }

    /// The lock of the process that owns one container right now.
    #[must_use]
    pub fn container_lock(&self, id: &ContainerId) -> PathBuf {
        self.locks().join(id.as_str())
    }
}
