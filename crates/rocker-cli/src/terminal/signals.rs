//! The signals that `rocker` takes while it stands before a running container.
//!
//! They are blocked before the container starts, so that none gets lost between the start and
//! the pump, and read from a signalfd there.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal as Known};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rocker_types::Signal;

/// Never taken: faults of our own, what job control does to us, and what the kernel tells us
/// about our own children and pipes.
const LEFT_ALONE: [Known; 10] = [
    Known::SIGSEGV,
    Known::SIGBUS,
    Known::SIGILL,
    Known::SIGFPE,
    Known::SIGABRT,
    Known::SIGTRAP,
    Known::SIGSYS,
    Known::SIGPIPE,
    Known::SIGCHLD,
    Known::SIGURG,
];

/// With a raw terminal only these matter: its size, the return from a stop, and our own end.
const WITH_TERMINAL: [Known; 6] = [
    Known::SIGWINCH,
    Known::SIGCONT,
    Known::SIGHUP,
    Known::SIGINT,
    Known::SIGQUIT,
    Known::SIGTERM,
];

/// These ask a program to stop.
const REQUESTS_TO_STOP: [Known; 4] = [Known::SIGHUP, Known::SIGINT, Known::SIGQUIT, Known::SIGTERM];

/// What is done about signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalPlan {
    /// The terminal is raw: resize with it, and restore it before a signal ends us.
    Terminal,
    /// The program has a terminal and we only show it: it follows the size of ours.
    Window,
    /// Every signal that can be caught goes to the container (`--sig-proxy`).
    Proxy,
    /// Those that ask us to stop are noticed when it suits us.
    Interrupt,
    /// Those, and the wish to stop for a while: the terminal is put right before either.
    Question,
    /// They act on us as on any program.
    Ignore,
}

/// Signals that were taken out of the ordinary way.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: SignalFd,
    plan: SignalPlan,
}

impl Signals {
    /// Blocks the signals that `plan` needs, for this thread (the only one).
    ///
    /// # Errors
    ///
    /// When the kernel gives no signalfd.
    pub(crate) fn take(plan: SignalPlan) -> io::Result<Self> {
        let set = plan.set();
        set.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let fd = SignalFd::with_flags(&set, flags)?;
        Ok(Self { fd, plan })
    }

    /// Keeps only the signals that `plan` needs; the others act again, those that came
    /// meanwhile at once.
    ///
    /// # Errors
    ///
    /// When the kernel does not take the set.
    pub(crate) fn follow(&mut self, plan: SignalPlan) -> io::Result<()> {
        let set = plan.set();
        self.fd.set_mask(&set)?;
        self.plan = plan;
        Ok(set.thread_set_mask()?)
    }

    pub(crate) fn plan(&self) -> SignalPlan {
        self.plan
    }

    /// The next signal that arrived.
    pub(crate) fn next(&self) -> io::Result<Option<Signal>> {
        let info = self.fd.read_signal()?;
        Ok(info.and_then(|info| {
            let number = i32::try_from(info.ssi_signo).ok()?;
            Signal::from_number(number).ok()
        }))
    }
}

impl SignalPlan {
    fn set(self) -> SigSet {
        match self {
            Self::Terminal => WITH_TERMINAL.into_iter().collect(),
            Self::Window => Known::SIGWINCH.into(),
            Self::Proxy => {
                // The full set has the real-time signals too.
                let mut all = SigSet::all();
                for signal in LEFT_ALONE {
                    all.remove(signal);
                }
                all
            }
            Self::Interrupt => REQUESTS_TO_STOP.into_iter().collect(),
            Self::Question => REQUESTS_TO_STOP
                .into_iter()
                .chain([Known::SIGTSTP])
                .collect(),
            Self::Ignore => SigSet::empty(),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
