//! How much an image may ask for.

use crate::document::DocumentLimits;

/// What taking an image in may cost, each of its layers and its documents; whoever goes beyond is refused with the limit's name.
///
/// The defaults fit every image we know of by an order of magnitude.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Files, directories, links and nodes, the directories that a path implies included.
    pub entries: u64,
    /// Bytes of one path name or link target. Linux's own `PATH_MAX`.
    pub path_bytes: usize,
    /// Bytes of one component of a path. Linux's own `NAME_MAX`.
    pub component_bytes: usize,
    /// Bytes of one entry's pax header, or of one GNU long name.
    pub pax_bytes: u64,
    /// Names and values of one entry's extended attributes together.
    pub xattr_bytes: usize,
    /// Uncompressed bytes, as well as the sum of all file sizes with their holes.
    pub unpacked_bytes: u64,
    /// The part of the file system's free space that stays free, in percent, whatever all
    /// layers of one image take together.
    pub keep_free_percent: u64,
    /// Uncompressed bytes per compressed byte, once there is more than
    /// [`ratio_grace_bytes`](Self::ratio_grace_bytes) of them.
    pub ratio: u64,
    /// Up to here no ratio is suspicious.
    pub ratio_grace_bytes: u64,
    /// Largest window of a zstd frame, as a power of two: the decoder's memory, for each layer
    /// that is unpacked at a time. `zstd -19` asks for 8 MiB, the slowest level of the encoder
    /// that BuildKit has for 32 MiB; only `--ultra` and `--long` ask for more.
    pub zstd_window_log: u32,
    /// Memory for what must be kept until the end: names of directories, whose times are set
    /// last, and of links into layers below.
    pub index_bytes: usize,
    /// What the documents of an image may ask for.
    pub documents: DocumentLimits,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self {
            entries: 2_000_000,
            path_bytes: 4096,
            component_bytes: 255,
            pax_bytes: 1 << 20,
            xattr_bytes: 64 << 10,
            unpacked_bytes: 64 << 30,
            keep_free_percent: 5,
            ratio: 1000,
            ratio_grace_bytes: 1 << 30,
            zstd_window_log: 25,
            index_bytes: 64 << 20,
            documents: DocumentLimits::default(),
        }
    }
}

impl LimitExceeded {
    /// What would let it pass.
    pub(crate) fn hint(&self) -> Option<String> {
        let limit = self.limit;
        Some(match limit {
            "zstd_window_log" => format!(
                "have the image compressed anew, without --ultra and --long, or set limits.{limit} in /etc/rocker/config.toml"
            ),
            "keep_free_percent" => {
                format!("free some space, or set limits.{limit} in /etc/rocker/config.toml")
            }
            "layers" => {
                format!("squash the image, or set limits.{limit} in /etc/rocker/config.toml")
            }
            // the kernel's own
            "path_bytes" | "component_bytes" => return None,
            _ => format!("if you trust the image, set limits.{limit} in /etc/rocker/config.toml"),
        })
    }
}

/// A layer asked for more than a limit allows.
///
/// `limit` is the name of the field of [`UnpackLimits`] that said no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object} exceeds the limit {limit} of {allowed}")]
pub struct LimitExceeded {
    /// Which limit.
    pub limit: &'static str,
    /// Its value, in the limit's own unit.
    pub allowed: u64,
    /// What was too much.
    pub object: String,
}
