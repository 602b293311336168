//! Questions to the user, whose answers may be secret.

use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;

use rocker_types::Signal;
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

/// What came of a question.
enum Answer {
    Line(String),
    Signal(Signal),
    /// The input ended.
    Nothing,
}

fn ask(question: &str, echo: Echo) -> Result<String, CommandError> {
    if !io::stdin().is_terminal() {
        return Err(CommandError::NoTerminalForLogin);
    }
    loop {
        // signals wait until the terminal is as it was
        let plan = SignalPlan::Question;
        let mut signals = Signals::take(plan).map_err(CommandError::Terminal)?;
        let answer = ask_once(question, echo, &signals);
        signals
            .follow(SignalPlan::Ignore)
            .map_err(CommandError::Terminal)?;
        match answer.map_err(CommandError::Terminal)? {
            Answer::Line(line) => return Ok(line),
            Answer::Signal(signal) if signal.number() == nix::libc::SIGTSTP => {
                stop().map_err(CommandError::Terminal)?;
            }
            Answer::Signal(signal) => return Err(CommandError::Ended(signal)),
            Answer::Nothing => return Err(CommandError::NoTerminalForLogin),
        }
    }
}

fn ask_once(question: &str, echo: Echo, signals: &Signals) -> io::Result<Answer> {
    let silence = Silence::begin(echo)?;
    let mut err = io::stderr();
    err.write_all(question.as_bytes())?;
    let answer = read_line(signals);
    drop(silence);
    if !matches!(answer, Ok(Answer::Line(_))) {
        err.write_all(b"\n")?;
    }
    answer
}

/// Stops as Ctrl-Z asks, and comes back when somebody lets us go on.
fn stop() -> io::Result<()> {
    Ok(nix::sys::signal::raise(nix::sys::signal::Signal::SIGTSTP)?)
}

/// A line without its end, or what came instead.
fn read_line(signals: &Signals) -> io::Result<Answer> {
    let stdin = io::stdin();
    let mut line = Vec::new();
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        retry_on_intr(|| poll(&mut fds, None))?;
        if !fds[1].revents().is_empty()
            && let Some(signal) = signals.next()?
        {
            return Ok(Answer::Signal(signal));
        }
        if fds[0].revents().is_empty() {
            continue;
        }
        // not through a buffer: what follows the line is somebody else's
        let mut byte = [0];
        let count = retry_on_intr(|| rustix::io::read(stdin.as_fd(), &mut byte))?;
        match byte {
            _ if count == 0 => return Ok(Answer::Nothing),
            [b'\n'] => break,
            [byte] => line.push(byte),
        }
        if line.len() > MAX_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    String::from_utf8(line)
        .map(Answer::Line)
        .map_err(|_| io::ErrorKind::InvalidData.into())
}
