//! Which extended attributes of an archive a layer keeps.

use crate::store::archive::Xattr;
use crate::store::text::printable;
use crate::store::{LimitExceeded, UnpackError, UnpackLimits};

/// Whether a layer may have the attribute.
///
/// File capabilities, ACLs and what users attach are content. Everything else belongs to
/// the machine the archive came from or would steer this one: SELinux labels, integrity
/// signatures, and above all overlayfs' own marks, which could graft `/etc` anywhere.
pub(crate) fn is_kept(name: &[u8]) -> bool {
    match name {
        b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default" => true,
        _ => {
            name.starts_with(b"user.") && !name.starts_with(b"user.overlay.") && !name.contains(&0)
        }
    }
}

/// Drops the attributes that a layer may not have, and counts the others.
pub(super) fn filter(
    path: &[u8],
    xattrs: Vec<Xattr>,
    limits: &UnpackLimits,
) -> Result<Vec<Xattr>, UnpackError> {
    let kept: Vec<_> = xattrs
        .into_iter()
        .filter(|(name, _)| is_kept(name))
        .collect();
    let bytes: usize = kept
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > limits.xattr_bytes {
        let object = format!("extended attributes of {:?}", printable(path));
        return Err(LimitExceeded {
            limit: "xattr_bytes",
            allowed: limits.xattr_bytes as u64,
            object,
        }
        .into());
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_overlayfs_and_labels_are_dropped() {
        let cases: [(&[u8], bool); 12] = [
            (b"user.x", true),
            (b"user.overlayx", true),
            (b"security.capability", true),
            (b"system.posix_acl_access", true),
            (b"system.posix_acl_default", true),
            (b"security.selinux", false),
            (b"security.ima", false),
            (b"trusted.overlay.redirect", false),
            (b"trusted.overlay.overlay.opaque", false),
            (b"trusted.x", false),
            (b"user.overlay.opaque", false),
            (b"user.a\0b", false),
        ];
        for (name, kept) in cases {
            assert_eq!(is_kept(name), kept, "{}", name.escape_ascii());
        }
    }
}
