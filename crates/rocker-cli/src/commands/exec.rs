//! `rocker exec`.

use rocker_engine::ExecRequest;
use rocker_types::{ContainerQuery, UserSpec};

use super::conversation::{self, Conversation, Opened};
use super::{CommandError, Context, Outcome};
use crate::cli::values::{self, EnvVar};
use crate::exit_code::Status;
use crate::terminal::{Child, Streams};

/// Run a command in a running container
///
/// The exit code is that of the command; 126 when it cannot be run, 127 when it does not exist.
#[derive(clap::Args, Debug)]
#[command(
    override_usage = "rocker exec [OPTIONS] CONTAINER COMMAND [ARG...]",
    after_long_help = "Examples:\n  rocker exec web cat /etc/hosts\n  rocker exec -it web sh"
)]
pub(crate) struct ExecArgs {
    /// Return once the command runs
    #[arg(short, long)]
    detach: bool,

    /// Keep standard input open
    #[arg(short, long)]
    interactive: bool,

    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,

    /// Set a variable, or copy the caller's when only its name is given
    #[arg(short, long, value_name = "KEY[=VALUE]", value_parser = values::env_var)]
    env: Vec<EnvVar>,

    /// Directory in which the command starts
    #[arg(short, long, value_name = "DIR", value_parser = values::working_directory)]
    workdir: Option<String>,

    /// Who runs the command: NAME|UID[:GROUP|GID]
    #[arg(short, long, value_name = "USER")]
    user: Option<UserSpec>,

    /// The container, and the command to run in it
    #[arg(required = true, num_args = 2.., value_names = ["CONTAINER", "COMMAND"], trailing_var_arg = true)]
    words: Vec<String>,
}

pub(crate) fn exec(context: &mut Context, args: ExecArgs) -> Outcome {
    let stdin = args.interactive && !args.detach;
    if args.detach && args.tty {
        return Err(CommandError::conflict(
            "--tty cannot be used with --detach",
            "a command that nobody is connected to has no terminal: leave -t out",
        ));
    }
    if !args.detach {
        conversation::check_terminal(args.tty, stdin)?;
    }
    let mut words = args.words.into_iter();
    let name = words.next().unwrap_or_default();
    let query = ContainerQuery::new(&name);
    let request = ExecRequest {
        argv: words.collect(),
        env: args.env.into_iter().filter_map(EnvVar::resolve).collect(),
        working_dir: args.workdir,
        user: args.user,
        tty: args.tty,
        interactive: stdin,
        detach: args.detach,
        privileged: false,
    };
    if args.detach {
        context.engine()?.exec(&query, &request)?;
        return Ok(Status::Success);
    }
    let conversation = Conversation {
        streams: Streams {
            stdin,
            ..Streams::OUTPUT
        },
        // The command ends with rocker, so there is no leaving it.
        detach_keys: None,
        sig_proxy: true,
    };
    conversation.hold(|| {
        let engine = context.engine()?;
        let session = engine.exec(&query, &request)?;
        engine.take_out_trash_aside();
        let child = Child::new(session).map_err(CommandError::Terminal)?;
        Ok(Opened {
            name,
            program: Box::new(child),
            tty: request.tty,
        })
    })
}
