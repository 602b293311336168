//! The memory that decoders of layers share.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What the decoders of all layers that are unpacked at once may take together, in bytes: seven
/// of zstd's windows of 8 MiB, the largest that its ordinary levels make, or two of 25 bits, the
/// largest that are taken by default.
const SHARED_BYTES: u64 = 68 << 20;

/// Memory that is there to be shared.
#[derive(Debug)]
pub(super) struct Windows {
    free: Mutex<u64>,
    more: Condvar,
}

impl Windows {
    pub(super) fn new() -> Self {
        Self {
            free: Mutex::new(SHARED_BYTES),
            more: Condvar::new(),
        }
    }

    /// A share of nothing.
    pub(super) fn share(&self) -> Share<'_> {
        Share {
            windows: self,
            bytes: 0,
        }
    }

    fn free(&self) -> MutexGuard<'_, u64> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one decoder has of it.
#[derive(Debug)]
pub(super) struct Share<'a> {
    windows: &'a Windows,
    bytes: u64,
}

impl Share<'_> {
    /// Waits until it may be `bytes`; whoever wants more than there is gets all. While it waits
    /// it holds nothing, so that those who wait do not wait for each other.
    pub(super) fn resize(&mut self, bytes: u64) {
        let bytes = bytes.min(SHARED_BYTES);
        if bytes == self.bytes {
            return;
        }
        let mut free = self.windows.free();
        *free += self.bytes;
        self.windows.more.notify_all();
        while *free < bytes {
            free = self
                .windows
                .more
                .wait(free)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *free -= bytes;
        self.bytes = bytes;
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        *self.windows.free() += self.bytes;
        self.windows.more.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn who_waits_holds_nothing() {
        let windows = Windows::new();
        let mut first = windows.share();
        let mut second = windows.share();
        first.resize(SHARED_BYTES / 2);
        second.resize(SHARED_BYTES / 2);
        // each wants what the other has; it would never end if one kept its own meanwhile
        thread::scope(|scope| {
            scope.spawn(move || second.resize(SHARED_BYTES));
            scope.spawn(move || first.resize(SHARED_BYTES));
        });
        assert_eq!(*windows.free(), SHARED_BYTES);
    }

    #[test]
    fn more_than_there_is_is_all() {
        let windows = Windows::new();
        windows.share().resize(u64::MAX);
        assert_eq!(*windows.free(), SHARED_BYTES);
    }
}
