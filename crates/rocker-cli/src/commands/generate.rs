//! `rocker __generate`: the man pages and completions that are committed with the source.

use std::path::{Path, PathBuf};

use clap::Command;

use super::{CommandError, Context, Outcome, completion, man_config, man_sections};
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
    push_pages(&root, &[], &mut pages)?;
    pages.push(man_config::page());
    Ok(pages)
}

/// What a page of a command with a version ends with.
const VERSION: &[u8] = b".SH VERSION";

/// One page per command, groups included, depth first. `path` is what is typed after `rocker`.
fn push_pages(
    command: &Command,
    path: &[&str],
    pages: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), CommandError> {
    let name = [&["rocker"], path].concat().join("-");
    let examples = command.get_after_long_help().map(ToString::to_string);
    let command = command.clone().display_name(name.clone());
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone().after_long_help(None))
        .title(name.to_uppercase())
        .manual("rocker")
        .source(format!("rocker {}", env!("CARGO_PKG_VERSION")))
        .render(&mut text)
        .map_err(|source| CommandError::Generate {
            what: name.clone(),
            source,
        })?;
    let version = text.windows(VERSION.len()).position(|at| at == VERSION);
    let end = version.unwrap_or(text.len());
    let sections = man_sections::of(path, examples.as_deref());
    text.splice(end..end, sections.into_bytes());
    pages.push((format!("{name}.1"), text));
    for inner in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        push_pages(inner, &[path, &[inner.get_name()]].concat(), pages)?;
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
