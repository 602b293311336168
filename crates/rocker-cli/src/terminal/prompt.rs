//! Questions to the user, whose answers may be secret.

use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::{SignalPlan, Signals};
use crate::commands::CommandError;

/// The longest answer in bytes; a terminal's line is no longer.
const MAX_BYTES: usize = 4096;

/// Asks for a password at the terminal, which does not show it.
///
/// # Errors
///
/// [`CommandError::NoTerminalForLogin`] where nobody can be asked, and
/// [`CommandError::Ended`] if a signal came instead of an answer.
pub(crate) fn password() -> Result<String, CommandError> {
    ask("Password: ", Echo::Off)
}

/// Asks for a line at the terminal.
///
/// # Errors
///
/// Those of [`password`].
pub(crate) fn line(question: &str) -> Result<String, CommandError> {
    ask(question, Echo::On)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Echo {
    On,
    Off,
}

/// A terminal that shows no typing until this is dropped.
struct Silence(Option<Termios>);

impl Silence {
    fn begin(echo: Echo) -> io::Result<Self> {
        if echo == Echo::On {
            return Ok(Self(None));
        }
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO;
        // the end of the line still moves the cursor
        silent.local_modes |= LocalModes::ECHONL | LocalModes::ICANON;
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(Some(before)))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // a terminal that hung up needs nothing any more
            let _hung_up = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

fn ask(question: &str, echo: Echo) -> Result<String, CommandError> {
    if !io::stdin().is_terminal() {
        return Err(CommandError::NoTerminalForLogin);
    }
    // signals wait until the terminal is as it was
    let mut signals = Signals::take(SignalPlan::Interrupt).map_err(CommandError::Terminal)?;
    let answer = Silence::begin(echo).and_then(|silence| {
        let mut err = io::stderr();
        err.write_all(question.as_bytes())?;
        let answer = read_line(&signals);
        drop(silence);
        if matches!(answer, Ok(None)) {
            err.write_all(b"\n")?;
        }
        answer
    });
    let signal = match &answer {
        Ok(None) => signals.next().map_err(CommandError::Terminal)?,
        Ok(Some(_)) | Err(_) => None,
    };
    signals
        .follow(SignalPlan::Ignore)
        .map_err(CommandError::Terminal)?;
    match (answer.map_err(CommandError::Terminal)?, signal) {
        (Some(line), _) => Ok(line),
        (None, Some(signal)) => Err(CommandError::Ended(signal)),
        (None, None) => Err(CommandError::NoTerminalForLogin),
    }
}

/// A line without its end; `None` if a signal or the end of the input came instead.
fn read_line(signals: &Signals) -> io::Result<Option<String>> {
    let stdin = io::stdin();
    let mut line = Vec::new();
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        retry_on_intr(|| poll(&mut fds, None))?;
        if !fds[1].revents().is_empty() {
            return Ok(None);
        }
        // not through a buffer: what follows the line is somebody else's
        let mut byte = [0];
        let count = retry_on_intr(|| rustix::io::read(stdin.as_fd(), &mut byte))?;
        match byte {
            _ if count == 0 => return Ok(None),
            [b'\n'] => break,
            [byte] => line.push(byte),
        }
        if line.len() > MAX_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    String::from_utf8(line)
        .map(Some)
        .map_err(|_| io::ErrorKind::InvalidData.into())
}
