//! Credential helpers: programs that keep secrets elsewhere, in a keyring for example.
//!
//! A helper is called with one word, `get`, `store`, `erase` or `list`, reads one document
//! from standard input and answers on standard output. Secrets go through the pipes only;
//! what a helper says is not repeated where it may hold one.
//!
//! Source: docker-credential-helpers, `README.md` ("Development"), `credentials` package.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rocker_types::{Diagnose, ErrorKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use super::Credential;
use crate::document::shorten;

/// How long a helper may take; it may have to ask its user to unlock something.
const PATIENCE: Duration = Duration::from_secs(60);

/// The largest document in either direction, in bytes. It fits a pipe, so writing never waits.
const MAX_BYTES: usize = 48 << 10;

/// What helpers call a secret that is an identity token.
const TOKEN_USER: &str = "<token>";

/// Helpers say this, with a status of 1, of what they do not know.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// Why a credential helper was of no use. None of its words are part of it but those with
/// which it refused a `get`, `erase` or `list`.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The name is not one of a program.
    #[error("{name:?} is not the name of a credential helper")]
    Name {
        /// As the file has it.
        name: String,
    },

    /// The helper could not be started or spoken to.
    #[error("cannot run the credential helper {program}")]
    Run {
        /// `docker-credential-NAME`.
        program: String,
        /// What happened.
        source: io::Error,
    },

    /// The helper did not come to an end.
    #[error("credential helper {program} gave no answer to {action} within {} s", .after.as_secs())]
    Silent {
        /// `docker-credential-NAME`.
        program: String,
        /// What it was asked.
        action: &'static str,
        /// How long we waited.
        after: Duration,
    },

    /// The helper said no.
    #[error("credential helper {program} refused {action}{}", words(.message))]
    Refused {
        /// `docker-credential-NAME`.
        program: String,
        /// What it was asked.
        action: &'static str,
        /// Its words, where they cannot hold a secret.
        message: Option<String>,
    },

    /// The document is larger than a helper's may be.
    #[error("{action} with credential helper {program} takes more than {MAX_BYTES} bytes")]
    TooLarge {
        /// `docker-credential-NAME`.
        program: String,
        /// What it was asked.
        action: &'static str,
    },

    /// The answer is not the JSON that it should be.
    #[error("credential helper {program} answered {action} with something that is not its JSON")]
    Answer {
        /// `docker-credential-NAME`.
        program: String,
        /// What it was asked.
        action: &'static str,
    },
}

fn words(message: &Option<String>) -> String {
    message
        .as_ref()
        .map_or_else(String::new, |message| format!(": {message}"))
}

impl Diagnose for HelperError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Name { .. } | Self::TooLarge { .. } => ErrorKind::Invalid,
            Self::Run { .. } | Self::Silent { .. } | Self::Refused { .. } | Self::Answer { .. } => {
                ErrorKind::Unavailable
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Run { program, source } if source.kind() == io::ErrorKind::NotFound => {
                Some(format!(
                    "install {program} where PATH finds it, or take credsStore or credHelpers out of the file"
                ))
            }
            Self::Name { .. }
            | Self::Run { .. }
            | Self::Silent { .. }
            | Self::Refused { .. }
            | Self::TooLarge { .. }
            | Self::Answer { .. } => None,
        }
    }
}

/// What `get` answers and `store` reads.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(default, rename = "ServerURL")]
    server_url: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// One helper program.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Helper {
    program: String,
    patience: Duration,
}

impl fmt::Debug for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)
    }
}

impl Helper {
    /// The helper that auth files call `name`: `docker-credential-NAME`, found on PATH.
    pub(super) fn named(name: &str) -> Result<Self, HelperError> {
        let is_word = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-' | b'+');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_word) {
            return Err(HelperError::Name {
                name: shorten(name),
            });
        }
        Ok(Self {
            program: format!("docker-credential-{name}"),
            patience: PATIENCE,
        })
    }

    /// The program's name.
    pub(super) fn program(&self) -> &str {
        &self.program
    }

    /// What the helper has for `address`.
    pub(super) fn get(&self, address: &str) -> Result<Option<Credential>, HelperError> {
        let answer = match self.run("get", address.as_bytes()) {
            Err(HelperError::Refused {
                message: Some(message),
                ..
            }) if message.contains(NOT_FOUND) => return Ok(None),
            answer => answer?,
        };
        let document: serde_json::Map<_, _> =
            serde_json::from_slice(&answer).map_err(|_| self.senseless("get"))?;
        let entry: Entry =
            serde_json::from_value(document.into()).map_err(|_| self.senseless("get"))?;
        Ok(match entry {
            // some helpers say this of what they do not know
            Entry { secret, .. } if secret.is_empty() => None,
            Entry {
                username, secret, ..
            } if username == TOKEN_USER => Some(Credential::Identity(secret)),
            Entry {
                username, secret, ..
            } => Some(Credential::Basic {
                username,
                password: secret,
            }),
        })
    }

    /// Makes the helper keep a name and a password for `address`.
    pub(super) fn store(
        &self,
        address: &str,
        username: &str,
        password: &str,
    ) -> Result<(), HelperError> {
        let entry = Entry {
            server_url: address.to_owned(),
            username: username.to_owned(),
            secret: password.to_owned(),
        };
        let document = serde_json::to_vec(&entry).map_err(|_| self.senseless("store"))?;
        self.run("store", &document).map(drop)
    }

    /// Makes the helper forget what it has for `address`.
    pub(super) fn erase(&self, address: &str) -> Result<(), HelperError> {
        self.run("erase", address.as_bytes()).map(drop)
    }

    /// The addresses that the helper has something for.
    pub(super) fn list(&self) -> Result<Vec<String>, HelperError> {
        let answer = self.run("list", b"")?;
        let users: BTreeMap<String, String> =
            serde_json::from_slice(&answer).map_err(|_| self.senseless("list"))?;
        Ok(users.into_keys().collect())
    }

    fn senseless(&self, action: &'static str) -> HelperError {
        HelperError::Answer {
            program: self.program.clone(),
            action,
        }
    }

    fn failed(&self, source: io::Error) -> HelperError {
        HelperError::Run {
            program: self.program.clone(),
            source,
        }
    }

    /// One call. Standard error stays ours: a helper that needs its user says so there.
    fn run(&self, action: &'static str, input: &[u8]) -> Result<Vec<u8>, HelperError> {
        let too_large = || HelperError::TooLarge {
            program: self.program.clone(),
            action,
        };
        if input.len() > MAX_BYTES {
            return Err(too_large());
        }
        let mut command = Command::new(&self.program);
        command
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        // Ctrl-C ends one that waits for its user, whatever we do about it ourselves
        rocker_sys::signal::reset_in_child(&mut command);
        let child = command.spawn();
        let mut call = Call::new(child.map_err(|source| self.failed(source))?);
        let outcome = call.converse(input, Instant::now() + self.patience);
        let ended = match outcome {
            Ok(Some(ended)) => ended,
            Ok(None) => {
                return Err(HelperError::Silent {
                    program: self.program.clone(),
                    action,
                    after: self.patience,
                });
            }
            Err(source) if source.kind() == io::ErrorKind::FileTooLarge => return Err(too_large()),
            Err(source) => return Err(self.failed(source)),
        };
        if ended.success {
            return Ok(ended.output);
        }
        let message = String::from_utf8_lossy(&ended.output);
        let may_be_shown = action != "store" && !message.contains(['{', '"']);
        Err(HelperError::Refused {
            program: self.program.clone(),
            action,
            message: Some(shorten(message.trim()))
                .filter(|message| may_be_shown && !message.is_empty()),
        })
    }
}

/// A helper at work; ended when this is dropped.
struct Call {
    child: Child,
}

struct Ended {
    success: bool,
    output: Vec<u8>,
}

impl Call {
    const fn new(child: Child) -> Self {
        Self { child }
    }

    /// Hands over the input and reads until the helper has ended; `None` if that takes until
    /// `deadline`. What it started itself may go on, and is not waited for.
    fn converse(&mut self, input: &[u8], deadline: Instant) -> io::Result<Option<Ended>> {
        let mut stdout = self.child.stdout.take();
        if let Some(mut stdin) = self.child.stdin.take() {
            match stdin.write_all(input) {
                // it need not read what it does not want
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                written => written?,
            }
        }
        let ended = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty())?;
        let mut output = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match next(stdout.as_ref(), &ended, left)? {
                None => return Ok(None),
                Some(Ready::Output) => {
                    if !read_some(&mut stdout, &mut output)? {
                        stdout = None;
                    }
                }
                Some(Ready::Ended) => {
                    let success = self.child.wait()?.success();
                    return Ok(Some(Ended { success, output }));
                }
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // both fail only for a child that has been waited for
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

enum Ready {
    Output,
    Ended,
}

/// What there is next, output first; `None` after `left`.
fn next(
    stdout: Option<&ChildStdout>,
    ended: &OwnedFd,
    left: Duration,
) -> io::Result<Option<Ready>> {
    let timeout = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    };
    let mut fds = vec![PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN)];
    fds.extend(stdout.map(|stdout| PollFd::new(stdout, PollFlags::IN)));
    if retry_on_intr(|| poll(&mut fds, Some(&timeout)))? == 0 {
        return Ok(None);
    }
    let has_output = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
    Ok(Some(if has_output {
        Ready::Output
    } else {
        Ready::Ended
    }))
}

/// Reads what is there; `false` at the end.
fn read_some(stdout: &mut Option<ChildStdout>, output: &mut Vec<u8>) -> io::Result<bool> {
    let mut piece = [0; 4096];
    let count = stdout
        .as_mut()
        .map_or(Ok(0), |stdout| stdout.read(&mut piece))?;
    output.extend_from_slice(piece.get(..count).unwrap_or_default());
    if output.len() > MAX_BYTES {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(count > 0)
}

#[cfg(test)]
mod tests;
