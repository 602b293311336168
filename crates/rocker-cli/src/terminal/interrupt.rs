//! Ctrl-C while something runs that has to clean up before it ends.

use std::io;
use std::sync::OnceLock;

use rocker_types::Signal;

use super::{SignalPlan, Signals};

/// Does `work`, which is to ask often whether a signal has come that wants us to stop. Gives back
/// what came of it, and that signal.
///
/// # Errors
///
/// When the kernel gives no signalfd.
pub(crate) fn interruptible<T>(
    work: impl FnOnce(&(dyn Fn() -> bool + Sync)) -> T,
) -> io::Result<(T, Option<Signal>)> {
    let mut signals = Signals::take(SignalPlan::Interrupt)?;
    let came = OnceLock::new();
    let cancelled = || {
        if let Ok(Some(signal)) = signals.next() {
            came.get_or_init(|| signal);
        }
        came.get().is_some()
    };
    let outcome = work(&cancelled);
    signals.follow(SignalPlan::Ignore)?;
    Ok((outcome, came.into_inner()))
}
