use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};

/// Remembers every container id that appeared as a directory below the runroot, also those
/// that came and went within one command. The kernel's own list of events, so none is missed.
#[derive(Debug)]
pub(super) struct IdWatch {
    events: OwnedFd,
    seen: Arc<Mutex<Vec<String>>>,
}

impl IdWatch {
    pub(super) fn start(runroot: &Path) -> io::Result<Self> {
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&events, runroot, WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
        Ok(Self {
            events,
            seen: Arc::default(),
        })
    }

    /// All ids so far, oldest first.
    pub(super) fn seen(&self) -> Vec<String> {
        let mut seen = self.seen.lock().expect("no panic while ids are read");
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = Reader::new(&self.events, &mut buffer);
        // The queue is non-blocking: an error means that it is empty.
        while let Ok(event) = reader.next() {
            let name = event
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            seen.extend(name.filter(|name| is_id(name)));
        }
        seen.clone()
    }
}

/// Whether `name` is 64 hex digits.
fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}
