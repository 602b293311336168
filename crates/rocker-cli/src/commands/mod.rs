//! One file per command: a struct whose doc comments are the help, and one function.
//!
//! A function asks the engine and prints the answer. It never decides an exit code (that is
//! [`exit_code`](crate::exit_code)) and prints no errors but those of one of several arguments.

pub(crate) mod attach;
mod auth_files;
pub(crate) mod commit;
pub(crate) mod completion;
mod config;
mod config_keys;
mod confirm;
pub(crate) mod container_args;
mod context;
mod conversation;
pub(crate) mod crash_points;
pub(crate) mod create;
mod describe;
pub(crate) mod diff;
mod error;
pub(crate) mod exec;
pub(crate) mod export;
mod fetch;
pub(crate) mod generate;
pub(crate) mod history;
pub(crate) mod image_exists;
mod image_filter;
pub(crate) mod image_mount;
pub(crate) mod image_prune;
pub(crate) mod image_source;
pub(crate) mod image_tree;
pub(crate) mod images;
pub(crate) mod import;
pub(crate) mod info;
pub(crate) mod inspect;
pub(crate) mod kill;
pub(crate) mod load;
pub(crate) mod login;
pub(crate) mod logs;
mod man_config;
mod man_sections;
mod platform;
mod policy;
pub(crate) mod ps;
pub(crate) mod pull;
pub(crate) mod push;
mod registries_conf;
mod registry;
pub(crate) mod remote;
pub(crate) mod restart;
pub(crate) mod rm;
pub(crate) mod rmi;
pub(crate) mod run;
pub(crate) mod save;
pub(crate) mod search;
mod short_names;
pub(crate) mod start;
pub(crate) mod stop;
pub(crate) mod system;
pub(crate) mod system_df;
pub(crate) mod tag;
mod transfer_args;
mod transport;
pub(crate) mod version;
pub(crate) mod volume;
pub(crate) mod wait;

use confirm::confirm;
pub(crate) use context::{Context, print};
pub(crate) use describe::{labels_text, ports_text};
pub(crate) use error::CommandError;

use crate::exit_code::Status;

/// How a command ends.
pub(crate) type Outcome = Result<Status, CommandError>;
