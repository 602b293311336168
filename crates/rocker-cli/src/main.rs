//! The `rocker` command: parses words, prints words, chooses exit codes.
//!
//! No syscalls beside those of the terminal, no SQL, no decisions: those are the engine's.
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod exit_code;
mod logging;
mod output_file;
mod report;
mod settings_file;
mod template;
mod terminal;
mod ui;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use cli::Parsed;
use commands::{CommandError, Context};
use exit_code::Status;

/// musl's own allocator maps and unmaps each small group of pages: a third of the system calls of a
/// short command. This one takes memory from the kernel in 64 KiB steps.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    if let Some(code) = rocker_engine::main_init() {
        return code;
    }
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    // The hidden faces first: a monitor must not pay for the command line.
    match words.first().and_then(|word| word.to_str()) {
        Some(rocker_engine::MONITOR_WORD) => return monitor(&words[1..]),
        Some(terminal::guard::COMMAND) => return terminal::guard::main(),
        _ => {}
    }
    if std::env::var_os(commands::completion::VARIABLE).is_some() {
        return commands::completion::answer(&words);
    }
    ExitCode::from(command(&words))
}

fn monitor(words: &[OsString]) -> ExitCode {
    logging::start_from_environment();
    let words: Option<Vec<String>> = words
        .iter()
        .map(|w| w.to_str().map(str::to_owned))
        .collect();
    match words {
        Some(words) => rocker_engine::monitor_main(&words),
        None => ExitCode::FAILURE,
    }
}

fn command(words: &[OsString]) -> u8 {
    let (globals, entry, matches) = match cli::parse(words) {
        Ok(Parsed::Command {
            globals,
            entry,
            matches,
        }) => (globals, entry, matches),
        Ok(Parsed::Help(text)) => return printed(&text),
        Ok(Parsed::Version) => return printed(&commands::version::line()),
        Err(usage) => {
            let code = exit_code::of_usage(&usage);
            report::error(&CommandError::Usage(usage));
            return code;
        }
    };
    logging::start(globals.level());
    let mut context = Context::new(globals.layout());
    let outcome = (entry.run)(&mut context, &matches);
    let code = match outcome {
        Ok(status) => status.code(),
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Status::OutputClosed.code()
        }
        Err(error) => {
            report::error(&error);
            exit_code::of_error(entry, &error)
        }
    };
    context.finish();
    code
}

fn printed(text: &str) -> u8 {
    match commands::print(text) {
        Ok(()) => Status::Success.code(),
        Err(_) => Status::OutputClosed.code(),
    }
}
