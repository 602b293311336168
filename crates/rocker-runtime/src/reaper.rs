//! `--init`: rocker's own pid 1, which starts the program, forwards signals to it and reaps
//! orphans.
//!
//! It runs as the container's user and under the container's filter, like the program: the
//! host's side executes rocker's protected binary as the last step of a start (a read-only
//! clone of the file, see [`crate::executable`], so that finding it as `/proc/1/exe` helps
//! nobody), and [`main_init`] recognises that by the name it was given.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use rocker_sys::clone::clone_plain;
use rocker_sys::execute::StringVector;
use rocker_sys::signal;
use rustix::process::{Pid, WaitOptions, WaitStatus};

use crate::init::Program;
use crate::process::{At, InitEnd, InitFailure, InitStep};

/// What the reaper is called, also in the container's process list.
const NAME: &str = "rocker-init";

/// Kernel numbers of what is not passed on.
const SIGCHLD: i32 = 17;
const SIGTTIN: i32 = 21;
const SIGTTOU: i32 = 22;

/// Becomes the container's pid 1 if this process was executed as that; otherwise returns
/// `None` at once. The first line of `main`.
#[must_use]
pub fn main_init() -> Option<ExitCode> {
    let mut args = std::env::args_os();
    if args.next()? != NAME {
        return None;
    }
    let channel = args.next().and_then(|fd| fd.to_str()?.parse::<i32>().ok());
    let Some(channel) = channel.and_then(InitEnd::inherited) else {
        return Some(ExitCode::from(125));
    };
    let strings = |text: std::ffi::OsString| CString::new(text.into_vec()).ok();
    let argv: Vec<CString> = args.skip(1).filter_map(strings).collect();
    let env = std::env::vars_os().filter_map(|(name, value)| {
        let mut entry = name.into_vec();
        entry.push(b'=');
        entry.extend(value.into_vec());
        CString::new(entry).ok()
    });
    let path = std::env::var("PATH").ok();
    let program = Program::new(argv, path.as_deref());
    Some(run(&program, &StringVector::new(env.collect()), channel).into())
}

/// The command line that [`main_init`] understands.
pub(crate) fn arguments(channel: BorrowedFd<'_>, argv: &[CString]) -> StringVector {
    let own = [
        NAME.to_owned(),
        channel.as_raw_fd().to_string(),
        "--".into(),
    ];
    let own = own.into_iter().filter_map(|text| CString::new(text).ok());
    StringVector::new(own.chain(argv.iter().cloned()).collect())
}

/// Starts the program, stays until it ends, and returns its exit code as a shell would.
///
/// `channel` is close-on-exec: when both processes have let go of it, the program runs.
pub(crate) fn run(program: &Program, env: &StringVector, channel: InitEnd) -> u8 {
    let started = signal::block_all()
        .at(InitStep::Signals, "")
        .and_then(|()| {
            clone_plain(|_| {
                channel.failed(&become_program(program, env));
                125
            })
            .at(InitStep::Fork, "")
        });
    match started {
        Ok(child) => {
            // Nothing but the streams stays open for as long as the container lives.
            drop(channel);
            drop(child.pidfd);
            watch(child.pid)
        }
        Err(failure) => {
            channel.failed(&failure);
            125
        }
    }
}

/// In a process group of its own, in the foreground of the terminal if there is one: Ctrl-C
/// then reaches the program once, and not a second time through the reaper.
fn become_program(program: &Program, env: &StringVector) -> InitFailure {
    let _ = rustix::process::setpgid(None, None);
    let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid());
    match signal::reset_all().at(InitStep::Signals, "") {
        Ok(()) => program.execute(env),
        Err(failure) => failure,
    }
}

fn watch(program: i32) -> u8 {
    loop {
        match signal::wait_any() {
            Ok(SIGCHLD) => {
                if let Some(code) = reap(program) {
                    return code;
                }
            }
            Ok(SIGTTIN | SIGTTOU) | Err(_) => {}
            Ok(other) => {
                // It may be dead already; its SIGCHLD is on the way then.
                let _ = signal::kill(program, other);
            }
        }
    }
}

/// Collects every dead child; the program's code if it is among them.
fn reap(program: i32) -> Option<u8> {
    let mut code = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if Pid::as_raw(Some(pid)) == program {
            code = Some(shell_code(status));
        }
    }
    code
}

fn shell_code(status: WaitStatus) -> u8 {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 125,
    };
    u8::try_from(code).unwrap_or(125)
}
