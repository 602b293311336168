use std::fs::File;
use std::io::Read;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

/// What a program has written so far, filled by a thread that reads, and asked by the test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transcript {
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// Where the next search starts: after what was found before.
    searched: usize,
    ended: bool,
}

impl Transcript {
    /// Starts a thread that reads `source` to its end.
    pub(crate) fn read_from(source: impl Into<std::os::fd::OwnedFd>) -> Self {
        let transcript = Self::default();
        let writer = transcript.clone();
        let mut source = File::from(source.into());
        std::thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            // A pty master reports the end as EIO, a pipe as zero bytes.
            while let Ok(count @ 1..) = source.read(&mut buffer) {
                writer.update(|state| state.bytes.extend_from_slice(&buffer[..count]));
            }
            writer.update(|state| state.ended = true);
        });
        transcript
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(
            &mut self
                .state
                .0
                .lock()
                .expect("no panic while the transcript is locked"),
        );
        self.state.1.notify_all();
    }

    /// Waits for `text` after everything found before; `false` if it does not come in time.
    pub(crate) fn await_text(&self, text: &str, deadline: Instant) -> bool {
        self.await_state(deadline, |state| {
            let found = position(&state.bytes[state.searched..], text.as_bytes());
            if let Some(at) = found {
                state.searched += at + text.len();
            }
            found.map(|_| true).or(state.ended.then_some(false))
        })
        .unwrap_or(false)
    }

    /// Waits for the end of the stream; `false` if it does not come in time.
    pub(crate) fn await_end(&self, deadline: Instant) -> bool {
        self.await_state(deadline, |state| state.ended.then_some(()))
            .is_some()
    }

    fn await_state<T>(
        &self,
        deadline: Instant,
        mut check: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let mut state = self
            .state
            .0
            .lock()
            .expect("no panic while the transcript is locked");
        loop {
            if let Some(value) = check(&mut state) {
                return Some(value);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            state = self
                .state
                .1
                .wait_timeout(state, left)
                .expect("no panic while the transcript is locked")
                .0;
        }
    }

    /// Everything so far.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.state
            .0
            .lock()
            .expect("no panic while the transcript is locked")
            .bytes
            .clone()
    }

    /// Everything so far as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

/// Where `needle` first stands in `haystack`.
pub(crate) fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len().max(1))
        .position(|window| window == needle)
}
