//! What a pull that was cut short leaves for the next one.
//!
//! While a pull works, its staging directory holds, besides the layers that are being unpacked:
//!
//! ```text
//!   tmp/<random>/layer-N.done       layer-N is whole and verified, and what committing it takes
//!               /blob-<algorithm>-<hex>   the first bytes of a blob that is being unpacked
//!               /want-<algorithm>-<hex>   this pull is about to get that blob
//!               /waits          this pull waits for blobs that others are about to get
//! ```
//!
//! Whoever dies leaves them, and so does a pull that the network or the user ends. The next pull
//! that needs any of it takes the directory over as its own: no byte is copied, and if it dies as
//! well nothing is lost. A finished layer is believed only within one boot, because it was never
//! flushed to disk; the start of a blob always, because its digest is computed anew. Sweeps keep
//! such a directory for [`KEPT_FOR`] and take the rest out of it.
//!
//! A `.done` without its layer says that the layer went into the store for an image that is not
//! recorded yet: until the directory goes, nobody may sweep that layer away.

mod claims;
mod contents;
mod done;
mod orphans;
mod partial;
mod pull_staging;
mod renounce;

use std::time::Duration;

use rocker_types::Digest;

pub(crate) use claims::{Claim, Trace, Wants};
pub(super) use done::forget_done;
pub(super) use orphans::sweep;
pub use orphans::{Swept, UnfinishedPull};
pub(crate) use partial::PartialBlob;
pub use pull_staging::Leftovers;
pub(crate) use pull_staging::PullStaging;
pub(super) use renounce::renounce;

/// How long what a pull left waits for the next one.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How the name of a finished layer's note ends.
const DONE: &str = ".done";

/// How the name of the start of a blob begins.
const BLOB: &str = "blob-";

/// What a file about a blob is called: `blob-sha256-…`.
fn name_of(prefix: &str, blob: &Digest) -> String {
    format!("{prefix}{}-{}", blob.algorithm().name(), blob.hex())
}

/// Whether something of this name may be of use to a later pull.
pub(super) fn is_of_use(name: &[u8]) -> bool {
    name.ends_with(DONE.as_bytes()) || name.starts_with(BLOB.as_bytes())
}
