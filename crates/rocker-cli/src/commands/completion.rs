//! `rocker completion`, and the answers to the shells that use it.
//!
//! The scripts ask this binary for every completion, so that names of containers, images and
//! volumes are those of the moment. Failures are silent: a shell is no place for them.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Arg, Command};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::Shells;
use rocker_engine::Engine;
use rocker_types::{CapabilitySet, ImageRef, Layout};

use super::auth_files::AuthFiles;
use super::{CommandError, Context, Outcome, print};
use crate::cli;
use crate::exit_code::Status;

/// The variable by which a script tells us that a shell is asking.
pub(crate) const VARIABLE: &str = "_ROCKER_COMPLETE";

/// A shell that we have a script for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shell {
    pub(crate) name: &'static str,
    /// What the script is called where the shell looks for it.
    pub(crate) file: &'static str,
}

pub(crate) const SHELLS: [Shell; 5] = [
    Shell {
        name: "bash",
        file: "rocker.bash",
    },
    Shell {
        name: "elvish",
        file: "rocker.elv",
    },
    Shell {
        name: "fish",
        file: "rocker.fish",
    },
    Shell {
        name: "powershell",
        file: "_rocker.ps1",
    },
    Shell {
        name: "zsh",
        file: "_rocker",
    },
];

/// Print the completion script of a shell
///
/// For bash: source <(rocker completion bash).
#[derive(clap::Args, Debug)]
#[command(
    after_long_help = "Examples:\n  rocker completion bash >/etc/bash_completion.d/rocker\n  rocker completion fish | source"
)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_name = "SHELL", value_parser = SHELLS.map(|shell| shell.name))]
    shell: String,
}

pub(crate) fn completion(_: &mut Context, args: CompletionArgs) -> Outcome {
    let script = script(&args.shell)?;
    print(&String::from_utf8_lossy(&script))?;
    Ok(Status::Success)
}

/// The script of one shell.
pub(crate) fn script(shell: &str) -> Result<Vec<u8>, CommandError> {
    let shells = Shells::builtins();
    let mut script = Vec::new();
    let written = match shells.completer(shell) {
        Some(shell) => {
            shell.write_registration(VARIABLE, "rocker", "rocker", "rocker", &mut script)
        }
        None => Err(std::io::ErrorKind::Unsupported.into()),
    };
    written.map_err(|source| CommandError::Generate {
        what: format!("a completion script for {shell}"),
        source,
    })?;
    Ok(script)
}

/// Answers a shell; the words are what it passed on.
pub(crate) fn answer(words: &[OsString]) -> ExitCode {
    let words = std::iter::once(OsString::from("rocker")).chain(words.iter().cloned());
    let directory = std::env::current_dir().ok();
    let answered = CompleteEnv::with_factory(|| with_candidates(cli::documentation()))
        .var(VARIABLE)
        .bin("rocker")
        .completer("rocker")
        .try_complete(words, directory.as_deref());
    match answered {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Arguments get their candidates by what the help calls their values.
fn with_candidates(command: Command) -> Command {
    command
        .mut_args(add_candidates)
        .mut_subcommands(with_candidates)
}

fn add_candidates(argument: Arg) -> Arg {
    let Some(value) = argument.get_value_names().and_then(|names| names.first()) else {
        return argument;
    };
    match value.as_str() {
        "CONTAINER" => argument.add(ArgValueCandidates::new(containers)),
        "NAME|ID" => argument.add(ArgValueCandidates::new(everything)),
        "IMAGE" | "BASE" | "IMAGE [COMMAND] [ARG]" | "REPOSITORY[:TAG]" => {
            argument.add(ArgValueCandidates::new(images))
        }
        "VOLUME" if argument.is_positional() => argument.add(ArgValueCandidates::new(volumes)),
        "SERVER" => argument.add(ArgValueCandidates::new(|| {
            plain(AuthFiles::usual().servers().into_iter())
        })),
        "CAPABILITY" => argument.add(ArgValueCandidates::new(capabilities)),
        "SIGNAL" => argument.add(candidates_of(&[
            "HUP", "INT", "KILL", "QUIT", "TERM", "USR1", "USR2",
        ])),
        "POLICY" => argument.add(candidates_of(&["no", "on-failure", "always"])),
        _ => argument,
    }
}

fn candidates_of(words: &'static [&'static str]) -> ArgValueCandidates {
    ArgValueCandidates::new(move || plain(words.iter().map(|word| (*word).to_owned())))
}

fn plain(words: impl Iterator<Item = String>) -> Vec<CompletionCandidate> {
    words.map(CompletionCandidate::new).collect()
}

/// The installation of the environment; `None` before its first use.
fn engine() -> Option<Engine> {
    let directory =
        |name, default: &str| std::env::var_os(name).unwrap_or_else(|| OsString::from(default));
    let layout = Layout::new(
        directory("ROCKER_ROOT", Layout::DEFAULT_ROOT),
        directory("ROCKER_RUNROOT", Layout::DEFAULT_RUNROOT),
    );
    if !layout.live_db().exists() {
        return None;
    }
    // A key press is no time to wait for others or to put things right.
    Engine::open_as_is(&layout).ok()
}

fn containers() -> Vec<CompletionCandidate> {
    let containers = engine().and_then(|engine| engine.containers_as_recorded().ok());
    let candidate = |container: rocker_engine::ContainerSummary| {
        let help = format!("{} ({})", container.definition.image, container.status);
        CompletionCandidate::new(container.name.as_str()).help(Some(help.into()))
    };
    containers
        .unwrap_or_default()
        .into_iter()
        .map(candidate)
        .collect()
}

fn images() -> Vec<CompletionCandidate> {
    let images = engine().and_then(|mut engine| engine.images().ok());
    let images = images.unwrap_or_default();
    plain(
        images
            .iter()
            .flat_map(|image| &image.tags)
            .map(ImageRef::familiar),
    )
}

fn volumes() -> Vec<CompletionCandidate> {
    let volumes = engine().and_then(|mut engine| engine.volumes().ok());
    plain(
        volumes
            .unwrap_or_default()
            .iter()
            .map(|volume| volume.name.to_string()),
    )
}

fn everything() -> Vec<CompletionCandidate> {
    [containers(), images(), volumes()]
        .into_iter()
        .flatten()
        .collect()
}

fn capabilities() -> Vec<CompletionCandidate> {
    let all = CapabilitySet::ALL;
    plain(
        all.iter()
            .map(|c| c.name().to_owned())
            .chain(["ALL".to_owned()]),
    )
}
