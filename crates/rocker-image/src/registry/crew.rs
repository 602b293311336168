//! The threads that unpack what a pull fetches.

use std::cell::RefCell;
use std::io;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often it is looked whether a thread has ended that may go on without us.
const LOOK: Duration = Duration::from_millis(2);

/// The threads of one pull. They own what they work with, so that a pull that is interrupted need
/// not wait until one of them has finished what it is about.
#[derive(Debug, Default)]
pub(super) struct Crew(RefCell<Vec<JoinHandle<()>>>);

impl Crew {
    /// Starts a thread.
    pub(super) fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work)?;
        self.0.borrow_mut().push(thread);
        Ok(())
    }

    /// Waits until all have ended.
    pub(super) fn join(self) {
        for thread in self.0.into_inner() {
            if let Err(panic) = thread.join() {
                // panics abort release builds; elsewhere the panic goes on here
                std::panic::resume_unwind(panic);
            }
        }
    }

    /// Waits until all have ended, or for `grace`.
    pub(super) fn leave(self, grace: Duration) {
        let end = Instant::now() + grace;
        let threads = self.0.into_inner();
        while Instant::now() < end && !threads.iter().all(JoinHandle::is_finished) {
            thread::sleep(LOOK);
        }
        for thread in threads.into_iter().filter(JoinHandle::is_finished) {
            // it ended one way or the other, and what it made is not used
            let _ = thread.join();
        }
    }
}
