//! The user's terminal in raw mode, and every way back.
//!
//! A terminal left in raw mode shows no typing and ignores Ctrl-C, so there are three ways back:
//! dropping [`RawMode`] (every ordinary end, fatal signals included, because the pump reads
//! those from a signalfd), the panic hook (panics abort, nothing is dropped), and for kill -9 the
//! [`guard`](super::guard), a process that outlives us.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, Once, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use super::guard::Guard;

/// What the panic hook restores: the terminal and its modes as they were.
static SAVED: Mutex<Option<(OwnedFd, Termios)>> = Mutex::new(None);
static HOOK: Once = Once::new();

/// A terminal in raw mode until this is dropped.
#[derive(Debug)]
pub(crate) struct RawMode {
    guard: Option<Guard>,
}

impl RawMode {
    /// Puts `terminal` into raw mode: bytes as they are typed, no echo, no signals from keys.
    ///
    /// # Errors
    ///
    /// When it is not a terminal, or hung up.
    pub(crate) fn enter(terminal: impl AsFd) -> io::Result<Self> {
        let terminal = terminal.as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();

        // It reads the modes itself, hence has to be ready before they change. Without it only
        // kill -9 leaves the terminal raw, which is no reason not to run.
        let guard = Guard::spawn(&terminal).ok();
        HOOK.call_once(restore_on_panic);
        *saved() = Some((terminal.try_clone()?, before));
        let entered = Self { guard };
        tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(entered)
    }
}

/// Makes the terminal raw again after another process changed it while we were stopped.
pub(crate) fn reenter() {
    if let Some((terminal, before)) = saved().as_ref() {
        let mut raw = before.clone();
        raw.make_raw();
        let _hung_up = tcsetattr(terminal, OptionalActions::Now, &raw);
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
        if let Some(guard) = self.guard.take() {
            guard.dismiss();
        }
    }
}

fn saved() -> std::sync::MutexGuard<'static, Option<(OwnedFd, Termios)>> {
    SAVED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Restores what was saved, once. A terminal that hung up cannot be restored, nor needs it.
fn restore() {
    if let Some((terminal, before)) = saved().take() {
        let _hung_up = tcsetattr(&terminal, OptionalActions::Now, &before);
    }
}

/// First the terminal, then the message, so that the message has line ends.
fn restore_on_panic() {
    let next = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        restore();
        next(panic);
    }));
}

#[cfg(test)]
mod tests {
    use rustix::pty::OpenptFlags;
    use rustix::termios::LocalModes;

    use super::*;

    fn is_raw(terminal: &OwnedFd) -> bool {
        let modes = tcgetattr(terminal).expect("modes");
        !modes
            .local_modes
            .intersects(LocalModes::ECHO | LocalModes::ICANON)
    }

    /// One test, because what the hook restores is one per process.
    #[test]
    fn every_end_inside_the_process_restores_the_terminal() {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).expect("a pseudoterminal");
        rustix::pty::unlockpt(&master).expect("unlocked");
        let terminal = rustix::pty::ioctl_tiocgptpeer(&master, flags).expect("its other side");

        let raw = RawMode::enter(&terminal).expect("raw");
        assert!(is_raw(&terminal));
        drop(raw);
        assert!(!is_raw(&terminal), "after a drop");

        let raw = RawMode::enter(&terminal).expect("raw");
        let panicked = std::panic::catch_unwind(|| panic!("on purpose"));
        assert!(
            panicked.is_err() && !is_raw(&terminal),
            "after the panic hook"
        );
        drop(raw);
        assert!(!is_raw(&terminal));

        let raw = RawMode::enter(&terminal).expect("raw");
        let before = tcgetattr(&master).expect("modes");
        tcsetattr(&terminal, OptionalActions::Now, &{
            let mut cooked = before;
            cooked.local_modes |= LocalModes::ECHO | LocalModes::ICANON;
            cooked
        })
        .expect("changed by a shell while we were stopped");
        reenter();
        assert!(is_raw(&terminal), "after the return from a stop");
        drop(raw);
    }

    #[test]
    fn what_is_no_terminal_is_refused() {
        let file = OwnedFd::from(tempfile::tempfile().expect("a file"));
        assert!(RawMode::enter(&file).is_err());
    }
}
