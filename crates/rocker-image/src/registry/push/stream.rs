//! A blob on its way: in one piece, as a stream, and from where a stream broke off.

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Body, Method, Url};
use rocker_types::Digest;
use tokio::sync::mpsc;

use super::body::{Outgoing, Piece, Tally};
use super::chunk::{CHUNK, parse_range, split};
use super::source::{Source, SourceError, pieces};
use super::upload::{ANSWER, Uploader, octets};
use crate::registry::RegistryError;
use crate::registry::cause::Transience;
use crate::registry::exchange::{Exchange, Sent};
use crate::registry::origin::shown;
use crate::registry::patience::Patience;
use crate::registry::redirect::one_too_many;
use crate::registry::retry::Attempts;

/// What is sent in one piece, in bytes: a stream is not worth its requests.
const SMALL: usize = 256 << 10;

/// How often the bytes of one upload may be sent on to another place.
const MOST_MOVES: u32 = 10;

/// How often an upload is looked at.
const TICK: Duration = Duration::from_millis(100);

/// Why a blob is not there.
#[derive(Debug)]
pub(super) enum UploadError {
    /// The registry did not take it.
    Registry(RegistryError),
    /// There are no bytes to give.
    Source(SourceError),
}

impl From<RegistryError> for UploadError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

/// Why one attempt did not bring a blob there.
enum Unsent {
    Failed(UploadError),
    /// All of it is to go elsewhere, which the upload knows.
    Moved,
}

impl From<RegistryError> for Unsent {
    fn from(error: RegistryError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<SourceError> for Unsent {
    fn from(error: SourceError) -> Self {
        Self::Failed(UploadError::Source(error))
    }
}

/// One blob on its way.
struct Upload<'u> {
    /// Where it goes next; the registry may say another place each time.
    place: Url,
    /// What it has to turn out to be, where that is known.
    expected: Option<&'u Digest>,
    /// How often a body was sent on to another place.
    moves: u32,
    tally: Tally,
    tell: &'u dyn Fn(u64),
}

impl Uploader<'_> {
    /// Uploads what `source` gives, and says what it was. `tell` is told the bytes sent.
    pub(super) async fn stream(
        &self,
        source: &Source<'_, '_, '_>,
        begun: Option<Url>,
        tell: &dyn Fn(u64),
    ) -> Result<(Digest, u64), UploadError> {
        let place = match begun {
            Some(place) => place,
            None => self.begin().await?,
        };
        let tally = Tally::new();
        let mut upload = Upload {
            place,
            expected: source.expected(),
            moves: 0,
            tally,
            tell,
        };
        let mut attempts = Attempts::new(self.repository.options().retry);
        let (mut offset, mut begun_anew) = (0, false);
        loop {
            let error = match self.attempt(&mut upload, source, offset).await {
                Ok(()) => return Ok(upload.tally.result()),
                Err(Unsent::Failed(UploadError::Registry(error))) => error,
                Err(Unsent::Moved) => continue,
                Err(Unsent::Failed(error @ UploadError::Source(_))) => return Err(error),
            };
            // the answer may be all that got lost
            if upload.tally.standing().complete && self.has(&upload.tally.result().0).await? {
                self.moved(&upload.place, None);
                return Ok(upload.tally.result());
            }
            let is_permanent = error.transience() == Transience::Permanent;
            if is_permanent && (offset == 0 || begun_anew) {
                return Err(error.into());
            }
            // some registries know no chunks; they get all of it in one stream again
            begun_anew |= is_permanent;
            let arrived = match is_permanent {
                true => 0,
                false => self.arrived(&mut upload).await.unwrap_or(0),
            };
            let delay = match arrived > offset {
                true => attempts.delay_after_progress(&error),
                false if is_permanent => Some(Duration::ZERO),
                false => attempts.delay(&error),
            };
            let Some(delay) = delay else {
                return Err(error.into());
            };
            offset = arrived;
            self.repository.announce_retry(&upload.place, &error, delay);
            tokio::time::sleep(delay).await;
            if offset == 0 {
                self.cancel(&upload.place).await;
                upload.place = self.begin().await?;
            }
        }
    }

    /// How many bytes of an upload the registry has. One that says `0-0` has one or none.
    async fn arrived(&self, upload: &mut Upload<'_>) -> Result<u64, RegistryError> {
        let exchange = Exchange {
            method: Method::GET,
            url: &upload.place.clone(),
            headers: &HeaderMap::new(),
            body: None,
            what: "the upload",
            good: &[202, 204],
        };
        let response = self.repository.insist(&exchange).await?;
        let range = response.headers().get(RANGE);
        let arrived = range.and_then(|range| parse_range(range.to_str().ok()?));
        let next = self.repository.place(&response)?;
        self.moved(&upload.place, Some(&next));
        upload.place = next;
        // more than was ever sent is nonsense
        let (_, sent) = upload.tally.result();
        Ok(arrived.filter(|&arrived| arrived <= sent).unwrap_or(0))
    }

    /// Sends everything from `offset` on and finishes the upload.
    async fn attempt(
        &self,
        upload: &mut Upload<'_>,
        source: &Source<'_, '_, '_>,
        offset: u64,
    ) -> Result<(), Unsent> {
        let (sender, receiver) = pieces();
        let feed = source.feed(offset, sender);
        let send = async {
            match offset {
                0 => self.send_all(upload, receiver).await,
                _ => self.send_rest(upload, receiver, offset).await,
            }
        };
        tokio::pin!(feed, send);
        let mut fed = false;
        loop {
            tokio::select! {
                biased;
                // why a source broke off is worth more than that it did
                outcome = &mut feed, if !fed => {
                    outcome?;
                    fed = true;
                }
                outcome = &mut send => match outcome {
                    // a source that broke off makes the request fail, perhaps before it says why
                    Err(error) if !fed => match tokio::time::timeout(TICK, &mut feed).await {
                        Ok(Err(source)) => return Err(source.into()),
                        Ok(Ok(())) | Err(_) => return Err(error),
                    },
                    outcome => return outcome,
                },
            }
        }
    }

    /// The way of a blob that goes through at once: in one piece or in one stream.
    async fn send_all(
        &self,
        upload: &mut Upload<'_>,
        mut pieces: mpsc::Receiver<Piece>,
    ) -> Result<(), Unsent> {
        let mut head = VecDeque::new();
        let mut length = 0;
        while length <= SMALL {
            match pieces.recv().await {
                Some(Piece::Data(bytes)) => {
                    length += bytes.len();
                    head.push_back(bytes);
                }
                Some(Piece::End) => {
                    let whole: BytesMut = head.iter().flatten().copied().collect();
                    upload.tally.note(0, &whole);
                    return self.finish(upload, whole.freeze()).await;
                }
                None => return Err(self.broken_off(upload).into()),
            }
        }
        let body = Outgoing {
            head,
            pieces,
            tally: upload.tally.clone(),
            offset: 0,
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, octets());
        self.patch(upload, headers, Body::wrap_stream(body)).await?;
        self.finish(upload, Bytes::new()).await
    }

    /// The way of what is left of a blob.
    async fn send_rest(
        &self,
        upload: &mut Upload<'_>,
        mut pieces: mpsc::Receiver<Piece>,
        mut offset: u64,
    ) -> Result<(), Unsent> {
        let mut ended = false;
        while !ended {
            let mut chunk = BytesMut::new();
            while chunk.len() < CHUNK && !ended {
                match pieces.recv().await {
                    Some(Piece::Data(bytes)) => chunk.extend_from_slice(&bytes),
                    Some(Piece::End) => ended = true,
                    None => return Err(self.broken_off(upload).into()),
                }
            }
            if !chunk.is_empty() {
                offset = self.send_chunk(upload, chunk.freeze(), offset).await?;
            }
        }
        self.finish(upload, Bytes::new()).await
    }

    /// Sends the last bytes and says what all of them are, unless they are not what they
    /// should be.
    async fn finish(&self, upload: &Upload<'_>, bytes: Bytes) -> Result<(), Unsent> {
        let (digest, _) = upload.tally.result();
        if upload.expected.is_some_and(|expected| *expected != digest) {
            return Err(SourceError::OtherBlob { actual: digest }.into());
        }
        let put = self.put(&upload.place, bytes, &digest).await;
        Ok(put.map_err(|error| lost_track(upload, error))?)
    }

    async fn send_chunk(
        &self,
        upload: &mut Upload<'_>,
        chunk: Bytes,
        offset: u64,
    ) -> Result<u64, Unsent> {
        let next = offset + chunk.len() as u64;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, octets());
        headers.insert(CONTENT_LENGTH, chunk.len().into());
        if let Ok(range) = HeaderValue::try_from(format!("{offset}-{}", next - 1)) {
            headers.insert(CONTENT_RANGE, range);
        }
        loop {
            let (sender, pieces) = mpsc::channel(1);
            // a channel with room for one takes one
            let _ = sender.try_send(Piece::End);
            let body = Outgoing {
                head: split(chunk.clone()),
                pieces,
                tally: upload.tally.clone(),
                offset,
            };
            let body = Body::wrap_stream(body);
            match self.patch(upload, headers.clone(), body).await {
                Err(Unsent::Moved) => {}
                sent => return sent.map(|()| next),
            }
        }
    }

    /// Sends one body and notes where the next goes.
    async fn patch(
        &self,
        upload: &mut Upload<'_>,
        headers: HeaderMap,
        body: Body,
    ) -> Result<(), Unsent> {
        let place = upload.place.clone();
        let mut patience = Patience::new(crate::registry::Timeouts {
            no_progress: Duration::MAX,
            ..self.repository.options().timeouts
        });
        let sent =
            self.repository
                .send_stream((&Method::PATCH, &place), headers, body, &mut patience);
        let sent = self.watch(upload, sent).await?;
        let sent = sent.map_err(|error| lost_track(upload, error))?;
        let (next, outcome) = match sent {
            Sent::Taken(response) => (self.repository.place(&response)?, Ok(())),
            Sent::LeadsTo(next) => {
                upload.moves += 1;
                if upload.moves > MOST_MOVES {
                    return Err(one_too_many(&place, &next).into());
                }
                (next, Err(Unsent::Moved))
            }
        };
        self.moved(&place, Some(&next));
        upload.place = next;
        outcome
    }

    /// Waits for the answer to an upload as long as bytes leave, or the source has none.
    async fn watch<F: Future>(
        &self,
        upload: &Upload<'_>,
        answer: F,
    ) -> Result<F::Output, RegistryError> {
        let limit = self.repository.options().timeouts.no_progress;
        tokio::pin!(answer);
        let mut before = upload.tally.standing();
        let mut silent = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                outcome = &mut answer => {
                    (upload.tell)(upload.tally.standing().sent);
                    return Ok(outcome);
                }
                () = tokio::time::sleep(TICK) => {}
            }
            let now = upload.tally.standing();
            (upload.tell)(now.sent);
            silent += TICK;
            if now != before || now.waits_for_source {
                silent = Duration::ZERO;
            }
            before = now;
            if silent >= if now.complete { ANSWER } else { limit } {
                return Err(RegistryError::Stalled {
                    url: shown(&upload.place),
                    after: silent,
                });
            }
        }
    }

    fn broken_off(&self, upload: &Upload<'_>) -> RegistryError {
        let (_, got) = upload.tally.result();
        RegistryError::Truncated {
            url: shown(&upload.place),
            got,
            expected: got,
        }
    }
}

/// A registry that forgot an upload, or is at another place in it, is asked where it is.
fn lost_track(upload: &Upload<'_>, error: RegistryError) -> RegistryError {
    let is_lost = matches!(
        error,
        RegistryError::NotFound { .. } | RegistryError::Status { status: 416, .. }
    );
    if !is_lost {
        return error;
    }
    let (_, got) = upload.tally.result();
    RegistryError::Truncated {
        url: shown(&upload.place),
        got,
        expected: got,
    }
}
