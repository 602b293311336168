//! How patient and how eager a pull is.

use std::time::Duration;

use rocker_engine::RegistryOptions;

use crate::cli::values;

/// More layers at a time would need more memory than a pull may take.
const MOST_DOWNLOADS: i64 = 8;

/// More than anybody waits for, since the waits get longer.
const MOST_RETRIES: i64 = 1000;

/// What a command line says about the transfer.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TransferArgs {
    /// How often to repeat a request that fails in a way that may pass; 3 by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=MOST_RETRIES), help_heading = "Transfer")]
    retry: Option<u32>,

    /// How long to wait before that, doubled each time: 500ms, 2s; 400ms by default
    #[arg(long, value_name = "TIME", value_parser = values::span, help_heading = "Transfer")]
    retry_delay: Option<Duration>,

    /// How many layers to fetch at a time: 1 to 8; by default three more than there are processors, at least 5
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=MOST_DOWNLOADS), help_heading = "Transfer")]
    max_concurrent_downloads: Option<u8>,

    /// Give up when nothing has come for this long: 30s by default
    #[arg(long, value_name = "TIME", value_parser = values::some_time, help_heading = "Transfer")]
    stall_timeout: Option<Duration>,
}

impl TransferArgs {
    /// Changes what the command line names.
    pub(crate) fn apply(&self, options: &mut RegistryOptions) {
        if let Some(retries) = self.retry {
            options.retry.retries = retries;
        }
        if let Some(delay) = self.retry_delay {
            options.retry.delay = delay;
            options.retry.max_delay = options.retry.max_delay.max(delay);
        }
        if let Some(downloads) = self.max_concurrent_downloads {
            options.concurrency = downloads.into();
        }
        if let Some(time) = self.stall_timeout {
            options.timeouts.no_progress = time;
            options.timeouts.connect = options.timeouts.connect.min(time);
        }
    }
}
