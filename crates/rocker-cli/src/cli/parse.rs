//! From words to a command and its flags.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::table::{COMMANDS, Entry, Failures, GROUPS};
use super::{Globals, UsageError, values};

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// Run this command.
    Command {
        globals: Globals,
        entry: &'static Entry,
        matches: ArgMatches,
    },
    /// Print this text.
    Help(String),
    /// Print the version.
    Version,
}

/// Which commands get their flags when a tree is built.
#[derive(Clone, Copy)]
enum Scope<'a> {
    All,
    /// Those whose name is among the words.
    Typed(&'a [OsString]),
}

/// What a tree is for; the way flags without a value are described depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// `--rm`, `--rm=false`, `--rm --rm`: all are understood.
    Parsing,
    /// Help, man pages and completions show `--rm`.
    Showing,
}

/// Help fits an ordinary terminal, in characters.
const HELP_WIDTH: usize = 80;

/// Understands the words after the program's name.
///
/// # Errors
///
/// [`UsageError`], which knows the nearest thing that can be typed.
pub(crate) fn parse(words: &[OsString]) -> Result<Parsed, UsageError> {
    if let Some((word, command)) = words.split_first()
        && word == "help"
    {
        return help_about(command);
    }
    let typed = std::iter::once(OsString::from("rocker")).chain(words.iter().cloned());
    let error = match tree(Scope::Typed(words), Purpose::Parsing).try_get_matches_from(typed) {
        Ok(matches) => return understood(&matches),
        Err(error) => error,
    };
    let kind = error.kind();
    let says_nothing =
        kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand && path_of(words).is_empty();
    if kind == ErrorKind::DisplayVersion {
        return Ok(Parsed::Version);
    }
    if kind == ErrorKind::DisplayHelp || says_nothing {
        return Ok(Parsed::Help(help_of(&path_of(words))));
    }
    Err(explain(words))
}

/// The complete tree as help, man pages and completions show it.
pub(crate) fn documentation() -> Command {
    tree(Scope::All, Purpose::Showing)
}

/// How the failures of a command show; `None` when there is no such command.
pub(crate) fn failures_of(path: &[&str]) -> Option<Failures> {
    let entry = COMMANDS.iter().find(|entry| entry.paths.contains(&path))?;
    Some(entry.failures)
}

fn understood(matches: &ArgMatches) -> Result<Parsed, UsageError> {
    let failed = |error: clap::Error| UsageError::from_clap(&error, "rocker --help");
    let globals = Globals::from_arg_matches(matches).map_err(failed)?;
    let (mut path, mut matches) = (Vec::new(), matches);
    while let Some((name, inner)) = matches.subcommand() {
        path.push(name);
        matches = inner;
    }
    let entry = COMMANDS
        .iter()
        .find(|entry| entry.paths.contains(&path.as_slice()));
    match entry {
        Some(entry) => Ok(Parsed::Command {
            globals,
            entry,
            matches: matches.clone(),
        }),
        None => Ok(Parsed::Help(help_of(&path))),
    }
}

/// `rocker help [COMMAND]`.
fn help_about(command: &[OsString]) -> Result<Parsed, UsageError> {
    let path = path_of(command);
    match command.get(path.len()) {
        None => Ok(Parsed::Help(help_of(&path))),
        Some(unknown) => Err(UsageError {
            message: format!("unknown command {:?}", unknown.to_string_lossy()),
            hint: Some("see `rocker --help`".to_owned()),
            fault: super::Fault::Words,
        }),
    }
}

/// Parses again with every command in the tree, whose names the answer may need.
fn explain(words: &[OsString]) -> UsageError {
    let path = path_of(words);
    let help = ["rocker"].into_iter().chain(path).chain(["--help"]);
    let help = help.collect::<Vec<_>>().join(" ");
    let typed = std::iter::once(OsString::from("rocker")).chain(words.iter().cloned());
    match tree(Scope::All, Purpose::Parsing).try_get_matches_from(typed) {
        Err(error) => UsageError::from_clap(&error, &help),
        Ok(_) => UsageError {
            message: "the command line is ambiguous".to_owned(),
            hint: Some(format!("see `{help}`")),
            fault: super::Fault::Words,
        },
    }
}

fn help_of(path: &[&str]) -> String {
    let mut root = documentation();
    root.build();
    let mut command = &root;
    for name in path {
        let Some(inner) = command.find_subcommand(name) else {
            break;
        };
        command = inner;
    }
    compact(command.clone()).render_help().to_string()
}

/// One line for each flag, yet the whole description and the examples.
fn compact(command: Command) -> Command {
    let about = command.get_long_about().or(command.get_about()).cloned();
    let examples = command.get_after_long_help().cloned();
    command
        .about(about.unwrap_or_default())
        .after_help(examples.unwrap_or_default())
        .max_term_width(HELP_WIDTH)
}

/// The command that the words name, as far as they do.
fn path_of(words: &[OsString]) -> Vec<&'static str> {
    let mut path = Vec::new();
    for word in words.iter().filter_map(|w| w.to_str()) {
        let next = COMMANDS.iter().flat_map(|entry| entry.paths).find_map(|p| {
            let name = p.get(path.len())?;
            (p.starts_with(&path) && *name == word).then_some(*name)
        });
        path.extend(next);
    }
    path
}

fn tree(scope: Scope<'_>, purpose: Purpose) -> Command {
    let mut root = root(purpose);
    for (name, about) in GROUPS {
        let mut group = Command::new(*name)
            .about(*about)
            .subcommand_required(true)
            .arg_required_else_help(true)
            .disable_help_subcommand(true);
        for entry in COMMANDS {
            let mut paths = entry.paths.iter().filter(|p| p.len() == 2 && p[0] == *name);
            // The first name in a group is the one that is shown; parsing takes each as a
            // command of its own, so that the matches tell which entry was meant.
            if let Some(path) = paths.next() {
                group = group.subcommand(leaf(entry, path[1], scope, purpose));
            }
            if purpose == Purpose::Parsing {
                for path in paths {
                    group = group.subcommand(leaf(entry, path[1], scope, purpose));
                }
            }
        }
        root = root.subcommand(group);
    }
    for entry in COMMANDS {
        for path in entry.paths.iter().filter(|p| p.len() == 1) {
            root = root.subcommand(leaf(entry, path[0], scope, purpose));
        }
    }
    root
}

fn root(purpose: Purpose) -> Command {
    let root = Globals::augment_args(Command::new("rocker"))
        .about("Run containers without a daemon")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .arg(
            Arg::new("version")
                .short('v')
                .long("version")
                .help("Print the version")
                .action(ArgAction::Version),
        )
        .subcommand_required(true)
        .arg_required_else_help(true);
    adapt(root, purpose)
}

/// One command; without its flags when it was not typed.
fn leaf(entry: &Entry, name: &'static str, scope: Scope<'_>, purpose: Purpose) -> Command {
    let command = Command::new(name).hide(!entry.visible);
    let wanted = match scope {
        Scope::All => true,
        Scope::Typed(words) => words.iter().any(|word| word == name),
    };
    if !wanted {
        return command;
    }
    let mut command = (entry.flags)(command);
    if entry.own_h {
        command = command.disable_help_flag(true).arg(
            Arg::new("help")
                .long("help")
                .help("Print help")
                .action(ArgAction::Help),
        );
    }
    adapt(command, purpose)
}

/// Derived flags without a value are understood as docker understands them, or shown plainly.
fn adapt(command: Command, purpose: Purpose) -> Command {
    let command = command.args_override_self(true);
    match purpose {
        Purpose::Parsing => command.mut_args(understand_as_docker),
        Purpose::Showing => command.mut_args(|arg| match arg.is_require_equals_set() {
            true => arg
                .action(ArgAction::SetTrue)
                .num_args(0)
                .require_equals(false),
            false => arg,
        }),
    }
}

fn understand_as_docker(arg: Arg) -> Arg {
    let takes_no_value = matches!(arg.get_action(), ArgAction::SetTrue);
    let takes_a_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    if takes_no_value {
        optional_truth(arg).default_value("false")
    } else if arg.is_require_equals_set() {
        optional_truth(arg)
    } else if takes_a_value && !arg.is_positional() {
        // `--name --rm` names the container "--rm", which then is refused as a name.
        arg.allow_hyphen_values(true)
    } else {
        arg
    }
}

fn optional_truth(arg: Arg) -> Arg {
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_parser(values::truth)
}
