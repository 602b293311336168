//! Streaming a blob, over as many connections as it takes.

use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Response, StatusCode, Url};
use tokio::time::Instant;

use super::RegistryError;
use super::fetch::Repository;
use super::origin::shown;
use super::patience::Patience;
use super::pipe::{PipeWriter, ReaderGone};
use super::ranges::{Ranges, Watch};
use super::retry::Attempts;
use super::words::shorten;
use crate::document::Descriptor;

/// Where a blob's bytes go.
pub(super) trait Sink {
    /// Waits for space and hands `piece` over.
    async fn write(&self, piece: Bytes) -> Result<(), ReaderGone>;
}

impl Sink for PipeWriter {
    async fn write(&self, piece: Bytes) -> Result<(), ReaderGone> {
        Self::write(self, piece).await
    }
}

/// How the streaming of a blob ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Streamed {
    /// Every byte went into the pipe.
    Completely,
    /// The reader did not want more; it knows why.
    ReaderGone,
}

/// Why an attempt ended early.
enum Stop {
    Failed(RegistryError),
    ReaderGone,
    /// One connection brings no more than so many bytes a second: several might.
    Slow(u64),
}

impl From<RegistryError> for Stop {
    fn from(error: RegistryError) -> Self {
        Self::Failed(error)
    }
}

impl From<ReaderGone> for Stop {
    fn from(ReaderGone: ReaderGone) -> Self {
        Self::ReaderGone
    }
}

/// A blob on its way into a pipe.
struct Transfer<'a, S> {
    repository: &'a Repository<'a>,
    blob: &'a Descriptor,
    url: Url,
    pipe: &'a S,
    on_bytes: &'a dyn Fn(u64),
    patience: Patience,
    /// Bytes that went into the pipe.
    done: u64,
    /// The entity tag of the answer that `done` bytes came from.
    validator: Option<HeaderValue>,
    /// Whether the server was seen to answer ranges with nonsense.
    ranges_broken: bool,
    /// Whether several connections at once were tried.
    was_divided: bool,
}

/// Fetches `blob` from the byte `first` on and writes it into `pipe`, up to its exact size; the
/// reader checks the digest. When a connection breaks, the rest is asked for with a range; a server that
/// does not know ranges sends all of it again, and what was there is passed over. If it is the only
/// one that is fetched and comes slowly, several connections share the work.
///
/// `on_bytes` is told the number of bytes so far.
pub(super) async fn stream(
    repository: &Repository<'_>,
    blob: &Descriptor,
    pipe: &impl Sink,
    first: u64,
    on_bytes: &dyn Fn(u64),
) -> Result<Streamed, RegistryError> {
    let url = repository.blob_url(&blob.digest)?;
    let patience = Patience::new(repository.options().timeouts);
    let mut attempts = Attempts::new(repository.options().retry);
    let mut transfer = Transfer {
        repository,
        blob,
        url,
        pipe,
        on_bytes,
        patience,
        done: first,
        validator: None,
        ranges_broken: false,
        was_divided: false,
    };
    let _in_flight = repository.count_transfer();
    loop {
        let before = transfer.done;
        let error = match transfer.attempt().await {
            Ok(()) => return Ok(Streamed::Completely),
            Err(Stop::ReaderGone) => return Ok(Streamed::ReaderGone),
            Err(Stop::Slow(rate)) => match transfer.divide(rate).await {
                Ok(()) if transfer.done == blob.size => return Ok(Streamed::Completely),
                Ok(()) => continue,
                Err(ReaderGone) => return Ok(Streamed::ReaderGone),
            },
            Err(Stop::Failed(error)) if transfer.patience.is_exhausted() => return Err(error),
            Err(Stop::Failed(error)) => error,
        };
        let delay = if transfer.done > before {
            attempts.delay_after_progress(&error)
        } else {
            attempts.delay(&error)
        };
        let Some(delay) = delay else {
            return Err(error);
        };
        repository.announce_retry(&transfer.url, &error, delay);
        tokio::time::sleep(delay).await;
    }
}

impl<S: Sink> Transfer<'_, S> {
    /// Fetches the rest in ranges, as far as that goes well.
    async fn divide(&mut self, single_rate: u64) -> Result<(), ReaderGone> {
        self.was_divided = true;
        let ranges = Ranges {
            repository: self.repository,
            url: &self.url,
            what: &what(self.blob),
            validator: self.validator.clone(),
            missing: self.done..self.blob.size,
            single_rate,
        };
        let (done, pipe, on_bytes) = (&mut self.done, self.pipe, self.on_bytes);
        let take = async |piece: Bytes| {
            *done += piece.len() as u64;
            pipe.write(piece).await?;
            on_bytes(*done);
            Ok(())
        };
        ranges.fetch(take).await
    }

    async fn attempt(&mut self) -> Result<(), Stop> {
        let what = what(self.blob);
        let headers = self.range_headers();
        let response = match self
            .repository
            .get(&self.url, &headers, &what, &mut self.patience)
            .await
        {
            // the server does not believe in our range, or counts differently
            Err(RegistryError::Status {
                status: 416, url, ..
            }) if !headers.is_empty() => {
                self.ranges_broken = true;
                return Err(RegistryError::Truncated {
                    url,
                    got: self.done,
                    expected: self.blob.size,
                }
                .into());
            }
            response => response?,
        };
        let skip = self.check_head(&response)?;
        self.validator = strong_validator(response.headers());
        self.copy(response, skip).await
    }

    /// Asks for the rest. `If-Range` makes a server whose blob changed send all of it, so
    /// that two versions are never glued together.
    fn range_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.done == 0 || self.ranges_broken {
            return headers;
        }
        if let Ok(range) = HeaderValue::try_from(format!("bytes={}-", self.done)) {
            headers.insert(RANGE, range);
            if let Some(validator) = &self.validator {
                headers.insert(IF_RANGE, validator.clone());
            }
        }
        headers
    }

    /// Compares the answer's head with what was asked for; gives back how many bytes of the
    /// body are known already.
    fn check_head(&mut self, response: &Response) -> Result<u64, RegistryError> {
        let url = || shown(response.url());
        let wrong_length = |announced| RegistryError::WrongLength {
            url: url(),
            announced,
            expected: self.blob.size,
        };
        if response.status() != StatusCode::PARTIAL_CONTENT {
            let announced = response
                .content_length()
                .filter(|&length| length != self.blob.size);
            return announced.map_or(Ok(self.done), |announced| Err(wrong_length(announced)));
        }
        match ContentRange::of(response) {
            Some(range) if range.total.is_some_and(|total| total != self.blob.size) => {
                Err(wrong_length(range.total.unwrap_or(0)))
            }
            Some(range) if range.first == self.done && self.done > 0 => Ok(0),
            _ => {
                // not the part that was asked for: the next attempt asks for all of it
                self.ranges_broken = true;
                let header = shorten(content_range(response).unwrap_or_default());
                tracing::debug!(header, "the answer to a range is senseless");
                Err(RegistryError::Truncated {
                    url: url(),
                    got: self.done,
                    expected: self.blob.size,
                })
            }
        }
    }

    async fn copy(&mut self, mut response: Response, mut skip: u64) -> Result<(), Stop> {
        let url = shown(response.url());
        let size = self.blob.size;
        let mut watch = Watch::new(&response);
        loop {
            let asked = Instant::now();
            let piece = next_piece(&mut response, &url, &mut self.patience).await;
            let mut piece = match piece {
                Ok(Some(piece)) => piece,
                // all bytes came; how the body ends after them does not matter
                Ok(None) | Err(_) if self.done == size => return Ok(()),
                Ok(None) => {
                    return Err(RegistryError::Truncated {
                        url,
                        got: self.done,
                        expected: size,
                    }
                    .into());
                }
                Err(error) => return Err(error.into()),
            };
            // also what is known already: it moves
            self.patience.progress(piece.len() as u64);
            watch.note(asked.elapsed(), piece.len());
            let known = skip.min(piece.len() as u64);
            skip -= known;
            let _ = piece.split_to(usize::try_from(known).unwrap_or(piece.len()));
            if piece.len() as u64 > size - self.done {
                return Err(RegistryError::TooLong { url, limit: size }.into());
            }
            if piece.is_empty() {
                continue;
            }
            self.done += piece.len() as u64;
            self.pipe.write(piece).await?;
            (self.on_bytes)(self.done);
            if let Some(rate) = self.should_divide(&watch) {
                return Err(Stop::Slow(rate));
            }
        }
    }

    /// What one connection brings in a second, if several are to be tried.
    fn should_divide(&self, watch: &Watch) -> Option<u64> {
        if self.was_divided || self.ranges_broken || self.repository.transfers() > 1 {
            return None;
        }
        let left = self.blob.size - self.done;
        watch.is_slow(self.repository.options().ranges, left)
    }
}

fn what(blob: &Descriptor) -> String {
    format!("blob {}", blob.digest)
}

/// The next piece of a body; none at its end.
pub(super) async fn next_piece(
    response: &mut Response,
    url: &str,
    patience: &mut Patience,
) -> Result<Option<Bytes>, RegistryError> {
    let piece = patience.piece(url, response.chunk()).await?;
    piece.map_err(|source| RegistryError::Transport {
        url: url.to_owned(),
        source: source.without_url(),
    })
}

/// A strong entity tag; weak ones do not promise equal bytes.
fn strong_validator(headers: &HeaderMap) -> Option<HeaderValue> {
    headers
        .get(ETAG)
        .filter(|tag| tag.as_bytes().starts_with(b"\""))
        .cloned()
}

/// What `Content-Range` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ContentRange {
    pub(super) first: u64,
    pub(super) total: Option<u64>,
}

impl ContentRange {
    /// That of `response`, if it makes sense.
    pub(super) fn of(response: &Response) -> Option<Self> {
        content_range(response).and_then(parse_content_range)
    }
}

fn content_range(response: &Response) -> Option<&str> {
    response.headers().get(CONTENT_RANGE)?.to_str().ok()
}

/// Reads `bytes FIRST-LAST/TOTAL`. Source: RFC 9110, 14.4.
fn parse_content_range(text: &str) -> Option<ContentRange> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten()
    };
    let (range, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let total = if total == "*" {
        None
    } else {
        Some(number(total)?)
    };
    let sensible = first <= last && total.is_none_or(|total| last < total);
    sensible.then_some(ContentRange { first, total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        let range = |first, total| Some(ContentRange { first, total });
        let cases = [
            ("bytes 10-19/20", range(10, Some(20))),
            ("bytes 0-0/1", range(0, Some(1))),
            ("bytes 5-9/*", range(5, None)),
            ("bytes 10-20/20", None),
            ("bytes 10-9/20", None),
            ("bytes */20", None),
            ("bytes -5-9/20", None),
            ("items 0-1/2", None),
            ("bytes 0-18446744073709551616/*", None),
            ("bytes +1-2/3", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_content_range(text), expected, "{text}");
        }
    }

    #[test]
    fn weak_tags_are_no_validators() {
        for (tag, strong) in [("\"x\"", true), ("W/\"x\"", false), ("x", false)] {
            let headers = HeaderMap::from_iter([(ETAG, HeaderValue::from_static(tag))]);
            assert_eq!(strong_validator(&headers).is_some(), strong, "{tag}");
        }
    }
}
