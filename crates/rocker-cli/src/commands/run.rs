//! `rocker run`.

use rocker_engine::StartMode;

use super::container_args::ContainerArgs;
use super::conversation::{self, Conversation};
use super::{CommandError, Context, Outcome, image_source, print};
use crate::cli::values;
use crate::exit_code::Status;
use crate::terminal::{self, DetachKeys, Streams};

/// One of a container's streams.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
#[value(rename_all = "lower")]
pub(crate) enum StreamName {
    Stdin,
    Stdout,
    Stderr,
}

/// Run a command in a new container
///
/// Pulls the image if it is missing, makes a container and starts it. Without -d, -a, -i and -t, and
/// when standard input, output and error are all terminals, it acts as with -it.
///
/// The exit code is that of the command; 125 when rocker itself failed, 126 when the command
/// cannot be run, 127 when it does not exist, 128 + n when signal n ended it.
#[derive(clap::Args, Debug)]
#[command(
    override_usage = "rocker run [OPTIONS] IMAGE [COMMAND] [ARG...]",
    after_long_help = "Examples:\n  rocker run --rm debian cat /etc/os-release\n  rocker run -d --name web -p 8080:80 nginx"
)]
pub(crate) struct RunArgs {
    /// Return once the program runs, and print the container's ID
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = values::truth, help_heading = "Terminal")]
    detach: Option<bool>,

    /// Connect to this stream only; may be repeated
    #[arg(
        short,
        long,
        value_name = "STREAM",
        ignore_case = true,
        help_heading = "Terminal"
    )]
    attach: Vec<StreamName>,

    /// Keys that leave the container running: a letter or ctrl-X, with commas; "" for none
    #[arg(
        long,
        value_name = "KEYS",
        default_value = "ctrl-p,ctrl-q",
        help_heading = "Terminal"
    )]
    detach_keys: DetachKeys,

    /// Pass signals sent to rocker on to the program
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = values::truth, help_heading = "Terminal")]
    sig_proxy: Option<bool>,

    #[command(flatten)]
    container: ContainerArgs,
}

pub(crate) fn run(context: &mut Context, mut args: RunArgs) -> Outcome {
    let detach = args.detach.unwrap_or(false);
    if detach && !args.attach.is_empty() {
        return Err(CommandError::conflict(
            "--attach cannot be used with --detach",
            "leave one of them out",
        ));
    }
    if acts_as_interactive(&args) && terminal::all_streams_are_terminals() {
        (args.container.interactive, args.container.tty) = (Some(true), Some(true));
    }
    let (tty, stdin) = (args.container.tty(), args.container.interactive());
    if !detach {
        conversation::check_terminal(tty, stdin)?;
    }

    let (pull, progress) = (args.container.pull, args.container.progress);
    let streams = streams(&args.attach, stdin);
    let mut request = args.container.into_request()?;
    request.stdin_once = streams.stdin && !detach;
    request.attach_stdout = streams.stdout && !detach;
    request.attach_stderr = streams.stderr && !detach;
    request.image = image_source::ensure(context, &request.image, pull, progress)?;
    if detach {
        let started = context.engine()?.run(&request, StartMode::Detached)?;
        print(&format!("{}\n", started.id))?;
        return Ok(Status::Success);
    }
    let conversation = Conversation {
        streams,
        detach_keys: Some(args.detach_keys),
        sig_proxy: args.sig_proxy.unwrap_or(true),
    };
    conversation.hold(|| {
        let engine = context.engine()?;
        let started = engine.run(&request, StartMode::Attached)?;
        engine.take_out_trash_aside();
        conversation::opened(started)
    })
}

/// Whether nothing was said about the streams, so that the terminal decides.
fn acts_as_interactive(args: &RunArgs) -> bool {
    let silent = [args.detach, args.container.interactive, args.container.tty];
    silent.iter().all(Option::is_none) && args.attach.is_empty()
}

fn streams(attach: &[StreamName], stdin: bool) -> Streams {
    if attach.is_empty() {
        return Streams {
            stdin,
            ..Streams::OUTPUT
        };
    }
    Streams {
        stdin: stdin && attach.contains(&StreamName::Stdin),
        stdout: attach.contains(&StreamName::Stdout),
        stderr: attach.contains(&StreamName::Stderr),
    }
}
