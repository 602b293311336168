//! A process that puts the terminal right when `rocker` itself cannot: after kill -9.
//!
//! ```text
//!   rocker (in front of the terminal)        rocker __terminal-guard (own session)
//!   spawns ─────────────────────────────▶   reads the modes
//!                                     ◀──   one byte: "I know them"
//!   goes raw, works, restores
//!   one byte: "all is well" ────────────▶   ends, having touched nothing
//!   — or is killed: end of file ────────▶   restores the modes if they are still raw, ends
//! ```
//!
//! It exists only while a terminal is raw, and is this binary itself: a fork without an exec would
//! need unsafe code, and would keep every fd of ours open.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitCode, Stdio};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// The word that [`main`](crate::main) knows us by.
pub(crate) const COMMAND: &str = "__terminal-guard";

/// The running guard, as its ward sees it.
#[derive(Debug)]
pub(crate) struct Guard {
    channel: UnixStream,
    process: Child,
}

impl Guard {
    /// Starts a guard for `terminal` and returns when it knows the present modes.
    pub(crate) fn spawn(terminal: &OwnedFd) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let process = Command::new("/proc/self/exe")
            .arg(COMMAND)
            .stdin(OwnedFd::from(theirs))
            .stdout(terminal.try_clone()?)
            .stderr(Stdio::null())
            .spawn()?;
        let mut guard = Self {
            channel: ours,
            process,
        };
        match guard.channel.read_exact(&mut [0]) {
            Ok(()) => Ok(guard),
            Err(error) => {
                let _reaped = guard.process.wait();
                Err(error)
            }
        }
    }

    /// Tells the guard that the terminal was restored, and sees it end.
    pub(crate) fn dismiss(mut self) {
        // A guard that somebody killed has nothing left to be told.
        let _gone = self.channel.write_all(&[0]);
        let _reaped = self.process.wait();
    }
}

/// The guard's side: standard input is the channel, standard output the terminal.
pub(crate) fn main() -> ExitCode {
    match watch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn watch() -> io::Result<()> {
    // Out of the terminal's session: no Ctrl-C and no hangup reaches us, and the kernel does not
    // stop us for changing the modes from the background.
    rustix::process::setsid()?;
    let terminal = io::stdout();
    let modes = tcgetattr(terminal.as_fd())?;
    let mut channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    channel.write_all(&[0])?;
    match channel.read(&mut [0]) {
        Ok(0) | Err(_) if is_raw(&tcgetattr(terminal.as_fd())?, &modes) => {
            Ok(tcsetattr(terminal.as_fd(), OptionalActions::Now, &modes)?)
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Whether the terminal is as our ward left it. If not, a shell that saw the death first has set
/// what its own line editing needs, and must not be disturbed.
fn is_raw(now: &Termios, before: &Termios) -> bool {
    let mut raw = before.clone();
    raw.make_raw();
    (now.input_modes, now.output_modes, now.local_modes)
        == (raw.input_modes, raw.output_modes, raw.local_modes)
}
