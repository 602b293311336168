//! Kinds and hints of [`EngineError`], beside no single module because they sum all.

use rocker_types::{Diagnose, ErrorKind};

use crate::EngineError;

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the variants that are not named have no cure of their own"
)]
impl Diagnose for EngineError {
    fn kind(&self) -> ErrorKind {
        use EngineError as E;
        if let Some(cause) = cause(self) {
            return cause.kind();
        }
        match self {
            E::NoSuchImage(_) | E::NoSuchVolume(_) => ErrorKind::NotFound,
            E::AmbiguousImage { .. } | E::NameWithDigest(_) | E::Change(_) => ErrorKind::Invalid,
            E::NotItsName { .. } => ErrorKind::NotFound,
            E::ImageInUse { .. }
            | E::ImageMounted { .. }
            | E::ImageHasNames { .. }
            | E::NamesTaken(_)
            | E::VolumeInUse { .. }
            | E::NotRunning { .. }
            | E::StillRunning { .. }
            | E::Paused { .. }
            | E::ImagesBusy
            | E::Busy { .. } => ErrorKind::Conflict,
            E::Interrupted => ErrorKind::Interrupted,
            E::UnsafeDirectory { .. } | E::LayerLost { .. } => ErrorKind::Tampered,
            E::Unmount { source, .. } if source.kind() == std::io::ErrorKind::ResourceBusy => {
                ErrorKind::Conflict
            }
            E::File { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                ErrorKind::Denied
            }
            _ => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        use EngineError as E;
        if let Some(cause) = cause(self) {
            return cause.hint();
        }
        match self {
            E::File { source, .. } => file_hint(source),
            E::UnsafeDirectory { path, .. } => Some(format!(
                "see who made {path:?}; rocker wants a directory that only root can enter"
            )),
            E::LayersForgotten { .. } => Some("run `rocker system check --repair`".into()),
            E::LayerLost { .. } => Some("pull the image again: rocker pull NAME".into()),
            E::ImageInUse { users, .. } => {
                Some(format!("remove it first: rocker rm -f {}", users.join(" ")))
            }
            E::ImageMounted { image, .. } => Some(format!(
                "unmount it first, in the session that mounted it: rocker image unmount {image}"
            )),
            E::Unmount { image, source, .. }
                if source.kind() == std::io::ErrorKind::ResourceBusy =>
            {
                Some(format!(
                    "somebody uses it: end that, or use rocker image unmount -f {image}"
                ))
            }
            E::ImageHasNames { image, .. } => Some(format!(
                "name one of them, or use rocker rmi -f {image} to remove all"
            )),
            E::NamesTaken(_) => Some(
                "rocker load --force gives the names to the archive's images, and rocker pull to one that is asked for by its full name; the others stay, without them"
                    .into(),
            ),
            E::VolumeInUse { users, .. } => Some(format!(
                "remove the container first: rocker rm {}",
                users.join(" ")
            )),
            E::StillRunning { container } => Some(format!(
                "stop it with `rocker stop {container}`, or use rm -f"
            )),
            E::NotRunning { container } => {
                Some(format!("start it with `rocker start {container}`"))
            }
            E::NoSuchImage(image) => image
                .parse::<rocker_types::ImageRef>()
                .is_ok()
                .then(|| format!("get it with `rocker pull {image}`")),
            E::LiveDamaged { .. } => Some(
                "reboot, or end their processes, and run `rocker system check --repair` again"
                    .into(),
            ),
            E::ChangesLost { .. } => {
                Some("run `rocker system check --repair`: they are brought back".into())
            }
            E::ImagesBusy => Some("try again when it is done".into()),
            E::WillNotEnd { .. } => Some(
                "a process of it waits inside the kernel, perhaps for a file server that is gone"
                    .into(),
            ),
            _ => None,
        }
    }
}

/// Who knows the kind and the cure, where that is the error that caused this one.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the variants that are not named have a cure of their own, or none"
)]
fn cause(error: &EngineError) -> Option<&dyn Diagnose> {
    use EngineError as E;
    Some(match error {
        E::Db(e) => e,
        E::Resolve(e) => e,
        E::Pull(e) => e.as_ref(),
        E::Save(e) => e.as_ref(),
        E::Load(e) => e.as_ref(),
        E::Push(e) => e.as_ref(),
        E::Look(e) => e.as_ref(),
        E::Download(e) => e.as_ref(),
        E::Export(e) => e.as_ref(),
        E::Store(e) => e,
        E::Import { source } => source.as_ref(),
        E::MountLayers(e) => e.as_ref(),
        E::Attach { source, .. } => source.as_ref(),
        E::Loopback { source, .. } => source.as_ref(),
        E::Publish { source, .. } => source.as_ref(),
        E::NameFile { source, .. } => source,
        E::NoSubnet { source } => source,
        E::HostNetworks { source } => source,
        E::NetworkLeft { source } => source,
        E::Create(e) => e.as_ref(),
        E::Start(e) => e.as_ref(),
        E::Exec { source, .. } => source.as_ref(),
        E::Monitor { source, .. } => source,
        E::Reap { source, .. } => source,
        E::SignalInit { source, .. } => source,
        E::Cgroups { source } => source,
        E::Session(e) => e,
        E::Listen { source } => source,
        E::Log { source, .. } => source,
        E::OpenLog { source, .. } => source,
        _ => return None,
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the standard library's list is open"
)]
fn file_hint(source: &std::io::Error) -> Option<String> {
    match source.kind() {
        std::io::ErrorKind::PermissionDenied => Some("run as root: sudo rocker …".into()),
        std::io::ErrorKind::StorageFull => {
            Some("the disk is full: free some space and try again".into())
        }
        std::io::ErrorKind::ReadOnlyFilesystem => {
            Some("the file system is read-only: use --root to choose another place".into())
        }
        _ => None,
    }
}
