//! Hashing with whichever function a digest names.

use rocker_types::{Algorithm, Digest};
use sha2::Digest as _;

/// A running hash that ends as a [`Digest`].
pub(super) enum Hasher {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Hasher {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    pub(super) fn finish(self) -> Digest {
        match self {
            Self::Sha256(hash) => Digest::from_sha256(hash.finalize().into()),
            Self::Sha512(hash) => Digest::from_sha512(hash.finalize().into()),
        }
    }
}
