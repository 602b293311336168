//! `rocker start`.

use rocker_engine::StartMode;
use rocker_types::ContainerQuery;

use super::conversation::{self, Conversation};
use super::{CommandError, Context, Outcome};
use crate::cli::{Fault, UsageError};
use crate::terminal::{DetachKeys, Streams};

/// Start containers that are not running
///
/// Prints each name as it was given. Starting a container that runs succeeds.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:\n  rocker start web db\n  rocker start -ai shell")]
pub(crate) struct StartArgs {
    /// Stay connected to the container's output
    #[arg(short, long)]
    attach: bool,

    /// Stay connected to the container's input too
    #[arg(short, long)]
    interactive: bool,

    /// Keys that leave the container running: a letter or ctrl-X, with commas; "" for none
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: DetachKeys,

    /// Pass signals sent to rocker on to the program
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cli::values::truth)]
    sig_proxy: Option<bool>,

    /// Containers to start, by name or ID
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) fn start(context: &mut Context, args: StartArgs) -> Outcome {
    if !args.attach && !args.interactive {
        return context.for_each(&args.containers, |engine, name| {
            engine.start(&ContainerQuery::new(name), StartMode::Detached)?;
            Ok(())
        });
    }
    let [container] = args.containers.as_slice() else {
        return Err(CommandError::Usage(UsageError {
            message: "--attach and --interactive take one container only".to_owned(),
            hint: Some("start the others without them".to_owned()),
            fault: Fault::Words,
        }));
    };
    let query = ContainerQuery::new(container);
    let before = context.engine()?.inspect_container(&query)?;
    let tty = before["Config"]["Tty"] == true;
    conversation::check_terminal(tty, args.interactive)?;
    let conversation = Conversation {
        streams: Streams {
            stdin: args.interactive,
            ..Streams::OUTPUT
        },
        detach_keys: Some(args.detach_keys),
        sig_proxy: args.sig_proxy.unwrap_or(true),
    };
    conversation.hold(|| {
        let engine = context.engine()?;
        let started = engine.start(&query, StartMode::Attached)?;
        engine.take_out_trash_aside();
        conversation::opened(started)
    })
}
