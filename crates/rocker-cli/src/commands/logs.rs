//! `rocker logs`.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rocker_engine::EngineError;
use rocker_engine::logs::{Follow, LogReadError, LogReader, ReadOptions, Tail};
use rocker_types::ContainerQuery;

use super::{CommandError, Context, Outcome};
use crate::cli::values;
use crate::exit_code::Status;

/// Print what a container has written
///
/// Its standard output goes to standard output, its standard error to standard error.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:\n  rocker logs --tail 20 web\n  rocker logs -ft web")]
pub(crate) struct LogsArgs {
    /// Wait for more until the container ends
    #[arg(short, long)]
    follow: bool,

    /// How many lines from the end, or all
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all", value_parser = values::tail)]
    tail: Tail,

    /// Put the time before every line
    #[arg(short, long)]
    timestamps: bool,

    /// The container, by name or ID
    #[arg(value_name = "CONTAINER")]
    container: String,
}

pub(crate) fn logs(context: &mut Context, args: LogsArgs) -> Outcome {
    let engine = context.engine()?;
    let log = engine.log(&ContainerQuery::new(&args.container))?;
    if args.follow {
        engine.take_out_trash_aside();
    }
    let follow = match log.writer {
        Some(writer) if args.follow => Follow::WhileAlive(writer),
        Some(_) | None => Follow::No,
    };
    let options = ReadOptions {
        tail: args.tail,
        follow,
        timestamps: args.timestamps,
        ..ReadOptions::default()
    };
    let copied = LogReader::open(log.files, options).and_then(|mut reader| {
        let output = |source| LogReadError::Output { source };
        // Past the standard library's buffers: the reader has its own.
        let mut stdout = unbuffered(io::stdout()).map_err(output)?;
        let mut stderr = unbuffered(io::stderr()).map_err(output)?;
        reader.copy_to(&mut stdout, &mut stderr)
    });
    match copied {
        Ok(()) => Ok(Status::Success),
        Err(LogReadError::Output { source }) => Err(CommandError::Output(source)),
        // It was never started.
        Err(LogReadError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(Status::Success)
        }
        Err(source) => Err(CommandError::Engine(EngineError::Log {
            container: args.container,
            source,
        })),
    }
}

fn unbuffered(stream: impl AsFd) -> io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}
