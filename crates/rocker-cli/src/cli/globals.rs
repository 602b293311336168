//! Flags that stand before the command.

use std::path::PathBuf;

use rocker_types::Layout;

/// Run containers without a daemon
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct Globals {
    /// Directory of images, containers and volumes
    #[arg(long, value_name = "DIR", env = "ROCKER_ROOT", hide_env = true, value_parser = super::values::absolute_path, default_value = Layout::DEFAULT_ROOT)]
    pub(crate) root: PathBuf,

    /// Directory of the state of running containers
    #[arg(long, value_name = "DIR", env = "ROCKER_RUNROOT", hide_env = true, value_parser = super::values::absolute_path, default_value = Layout::DEFAULT_RUNROOT)]
    pub(crate) runroot: PathBuf,

    /// How much rocker tells about its own decisions
    #[arg(short, long, value_name = "LEVEL", env = "ROCKER_LOG", hide_env = true, default_value = "warn", value_parser = ["error", "warn", "info", "debug"])]
    pub(crate) log_level: String,

    /// The same as --log-level debug
    #[arg(short = 'D', long)]
    pub(crate) debug: bool,
}

impl Globals {
    /// Where everything lies.
    pub(crate) fn layout(&self) -> Layout {
        Layout::new(&self.root, &self.runroot)
    }

    /// The least important message that is still written.
    pub(crate) fn level(&self) -> tracing::Level {
        match self.log_level.as_str() {
            _ if self.debug => tracing::Level::DEBUG,
            "error" => tracing::Level::ERROR,
            "info" => tracing::Level::INFO,
            "debug" => tracing::Level::DEBUG,
            _ => tracing::Level::WARN,
        }
    }
}
