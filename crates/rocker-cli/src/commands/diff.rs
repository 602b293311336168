//! `rocker diff`.

use std::io::{IsTerminal as _, Write as _};

use rocker_engine::{Change, ChangeKind};
use rocker_types::{ContainerQuery, is_plain};

use super::{CommandError, Context, Outcome};
use crate::exit_code::Status;

/// List what a container has changed in its file system
///
/// One line for each file: A was added, C was changed, D was deleted. What is mounted in the
/// container, such as a volume, does not count. At a terminal, what a name has that is not shown
/// where it stands is escaped.
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

/// One line for each. Names are bytes, and are printed as they are, but for what a terminal would
/// obey.
pub(super) fn print_changes(changes: &[Change]) -> Result<(), CommandError> {
    let mut out = std::io::stdout().lock();
    let is_seen = out.is_terminal();
    let line = |change: &Change| match is_seen {
        true => line(change.kind, visible(&change.path).as_bytes()),
        false => line(change.kind, &change.path),
    };
    let lines: Vec<u8> = changes.iter().flat_map(line).collect();
    let written = out.write_all(&lines).and_then(|()| out.flush());
    written.map_err(CommandError::Output)
}

fn line(kind: ChangeKind, path: &[u8]) -> Vec<u8> {
    let letter: &[u8] = match kind {
        ChangeKind::Added => b"A /",
        ChangeKind::Changed => b"C /",
        ChangeKind::Deleted => b"D /",
    };
    [letter, path, b"\n"].concat()
}

/// The name with escapes in place of what is not shown where it stands.
fn visible(name: &[u8]) -> String {
    let mut visible = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match is_plain(c) {
                true => visible.push(c),
                false => visible.extend(c.escape_default()),
            }
        }
        visible.push_str(&chunk.invalid().escape_ascii().to_string());
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_nothing_to_obey() {
        for (name, expected) in [
            (&b"etc/ho sts"[..], "etc/ho sts"),
            ("ä/😀".as_bytes(), "ä/😀"),
            (b"a\x1b[2J\nA /forged", "a\\u{1b}[2J\\nA /forged"),
            (b"\xff\xc3", "\\xff\\xc3"),
            ("\u{202e}txt".as_bytes(), "\\u{202e}txt"),
        ] {
            assert_eq!(visible(name), expected);
        }
    }
}
