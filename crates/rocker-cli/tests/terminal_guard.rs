//! The process that puts a terminal right after kill -9, against a real pseudoterminal.
#![expect(clippy::expect_used, reason = "helpers of an integration test")]

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

struct Terminal {
    _master: OwnedFd,
    slave: OwnedFd,
}

impl Terminal {
    fn new() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).expect("a pseudoterminal");
        rustix::pty::unlockpt(&master).expect("unlocked");
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).expect("its other side");
        Self {
            _master: master,
            slave,
        }
    }

    fn make_raw(&self) {
        let mut modes = tcgetattr(&self.slave).expect("modes");
        modes.make_raw();
        tcsetattr(&self.slave, OptionalActions::Now, &modes).expect("raw");
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.slave).expect("modes");
        !modes
            .local_modes
            .intersects(LocalModes::ECHO | LocalModes::ICANON)
    }
}

/// A guard that has read the modes of `terminal`.
fn guard(terminal: &Terminal) -> (Child, UnixStream) {
    let (mut ours, theirs) = UnixStream::pair().expect("a channel");
    let process = Command::new(env!("CARGO_BIN_EXE_rocker"))
        .arg("__terminal-guard")
        .stdin(OwnedFd::from(theirs))
        .stdout(terminal.slave.try_clone().expect("a copy"))
        .stderr(Stdio::null())
        .spawn()
        .expect("a guard");
    ours.read_exact(&mut [0]).expect("it is ready");
    (process, ours)
}

#[test]
fn the_terminal_is_restored_when_the_ward_dies() {
    let terminal = Terminal::new();
    let (mut process, channel) = guard(&terminal);
    terminal.make_raw();

    drop(channel);

    assert!(process.wait().expect("its end").success());
    assert!(!terminal.is_raw());
}

#[test]
fn the_terminal_is_left_alone_when_all_is_well() {
    let terminal = Terminal::new();
    let (mut process, mut channel) = guard(&terminal);
    terminal.make_raw();

    channel.write_all(&[0]).expect("told");

    assert!(process.wait().expect("its end").success());
    assert!(
        terminal.is_raw(),
        "whoever said that all is well decides about the modes"
    );
}

#[test]
fn modes_that_a_shell_has_set_since_are_left_alone() {
    let terminal = Terminal::new();
    let (mut process, channel) = guard(&terminal);
    let mut modes = tcgetattr(&terminal.slave).expect("modes");
    // What line editors do: no echo of the kernel's, but signals from keys.
    modes.local_modes -= LocalModes::ECHO | LocalModes::ICANON;
    tcsetattr(&terminal.slave, OptionalActions::Now, &modes).expect("a line editor's");

    drop(channel);

    assert!(process.wait().expect("its end").success());
    assert!(
        terminal.is_raw(),
        "no echo, no lines: as the line editor wants it"
    );
}

#[test]
fn a_guard_of_something_else_than_a_terminal_ends_at_once() {
    let status = Command::new(env!("CARGO_BIN_EXE_rocker"))
        .arg("__terminal-guard")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .expect("a guard");

    assert!(!status.success());
}
