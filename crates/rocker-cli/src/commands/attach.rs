//! `rocker attach`.

use rocker_engine::Attached;
use rocker_types::ContainerQuery;

use super::conversation::{self, Conversation, Opened};
use super::{Context, Outcome};
use crate::cli::values;
use crate::terminal::{DetachKeys, Streams};

/// Connect to a running container's input and output
///
/// The exit code is the container's; leaving it with the detach keys exits with 0.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:\n  rocker attach shell\n  rocker attach --no-stdin web")]
pub(crate) struct AttachArgs {
    /// Do not connect to the container's input
    #[arg(long)]
    no_stdin: bool,

    /// Keys that leave the container running: a letter or ctrl-X, with commas; "" for none
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,

    /// Pass signals sent to rocker on to the program
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = values::truth)]
    sig_proxy: Option<bool>,

    /// The container, by name or ID
    #[arg(value_name = "CONTAINER")]
    container: String,
}

pub(crate) fn attach(context: &mut Context, args: AttachArgs) -> Outcome {
    let query = ContainerQuery::new(&args.container);
    let conversation = Conversation {
        streams: Streams {
            stdin: !args.no_stdin,
            ..Streams::OUTPUT
        },
        detach_keys: Some(args.detach_keys),
        sig_proxy: args.sig_proxy.unwrap_or(true),
    };
    conversation.hold(|| {
        let engine = context.engine()?;
        let Attached { session, tty, .. } = engine.attach(&query, !args.no_stdin)?;
        engine.take_out_trash_aside();
        conversation::check_terminal(tty, !args.no_stdin)?;
        Ok(Opened {
            name: args.container.clone(),
            program: Box::new(session),
            tty,
        })
    })
}
