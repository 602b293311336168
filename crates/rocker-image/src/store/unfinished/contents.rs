//! What is of use in a staging directory, and what is not.

use std::ffi::CString;
use std::os::fd::BorrowedFd;

use rocker_types::Digest;
use rustix::fs::{AtFlags, Dir, FileType, statat};
use rustix::io::Errno;

use super::done::Done;
use super::{BLOB, DONE};
use crate::store::recipe::{ATTIC, RECIPE};
use crate::store::staging::LAYER;

/// A layer that is whole.
#[derive(Debug)]
pub(super) struct FinishedLayer {
    /// `layer-N`.
    pub(super) name: String,
    pub(super) done: Done,
    /// Whether it went into the store.
    pub(super) is_stored: bool,
}

impl FinishedLayer {
    /// What it may be made of, its note first: without that, the rest is nothing.
    pub(super) fn names(&self) -> [String; 4] {
        [DONE, "", RECIPE, ATTIC].map(|part| format!("{}{part}", self.name))
    }
}

/// The start of a blob.
#[derive(Clone, Debug)]
pub(super) struct StartedBlob {
    pub(super) name: String,
    pub(super) digest: Digest,
    /// How much of it there is.
    pub(super) bytes: u64,
}

/// A staging directory without an owner, or with us as its new one.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) layers: Vec<FinishedLayer>,
    pub(super) blobs: Vec<StartedBlob>,
    /// Names of what nobody needs.
    pub(super) rubbish: Vec<CString>,
    /// One more than the highest number that a layer has.
    pub(super) next_layer: u32,
}

impl Contents {
    /// Looks at `directory`, which belongs to a store with its layers at `layers`.
    pub(super) fn read(directory: BorrowedFd<'_>, layers: BorrowedFd<'_>) -> Result<Self, Errno> {
        let mut names = Vec::new();
        for entry in Dir::read_from(directory)? {
            let name = entry?.file_name().to_owned();
            if name.as_c_str() != c"." && name.as_c_str() != c".." {
                names.push(name);
            }
        }
        let mut contents = Self::default();
        for name in names.iter().filter_map(|name| name.to_str().ok()) {
            if let Some(number) = number_of(name) {
                contents.next_layer = contents.next_layer.max(number.saturating_add(1));
            }
            if let Some(layer) = name.strip_suffix(DONE) {
                contents.layers.extend(finished(directory, layers, layer));
            } else if name.starts_with(BLOB) {
                contents.blobs.extend(started(directory, name));
            }
        }
        names.retain(|name| !contents.has(name.to_bytes()));
        // in the order in which they are removed: a note must not outlive what it is about
        names.sort_by_key(|name| !name.to_bytes().ends_with(DONE.as_bytes()));
        contents.rubbish = names;
        Ok(contents)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.layers.is_empty() && self.blobs.is_empty()
    }

    /// Bytes of content, as far as that is known without looking at every file.
    pub(super) fn bytes(&self) -> u64 {
        let layers = self.layers.iter().map(|layer| layer.done.bytes);
        let blobs = self.blobs.iter().map(|blob| blob.bytes);
        layers.chain(blobs).fold(0, u64::saturating_add)
    }

    fn has(&self, name: &[u8]) -> bool {
        let of_layer = |layer: &FinishedLayer| {
            name.strip_prefix(layer.name.as_bytes())
                .is_some_and(|rest| {
                    let parts = ["", DONE, RECIPE, ATTIC];
                    let parts = match layer.is_stored {
                        true => &parts[1..2],
                        false => &parts[..],
                    };
                    parts.iter().any(|part| part.as_bytes() == rest)
                })
        };
        self.blobs.iter().any(|blob| blob.name.as_bytes() == name)
            || self.layers.iter().any(of_layer)
    }
}

fn number_of(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(LAYER)?;
    let digits = rest.split('.').next().unwrap_or_default();
    digits.parse().ok()
}

/// The layer of a note, if it still is what the note says.
fn finished(
    directory: BorrowedFd<'_>,
    layers: BorrowedFd<'_>,
    name: &str,
) -> Option<FinishedLayer> {
    number_of(name)?;
    let done = Done::read(directory, &format!("{name}{DONE}"))?;
    let is_stored = !exists(directory, name);
    let is_whole = match is_stored {
        true => exists(layers, done.diff_id.hex()),
        false => {
            done.is_of_this_boot()
                && exists(directory, &format!("{name}{RECIPE}"))
                && exists(directory, &format!("{name}{ATTIC}")) == done.has_attic
        }
    };
    is_whole.then(|| FinishedLayer {
        name: name.to_owned(),
        done,
        is_stored,
    })
}

fn started(directory: BorrowedFd<'_>, name: &str) -> Option<StartedBlob> {
    let digest = name.strip_prefix(BLOB)?.replacen('-', ":", 1);
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let bytes = u64::try_from(stat.st_size).unwrap_or(0);
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    Some(StartedBlob {
        name: name.to_owned(),
        digest: digest.parse().ok()?,
        bytes,
    })
    .filter(|_| is_file && bytes > 0)
}

fn exists(directory: BorrowedFd<'_>, name: &str) -> bool {
    statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}
