//! Ctrl-C while something runs that looks only now and then whether it is still wanted.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread::JoinHandle;

use rocker_types::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{SignalPlan, Signals};
use crate::commands::CommandError;
use crate::exit_code::Status;
use crate::report;

/// How long what runs may take to see by itself that it is not wanted any more. Whoever presses
/// Ctrl-C expects the prompt within a fifth of a second.
const GRACE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 130_000_000,
};

/// Notices the first signal that asks us to stop. If what runs has not ended soon after, wherever
/// it may hang, the process ends: only for what can be killed at any moment without harm.
#[derive(Debug)]
pub(crate) struct StopRequests {
    /// The number of the signal; 0 as long as none came.
    came: Arc<AtomicI32>,
    /// Closed when what runs has ended.
    running: PipeWriter,
    thread: JoinHandle<Signals>,
}

impl StopRequests {
    /// Takes the signals out of the ordinary way, until [`end`](Self::end).
    ///
    /// # Errors
    ///
    /// When the kernel gives no signalfd, no pipe or no thread.
    pub(crate) fn notice() -> io::Result<Self> {
        let signals = Signals::take(SignalPlan::Interrupt)?;
        let (ended, running) = io::pipe()?;
        let came = Arc::new(AtomicI32::new(0));
        let noted = Arc::clone(&came);
        let watch = move || {
            watch(&signals, &ended, &noted);
            signals
        };
        let thread = std::thread::Builder::new().name("signals".to_owned());
        Ok(Self {
            came,
            running,
            thread: thread.spawn(watch)?,
        })
    }

    /// The signal, if one came.
    pub(crate) fn came(&self) -> Option<Signal> {
        signal_of(&self.came)
    }

    /// Lets signals act as on any program again, and says whether one came before. The thread that
    /// watched is gone then, so none that it took goes unnoticed.
    ///
    /// # Errors
    ///
    /// When the kernel does not take the set of signals.
    pub(crate) fn end(self) -> io::Result<Option<Signal>> {
        drop(self.running);
        match self.thread.join() {
            Ok(mut signals) => signals.follow(SignalPlan::Ignore)?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        Ok(signal_of(&self.came))
    }
}

fn signal_of(came: &AtomicI32) -> Option<Signal> {
    Signal::from_number(came.load(Ordering::Relaxed)).ok()
}

fn watch(signals: &Signals, ended: &PipeReader, came: &AtomicI32) {
    let Some(signal) = await_signal(signals, ended) else {
        return;
    };
    came.store(signal.number(), Ordering::Relaxed);
    let mut polled = [PollFd::new(ended, PollFlags::IN)];
    if matches!(poll(&mut polled, Some(&GRACE)), Ok(1)) {
        return;
    }
    report::error(&CommandError::Ended(signal));
    end(signal);
}

/// The first signal; `None` if what runs ended before one came.
fn await_signal(signals: &Signals, ended: &PipeReader) -> Option<Signal> {
    loop {
        let mut polled = [
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
            PollFd::new(ended, PollFlags::IN),
        ];
        match poll(&mut polled, None) {
            Err(Errno::INTR) => continue,
            Err(_) => return None,
            Ok(_) if !polled[1].revents().is_empty() => return None,
            Ok(_) => {}
        }
        if let Ok(Some(signal)) = signals.next() {
            return Some(signal);
        }
    }
}

#[expect(
    clippy::exit,
    reason = "the main thread hangs somewhere, and whatever it does may be cut off"
)]
fn end(signal: Signal) -> ! {
    std::process::exit(i32::from(Status::Interrupted(signal).code()))
}
