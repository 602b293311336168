//! Whether bytes are the ones that were promised.

use rocker_types::{Algorithm, Digest};
use sha2::{Digest as _, Sha256, Sha512};

use super::DocumentError;

/// The digest of a document's bytes.
#[must_use]
pub fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    match algorithm {
        Algorithm::Sha256 => Digest::from_sha256(Sha256::digest(bytes).into()),
        Algorithm::Sha512 => Digest::from_sha512(Sha512::digest(bytes).into()),
    }
}

/// Compares `bytes` with the digest and, where one was promised, the length.
///
/// # Errors
///
/// [`DocumentError::SizeMismatch`], [`DocumentError::DigestMismatch`].
pub fn verify(
    what: &'static str,
    bytes: &[u8],
    digest: &Digest,
    size: Option<u64>,
) -> Result<(), DocumentError> {
    let actual_size = bytes.len() as u64;
    if let Some(expected) = size.filter(|&size| size != actual_size) {
        return Err(DocumentError::SizeMismatch {
            what,
            expected,
            actual: actual_size,
        });
    }
    let actual = digest_of(digest.algorithm(), bytes);
    if actual != *digest {
        return Err(DocumentError::DigestMismatch {
            what,
            expected: digest.clone(),
            actual,
        });
    }
    Ok(())
}
