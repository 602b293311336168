//! `rocker diff`.

use std::io::Write as _;

use rocker_engine::{Change, ChangeKind};
use rocker_types::ContainerQuery;

use super::{CommandError, Context, Outcome};
use crate::exit_code::Status;

/// List what a container has changed in its file system
///
/// One line for each file: A was added, C was changed, D was deleted. What is mounted in the
/// container, such as a volume, does not count.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "Examples:\n  rocker diff web\n  rocker diff web | grep ^A")]
pub(crate) struct DiffArgs {
    /// The container, by name or ID
    #[arg(value_name = "CONTAINER")]
    container: String,
}

pub(crate) fn diff(context: &mut Context, args: DiffArgs) -> Outcome {
    let query = ContainerQuery::new(&args.container);
    let changes = context.engine()?.changes(&query)?;
    print_changes(&changes)?;
    Ok(Status::Success)
}

/// One line for each.
pub(super) fn print_changes(changes: &[Change]) -> Result<(), CommandError> {
    // names are bytes, and are printed as they are
    let lines: Vec<u8> = changes.iter().flat_map(line).collect();
    let mut out = std::io::stdout().lock();
    let written = out.write_all(&lines).and_then(|()| out.flush());
    written.map_err(CommandError::Output)
}

fn line(change: &Change) -> Vec<u8> {
    let letter: &[u8] = match change.kind {
        ChangeKind::Added => b"A /",
        ChangeKind::Changed => b"C /",
        ChangeKind::Deleted => b"D /",
    };
    [letter, &change.path, b"\n"].concat()
}
