//! The async runtime: made for one errand, gone with it.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::runtime::Builder;

/// How often the caller is asked whether it still wants what it asked for.
const CANCEL_POLL: Duration = Duration::from_millis(20);

/// How long to wait for a thread that resolves a name for nobody.
const RESOLVER_GRACE: Duration = Duration::from_millis(20);

/// Runs `errand` on this thread to its end.
///
/// # Errors
///
/// When the kernel gives no epoll instance.
pub(super) fn block_on<F: Future>(errand: F) -> io::Result<F::Output> {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    let outcome = runtime.block_on(errand);
    // threads that resolved names end here; one that still does is not waited for
    runtime.shutdown_timeout(RESOLVER_GRACE);
    Ok(outcome)
}

/// Ends when the caller says so.
pub(super) async fn cancelled(cancelled: &dyn Fn() -> bool) {
    while !cancelled() {
        tokio::time::sleep(CANCEL_POLL).await;
    }
}
