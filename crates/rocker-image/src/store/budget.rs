//! What may come out of compressed bytes.

use super::staging::{LayerDirectory, Staging};
use super::windows::Windows;
use super::{LimitExceeded, UnpackLimits};

/// How many uncompressed bytes may come.
#[derive(Debug)]
pub(crate) struct Budget<'a> {
    payer: Payer<'a>,
    pub(crate) limits: &'a UnpackLimits,
    unpacked: u64,
}

/// Who uses the room of the disk.
#[derive(Clone, Copy, Debug)]
enum Payer<'a> {
    Staging(&'a Staging),
    Layer(&'a LayerDirectory),
}

impl<'a> Budget<'a> {
    /// That of something which stays as long as `staging`. Nothing is spent yet.
    pub(crate) fn new(staging: &'a Staging, limits: &'a UnpackLimits) -> Self {
        Self::paid_by(Payer::Staging(staging), limits)
    }

    /// That of a layer, which gives back what it spent should it come to nothing.
    pub(super) fn of_layer(layer: &'a LayerDirectory, limits: &'a UnpackLimits) -> Self {
        Self::paid_by(Payer::Layer(layer), limits)
    }

    fn paid_by(payer: Payer<'a>, limits: &'a UnpackLimits) -> Self {
        Self {
            payer,
            limits,
            unpacked: 0,
        }
    }

    /// What the decoders of layers share.
    pub(super) fn windows(&self) -> &'a Windows {
        match self.payer {
            Payer::Staging(staging) => staging.windows(),
            Payer::Layer(layer) => layer.staging.windows(),
        }
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
        match self.payer {
            Payer::Staging(staging) => staging.room().spend(bytes, limits.keep_free_percent),
            Payer::Layer(layer) => layer.spend(bytes, limits.keep_free_percent),
        }
    }
}
