//! `rocker __generate`: the man pages and completions that are committed with the source.

use std::path::{Path, PathBuf};

use clap::Command;

use super::{CommandError, Context, Outcome, completion};
use crate::cli;
use crate::exit_code::Status;

/// Write man pages and completions into directories
#[derive(clap::Args, Debug)]
pub(crate) struct GenerateArgs {
    /// Where the man pages go
    #[arg(value_name = "MAN")]
    man: PathBuf,

    /// Where the completion scripts go
    #[arg(value_name = "COMPLETIONS")]
    completions: PathBuf,
}

/// What can be generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Man,
    Completions,
}

pub(crate) fn generate(_: &mut Context, args: GenerateArgs) -> Outcome {
    for (kind, directory) in [(Kind::Man, args.man), (Kind::Completions, args.completions)] {
        fs_err::create_dir_all(&directory).map_err(failed(&directory))?;
        for (name, text) in files(kind)? {
            let path = directory.join(name);
            fs_err::write(&path, text).map_err(failed(&path))?;
        }
    }
    Ok(Status::Success)
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> CommandError {
    let what = path.display().to_string();
    move |source| CommandError::Generate { what, source }
}

/// Every file with its name.
pub(crate) fn files(kind: Kind) -> Result<Vec<(String, Vec<u8>)>, CommandError> {
    match kind {
        Kind::Man => man_pages(),
        Kind::Completions => completion::SHELLS
            .iter()
            .map(|shell| Ok((shell.file.to_owned(), completion::script(shell.name)?)))
            .collect(),
    }
}

fn man_pages() -> Result<Vec<(String, Vec<u8>)>, CommandError> {
    let mut root = cli::documentation();
    root.build();
    let mut pages = Vec::new();
    push_pages(&root, "rocker", &mut pages)?;
    Ok(pages)
}

/// One page per command, groups included, depth first.
fn push_pages(
    command: &Command,
    name: &str,
    pages: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), CommandError> {
    let mut text = Vec::new();
    let rendered = clap_mangen::Man::new(command.clone().display_name(name.to_owned()))
        .title(name.to_uppercase())
        .manual("rocker")
        .source(format!("rocker {}", env!("CARGO_PKG_VERSION")))
        .render(&mut text);
    rendered.map_err(|source| CommandError::Generate {
        what: name.to_owned(),
        source,
    })?;
    pages.push((format!("{name}.1"), text));
    for inner in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        push_pages(inner, &format!("{name}-{}", inner.get_name()), pages)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `make generate` writes them.
    #[test]
    fn committed_man_pages_and_completions_are_those_of_this_source() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for (kind, directory) in [(Kind::Man, "man"), (Kind::Completions, "completions")] {
            let expected = files(kind).expect("generate");
            for (name, text) in &expected {
                let committed = fs_err::read(root.join(directory).join(name)).unwrap_or_default();
                assert!(
                    committed == *text,
                    "{directory}/{name} is stale: run `make generate`"
                );
            }
            let there = fs_err::read_dir(root.join(directory))
                .expect("list")
                .count();
            assert_eq!(there, expected.len(), "{directory} holds a file too many");
        }
    }

    #[test]
    fn every_command_and_flag_is_explained() {
        fn check(command: &Command, path: &str) {
            assert!(command.get_about().is_some(), "{path} has no help");
            for argument in command.get_arguments().filter(|a| a.get_id() != "help") {
                let id = argument.get_id();
                assert!(argument.get_help().is_some(), "{path}: {id} has no help");
            }
            for inner in command.get_subcommands() {
                check(inner, &format!("{path} {}", inner.get_name()));
            }
        }
        let mut root = cli::documentation();
        root.build();
        check(&root, "rocker");
    }
}
