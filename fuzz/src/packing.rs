//! Compressed bytes.

use std::io::Read as _;

use rocker_image::store::StagedLayer;
use sha2::{Digest as _, Sha256};

use super::ground::{limits, on_ground};

/// A layer as a registry serves it: plain, gzip in any number of members, zstd in any number of
/// frames. What is taken has the digest of what another decoder makes of it.
pub fn compression(data: &[u8]) {
    let found = on_ground(|ground| ground.unpack(data).as_ref().map(found));
    let Some((digest, size)) = found else {
        return;
    };
    assert!(size <= limits().unpacked_bytes);
    if !data.starts_with(&[0x1f, 0x8b]) {
        return;
    }
    let mut plain = Vec::new();
    // garbage behind the last member is an error for the other decoder, and tolerated by us
    if flate2::read::MultiGzDecoder::new(data)
        .read_to_end(&mut plain)
        .is_ok()
    {
        let want = rocker_types::Digest::from_sha256(Sha256::digest(&plain).into());
        assert_eq!(digest, want.to_string());
    }
}

fn found(layer: &StagedLayer) -> (String, u64) {
    (layer.diff_id().0.to_string(), layer.size_bytes())
}
