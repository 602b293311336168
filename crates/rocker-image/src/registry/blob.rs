//! Streaming a blob, over as many connections as it takes.

use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Response, StatusCode, Url};

use super::RegistryError;
use super::fetch::Repository;
use super::origin::shown;
use super::patience::Patience;
use super::pipe::{PipeWriter, ReaderGone};
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
}

/// Fetches `blob` from the byte `first` on and writes it into `pipe`, up to its exact size; the
/// reader checks the digest. When a connection breaks, the rest is asked for with a range; a server that
/// does not know ranges sends all of it again, and what was there is passed over.
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
    };
    loop {
        let before = transfer.done;
        let error = match transfer.attempt().await {
            Ok(()) => return Ok(Streamed::Completely),
            Err(Stop::ReaderGone) => return Ok(Streamed::ReaderGone),
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
    async fn attempt(&mut self) -> Result<(), Stop> {
        let what = format!("blob {}", self.blob.digest);
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
        let header = response
            .headers()
            .get(CONTENT_RANGE)
            .and_then(|value| value.to_str().ok());
        match header.and_then(parse_content_range) {
            Some(range) if range.total.is_some_and(|total| total != self.blob.size) => {
                Err(wrong_length(range.total.unwrap_or(0)))
            }
            Some(range) if range.first == self.done && self.done > 0 => Ok(0),
            _ => {
                // not the part that was asked for: the next attempt asks for all of it
                self.ranges_broken = true;
                let header = shorten(header.unwrap_or_default());
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
        loop {
            let piece = self
                .patience
                .piece(&url, response.chunk())
                .await
                .and_then(|piece| {
                    piece.map_err(|source| RegistryError::Transport {
                        url: url.clone(),
                        source: source.without_url(),
                    })
                });
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
        }
    }
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
struct ContentRange {
    first: u64,
    total: Option<u64>,
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
