//! Layers that are in the store already, and come once more.

use std::io::Read;

use rocker_types::DiffId;

use super::compression::Decoder;
use super::digest::Hasher;
use super::pipeline::{check_diff_id, explain, finish, open};
use super::source::{BlobSource, Promise};
use super::{ExpectedLayer, LimitExceeded, UnpackError, UnpackLimits};

/// What is decompressed at once.
const BUFFER_BYTES: usize = 256 << 10;

/// Reads a layer to its end and compares it with what is promised, without unpacking it:
/// that a layer is here already is no reason to believe an archive that has another one under
/// its name. `blob` is what a manifest promises besides the diff id.
///
/// # Errors
///
/// As [`unpack_layer`](super::unpack_layer).
pub(crate) fn verify_layer(
    compressed: impl Read,
    diff_id: &DiffId,
    blob: Option<&ExpectedLayer>,
    limits: &UnpackLimits,
) -> Result<(), UnpackError> {
    let promise = blob.map(|layer| Promise {
        blob: &layer.blob,
        size_bytes: layer.size_bytes,
    });
    let source = BlobSource::new(compressed, promise, &|_| ());
    let window_log = limits.zstd_window_log;
    let compression = blob.map(|layer| layer.compression);
    let mut decoder: Decoder<_> = open(source, compression, window_log)?;
    let mut hasher = Hasher::new(diff_id.0.algorithm());
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut unpacked = 0u64;
    loop {
        let length = match decoder.read_full(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) => return Err(explain(decoder, error, window_log)),
        };
        hasher.update(&buffer[..length]);
        unpacked += length as u64;
        if unpacked > limits.unpacked_bytes {
            return Err(LimitExceeded {
                limit: "unpacked_bytes",
                allowed: limits.unpacked_bytes,
                object: "the content of the layer".to_owned(),
            }
            .into());
        }
    }
    finish(decoder)?;
    let named = blob.map_or(&diff_id.0, |layer| &layer.blob);
    check_diff_id(&DiffId(hasher.finish()), diff_id, named)
}
