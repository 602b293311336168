//! The threads that unpack what a pull fetches.

use std::cell::RefCell;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often it is looked whether a thread has ended that may go on without us.
const LOOK: Duration = Duration::from_millis(2);

/// The threads of one pull. They own what they work with, so that a pull that is interrupted need
/// not wait until one of them has finished what it is about.
#[derive(Debug, Default)]
pub(super) struct Crew {
    threads: RefCell<Vec<JoinHandle<()>>>,
    is_over: Arc<AtomicBool>,
    bytes_read: Arc<AtomicU64>,
}

/// What a thread of a crew reads.
#[derive(Debug)]
pub(super) struct Supply<R> {
    reader: R,
    is_over: Arc<AtomicBool>,
    bytes_read: Arc<AtomicU64>,
}

impl<R: Read> Read for Supply<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_over.load(Ordering::Relaxed) {
            let why = "the pull has ended";
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, why));
        }
        let bytes = self.reader.read(buffer)?;
        self.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

impl Crew {
    /// Starts a thread.
    pub(super) fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work)?;
        self.threads.borrow_mut().push(thread);
        Ok(())
    }

    /// What a thread is to read, as long as anybody wants it.
    pub(super) fn supply<R: Read>(&self, reader: R) -> Supply<R> {
        Supply {
            reader,
            is_over: Arc::clone(&self.is_over),
            bytes_read: Arc::clone(&self.bytes_read),
        }
    }

    /// Tells a thread whether what it does is still wanted.
    pub(super) fn end(&self) -> impl Fn() -> bool + Send + 'static {
        let is_over = Arc::clone(&self.is_over);
        move || is_over.load(Ordering::Relaxed)
    }

    /// How many bytes all threads have read so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Has nobody read on: what has come but for its unpacking is not worth the wait any more.
    pub(super) fn stop(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Waits until all have ended.
    pub(super) fn join(self) {
        for thread in self.threads.into_inner() {
            if let Err(panic) = thread.join() {
                // panics abort release builds; elsewhere the panic goes on here
                std::panic::resume_unwind(panic);
            }
        }
    }

    /// Stops, and waits until all have ended, or for `grace`.
    pub(super) fn leave(self, grace: Duration) {
        self.stop();
        let end = Instant::now() + grace;
        let threads = self.threads.into_inner();
        while Instant::now() < end && !threads.iter().all(JoinHandle::is_finished) {
            thread::sleep(LOOK);
        }
        for thread in threads.into_iter().filter(JoinHandle::is_finished) {
            // it ended one way or the other, and what it made is not used
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_told_to_stop_does_not_read_to_the_end() {
        let crew = Crew::default();
        let mut endless = crew.supply(io::repeat(0));
        let (tell, told) = std::sync::mpsc::channel();
        crew.spawn("endless", move || {
            let mut buffer = [0; 4096];
            while endless.read(&mut buffer).is_ok() {
                let _ = tell.send(());
            }
        })
        .unwrap();
        told.recv().unwrap();

        crew.stop();
        crew.join();
    }
}
