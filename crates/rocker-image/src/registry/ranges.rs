//! A large blob over several connections at once, where one brings less than the network could:
//! servers that share themselves out by connection, long lines that lose packets.
//!
//! It is tried, measured and given up: one connection is watched for a while, then a few ranges
//! are fetched side by side, and unless they come faster the rest comes over one connection
//! again. The ranges are short and handed over in order, so that memory stays bounded and what is
//! on the disk is always the beginning of the blob.

use std::cell::Cell;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{StreamExt as _, iter};
use reqwest::header::{ACCEPT_RANGES, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Response, StatusCode, Url};
use tokio::time::Instant;

use super::RegistryError;
use super::blob::{ContentRange, next_piece};
use super::fetch::Repository;
use super::origin::shown;
use super::patience::Patience;
use super::request::RangePolicy;

/// One connection that brings this much in a second is as fast as a layer is unpacked.
const FAST_BYTES: u64 = 64 << 20;

/// How often each connection is used before it is judged whether several are faster.
const ROUNDS: usize = 2;

/// What one connection brings.
#[derive(Debug)]
pub(super) struct Watch {
    begun: Instant,
    /// How long the network was waited for.
    waited: Duration,
    bytes: u64,
    /// Whether the server says that it knows ranges.
    takes_ranges: bool,
}

impl Watch {
    /// Begins with the head of an answer.
    pub(super) fn new(response: &Response) -> Self {
        let is_partial = response.status() == StatusCode::PARTIAL_CONTENT;
        let says_so = response.headers().get(ACCEPT_RANGES);
        Self {
            begun: Instant::now(),
            waited: Duration::ZERO,
            bytes: 0,
            takes_ranges: is_partial || says_so.is_some_and(|units| units == "bytes"),
        }
    }

    /// Takes note of `bytes` that the network was waited `waited` for.
    pub(super) fn note(&mut self, waited: Duration, bytes: usize) {
        self.waited += waited;
        self.bytes += bytes as u64;
    }

    /// The bytes a second of the one connection if several are worth a try when `left` bytes
    /// have yet to come.
    pub(super) fn is_slow(&self, policy: RangePolicy, left: u64) -> Option<u64> {
        let elapsed = self.begun.elapsed();
        let worth = 2 * policy.bytes * policy.connections as u64;
        if !self.takes_ranges || left < worth || elapsed < policy.watch {
            return None;
        }
        // else the one who unpacks is slow, not the network
        let is_network = self.waited > elapsed / 4 * 3;
        let rate = rate(self.bytes, elapsed);
        Some(rate).filter(|rate| is_network && *rate < FAST_BYTES)
    }
}

fn rate(bytes: u64, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    bytes.saturating_mul(1000) / millis
}

/// A blob that is fetched in ranges.
pub(super) struct Ranges<'a> {
    pub(super) repository: &'a Repository<'a>,
    pub(super) url: &'a Url,
    pub(super) what: &'a str,
    /// The entity tag of what has come so far.
    pub(super) validator: Option<HeaderValue>,
    /// What has yet to come of the blob; its end is the blob's.
    pub(super) missing: Range<u64>,
    /// What one connection brought in a second.
    pub(super) single_rate: u64,
}

impl Ranges<'_> {
    /// Fetches ranges side by side and gives them to `take` in order, until all is there, one
    /// fails, or it turns out that they come no faster than one connection. Whoever called looks
    /// what is left, and how `take` failed.
    pub(super) async fn fetch<E>(
        &self,
        mut take: impl AsyncFnMut(Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        let policy = self.repository.options().ranges;
        let (Range { start, end }, begun) = (self.missing.clone(), Instant::now());
        let is_enough = Cell::new(false);
        let step = usize::try_from(policy.bytes).unwrap_or(usize::MAX);
        let starts = (start..end).step_by(step);
        let parts = iter(starts.take_while(|_| !is_enough.get()))
            .map(|start| self.part(start..end.min(start + policy.bytes)));
        let mut parts = std::pin::pin!(parts.buffered(policy.connections));
        let (mut came, mut bytes) = (0, 0);
        while let Some(part) = parts.next().await {
            let pieces = match part {
                Ok(pieces) => pieces,
                Err(error) => {
                    tracing::debug!(%error, "a range failed; the rest comes over one connection");
                    return Ok(());
                }
            };
            for piece in pieces {
                bytes += piece.len() as u64;
                take(piece).await?;
            }
            came += 1;
            if came == ROUNDS * policy.connections {
                let rate = rate(bytes, begun.elapsed());
                is_enough.set(rate < self.single_rate / 4 * 5);
                tracing::debug!(single = self.single_rate, rate, "bytes/s in ranges");
            }
        }
        Ok(())
    }

    async fn part(&self, range: Range<u64>) -> Result<Vec<Bytes>, RegistryError> {
        let mut patience = Patience::new(self.repository.options().timeouts);
        let mut headers = HeaderMap::new();
        let wanted = format!("bytes={}-{}", range.start, range.end - 1);
        headers.extend(HeaderValue::try_from(wanted).map(|wanted| (RANGE, wanted)));
        headers.extend(self.validator.clone().map(|tag| (IF_RANGE, tag)));
        let answer = self
            .repository
            .get(self.url, &headers, self.what, &mut patience);
        let mut response = answer.await?;
        let url = shown(response.url());
        let expected = range.end - range.start;
        let truncated = |got| RegistryError::Truncated {
            url: url.clone(),
            got,
            expected,
        };
        let is_wanted = ContentRange::of(&response).is_some_and(|range_sent| {
            range_sent.first == range.start
                && range_sent
                    .total
                    .is_none_or(|total| total == self.missing.end)
        });
        if response.status() != StatusCode::PARTIAL_CONTENT || !is_wanted {
            return Err(truncated(0));
        }
        let (mut pieces, mut got) = (Vec::new(), 0);
        while got < expected {
            let Some(piece) = next_piece(&mut response, &url, &mut patience).await? else {
                return Err(truncated(got));
            };
            got += piece.len() as u64;
            patience.progress(piece.len() as u64);
            pieces.push(piece);
        }
        match got == expected {
            true => Ok(pieces),
            false => Err(RegistryError::TooLong {
                url,
                limit: expected,
            }),
        }
    }
}
