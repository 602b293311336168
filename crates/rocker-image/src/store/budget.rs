//! What may come out of compressed bytes.

use super::staging::Staging;
use super::windows::Windows;
use super::{LimitExceeded, UnpackLimits};

/// How many uncompressed bytes may come.
#[derive(Debug)]
pub(crate) struct Budget<'a> {
    staging: &'a Staging,
    pub(crate) limits: &'a UnpackLimits,
    unpacked: u64,
}

impl<'a> Budget<'a> {
    /// Nothing is spent yet.
    pub(crate) fn new(staging: &'a Staging, limits: &'a UnpackLimits) -> Self {
        Self {
            staging,
            limits,
            unpacked: 0,
        }
    }

    /// What the decoders of layers share.
    pub(super) fn windows(&self) -> &'a Windows {
        self.staging.windows()
    }

    /// Takes note of `bytes` more, when `compressed` have been read.
    pub(crate) fn spend(&mut self, bytes: u64, compressed: u64) -> Result<(), LimitExceeded> {
        self.unpacked += bytes;
        let (unpacked, limits) = (self.unpacked, self.limits);
        if unpacked > limits.unpacked_bytes {
            let object = format!("the content of more than {} bytes", limits.unpacked_bytes);
            return Err(LimitExceeded {
                limit: "unpacked_bytes",
                allowed: limits.unpacked_bytes,
                object,
            });
        }
        if unpacked > limits.ratio_grace_bytes && unpacked / limits.ratio > compressed {
            let object = format!("the ratio of {unpacked} unpacked to {compressed} packed bytes");
            return Err(LimitExceeded {
                limit: "ratio",
                allowed: limits.ratio,
                object,
            });
        }
        self.staging.spend(bytes, limits.keep_free_percent)
    }
}
