use std::fs::File;
use std::io::Write as _;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::pty::{OpenptyResult, openpty};
use rustix::process::Signal;
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use super::patience;
use super::process::{RockerCommand, await_exit, exit_code, send};
use super::transcript::{Transcript, position};

/// The size that a terminal has at first.
const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

/// A program on a terminal of its own: it leads a session whose controlling terminal is a pty
/// that the test reads and types on.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    master: File,
    /// Kept open, so that the terminal's settings can be looked at after the program has ended.
    slave: OwnedFd,
    screen: Transcript,
    deadline: Instant,
}

impl Terminal {
    const TIME_LIMIT: Duration = Duration::from_secs(60);

    pub(super) fn start(command: &RockerCommand) -> Self {
        let OpenptyResult { master, slave } = openpty(None, None).expect("a pty");
        tcsetwinsize(&slave, window(ROWS, COLUMNS)).expect("a new pty takes a size");
        // util-linux's setsid makes the session and the controlling terminal and then becomes
        // the program, so the child is rocker itself.
        let mut session = Command::new("setsid");
        session
            .arg("--ctty")
            .args(command.program_and_args())
            .env("TERM", "xterm");
        for (name, value) in command.environment() {
            match value {
                Some(value) => session.env(name, value),
                None => session.env_remove(name),
            };
        }
        let stdio = || Stdio::from(slave.try_clone().expect("a copy of the terminal's fd"));
        let child = session
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .expect("setsid starts");
        let screen = Transcript::read_from(master.try_clone().expect("a copy of the master's fd"));
        let deadline = Instant::now() + Self::TIME_LIMIT * patience();
        Self {
            child,
            master: File::from(master),
            slave,
            screen,
            deadline,
        }
    }

    /// Types these characters; Enter is `\r`.
    pub fn type_in(&mut self, text: &str) {
        self.master
            .write_all(text.as_bytes())
            .expect("a pty takes input");
    }

    /// Waits until `text` appears on the screen, after everything awaited before.
    pub fn await_text(&self, text: &str) {
        assert!(
            self.screen.await_text(text, self.deadline),
            "no {text:?} on the screen: {:?}",
            self.screen.text()
        );
    }

    /// Everything written to the terminal so far, as it was written.
    pub fn screen(&self) -> String {
        self.screen.text()
    }

    /// The lines that somebody sees who looks at the terminal now, without blanks at their ends
    /// and without empty lines below the last.
    pub fn lines(&self) -> Vec<String> {
        shown(&self.screen.bytes())
    }

    /// The lines that somebody saw just before `text` was written first, or sees now.
    pub fn lines_before(&self, text: &str) -> Vec<String> {
        let bytes = self.screen.bytes();
        let end = position(&bytes, text.as_bytes()).unwrap_or(bytes.len());
        shown(&bytes[..end])
    }

    /// Changes the window's size, as dragging its corner does.
    pub fn resize(&self, rows: u16, columns: u16) {
        tcsetwinsize(&self.slave, window(rows, columns)).expect("a pty takes a size");
    }

    /// The terminal's settings, raw or sane.
    pub fn settings(&self) -> Termios {
        tcgetattr(&self.slave).expect("a pty has settings")
    }

    /// Waits until `is_right` holds for the terminal's settings. They are looked at again and
    /// again, because nobody is told when a terminal's settings change.
    pub fn await_settings(&self, is_right: impl Fn(&Termios) -> bool) {
        while !is_right(&self.settings()) {
            assert!(
                Instant::now() < self.deadline,
                "the terminal stays like this: {:?}",
                self.settings()
            );
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Sends a signal to the rocker process.
    pub fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// The process id of rocker.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of rocker (the terminal stays) and returns its exit code, or minus the
    /// number of the signal that ended it.
    pub fn wait(&mut self) -> i32 {
        let ended = await_exit(&self.child, self.deadline);
        if !ended {
            send(&self.child, Signal::KILL);
        }
        let status = self
            .child
            .wait()
            .expect("a child of ours can be waited for");
        assert!(
            ended,
            "did not end in time; on the screen: {:?}",
            self.screen.text()
        );
        exit_code(status)
    }
}

fn window(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// What a terminal shows of all that was written to it.
fn shown(written: &[u8]) -> Vec<String> {
    let size = |length| NonZero::new(length).expect("a terminal is not empty");
    let mut emulator = vt100::Parser::new(size(ROWS), size(COLUMNS), 0);
    emulator.process(written);
    let rows = emulator.screen().rows(0, COLUMNS);
    let mut lines: Vec<String> = rows.map(|row| row.trim_end().to_owned()).collect();
    while lines.pop_if(|line| line.is_empty()).is_some() {}
    lines
}
