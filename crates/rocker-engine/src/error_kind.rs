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
        match self {
            E::Db(e) => e.kind(),
            E::Resolve(e) => e.kind(),
            E::Pull { source, .. } => source.kind(),
            E::Store(e) => e.kind(),
            E::Import { source } => source.kind(),
            E::Attach { source, .. } => source.kind(),
            E::Publish { source, .. } => source.kind(),
            E::Create { source, .. } => source.kind(),
            E::Start { source, .. } => source.kind(),
            E::Exec { source, .. } => source.kind(),
            E::Monitor { source, .. } => source.kind(),
            E::NoSuchImage(_) | E::NoSuchVolume(_) => ErrorKind::NotFound,
            E::AmbiguousImage { .. } => ErrorKind::Invalid,
            E::ImageInUse { .. }
            | E::ImageHasNames { .. }
            | E::VolumeInUse { .. }
            | E::NotRunning { .. }
            | E::StillRunning { .. }
            | E::Paused { .. }
            | E::Busy { .. } => ErrorKind::Conflict,
            E::UnsafeDirectory { .. } => ErrorKind::Tampered,
            E::File { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                ErrorKind::Denied
            }
            _ => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        use EngineError as E;
        match self {
            E::Db(e) => e.hint(),
            E::Resolve(e) => e.hint(),
            E::Pull { source, .. } => source.hint(),
            E::Store(e) => e.hint(),
            E::Import { source } => source.hint(),
            E::Attach { source, .. } => source.hint(),
            E::Publish { source, .. } => source.hint(),
            E::Create { source, .. } => source.hint(),
            E::Start { source, .. } => source.hint(),
            E::Exec { source, .. } => source.hint(),
            E::Monitor { source, .. } => source.hint(),
            E::File { source, .. } => file_hint(source),
            E::UnsafeDirectory { path, .. } => Some(format!(
                "see who made {path:?}; rocker wants a directory that only root can enter"
            )),
            E::ImageInUse { users, .. } => {
                Some(format!("remove it first: rocker rm -f {}", users.join(" ")))
            }
            E::ImageHasNames { image, .. } => Some(format!(
                "name one of them, or use rocker rmi -f {image} to remove all"
            )),
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
            E::NoSuchImage(image) => Some(format!("get it with `rocker pull {image}`")),
            E::WillNotEnd { .. } => Some(
                "a process of it waits inside the kernel, perhaps for a file server that is gone"
                    .into(),
            ),
            _ => None,
        }
    }
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
